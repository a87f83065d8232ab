mod aws;
mod logs;
mod manifest;
mod sandbox;
