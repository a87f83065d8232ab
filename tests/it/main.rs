mod manifest;
mod logs;
mod aws;
