mod manifest;
mod logs;
mod aws;
mod sandbox;
