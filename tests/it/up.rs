//! Daily use of the real binary, with the sandbox as AWS: what a person types, sees and relies on.

mod attach;
mod attached;
mod commands;
mod credentials;
mod environment;
mod identity;
mod log_socket;
mod logs;
mod mfa;
mod order;
mod process;
mod profile;
mod refused;
mod story;
mod terminal;
mod until;
mod watched;
