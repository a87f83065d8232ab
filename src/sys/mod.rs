//! The only place with syscalls, through nix and rustix. Imports nothing of ours.

pub mod clock;
pub mod files;
pub mod inotify;
