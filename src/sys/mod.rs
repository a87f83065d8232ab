//! The only place with syscalls, through nix, rustix and landlock. Imports nothing of ours.

pub mod accounts;
pub mod clock;
pub mod daemonize;
pub mod descriptors;
pub mod files;
pub mod identity;
pub mod inotify;
pub mod isolation;
pub mod limits;
pub mod lock;
pub mod memfd;
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
