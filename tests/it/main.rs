mod aws;
mod keeper;
mod logs;
mod manifest;
mod sandbox;
