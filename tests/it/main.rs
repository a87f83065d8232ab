mod manifest;
mod logs;
