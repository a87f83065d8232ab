
mod aws;
mod manifest;
