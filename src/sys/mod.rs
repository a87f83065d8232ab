//! The only place with syscalls, through nix and rustix. Imports nothing of ours.

pub mod clock;
pub mod daemonize;
pub mod descriptors;
pub mod files;
pub mod inotify;
pub mod lock;
pub mod memfd;
pub mod notify;
pub mod packet;
pub mod peer;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod signal;
pub mod timer;
pub mod tree;
pub mod tty;
pub mod users;
