mod aws;
mod cli;
mod keeper;
mod logs;
mod manifest;
mod project;
mod sandbox;
mod up;
