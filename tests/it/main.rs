
mod aws;
mod logs;
mod manifest;
