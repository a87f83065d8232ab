mod aws;
mod cli;
mod logs;
mod manifest;
mod sandbox;
