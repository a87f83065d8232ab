mod aws;
mod cli;
mod keeper;
mod layers;
mod logs;
mod manifest;
mod place;
mod sandbox;
