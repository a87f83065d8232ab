
mod manifest;
