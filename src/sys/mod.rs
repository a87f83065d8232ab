//! The only place with syscalls, through nix and rustix. Imports nothing of ours.

pub mod clock;
pub mod daemonize;
pub mod files;
pub mod inotify;
pub mod lock;
pub mod peer;
pub mod timer;
pub mod tty;
pub mod users;
