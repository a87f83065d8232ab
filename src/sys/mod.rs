//! The only place with syscalls, through nix, rustix and landlock. Imports nothing of ours.
//!
//! | about | where |
//! |---|---|
//! | processes: starting, waiting, becoming; a hold on one | [`process`] (`Pidfd`) |
//! | processes: what `/proc/PID` says, who descends from whom | [`tree`] |
//! | groups of processes | [`cgroup`] |
//! | who is at the other end of a socket, whether it has spoken | [`peer`], of TCP [`inet_diag`]; [`stream`] |
//! | becoming a daemon | [`daemonize`] |
//! | signals | [`signal`] |
//! | clocks to read, clocks to wait for | [`clock`], [`timer`] |
//! | waiting for many things | [`poll`], [`inotify`] |
//! | words between processes | [`packet`], [`pipe`], [`memfd`] |
//! | files and descriptors | [`files`], [`lock`], [`descriptors`] |
//! | what a process may do: who it is, how much, how far it reaches | [`identity`], [`limits`], [`isolation`] |
//! | terminals, people | [`tty`], [`users`], [`accounts`] |

pub mod accounts;
pub mod cgroup;
pub mod clock;
pub mod daemonize;
pub mod datagram;
pub mod descriptors;
pub mod files;
pub mod identity;
pub mod inet_diag;
pub mod inotify;
pub mod isolation;
pub mod limits;
pub mod listening;
pub mod lock;
pub mod memfd;
pub mod notify;
pub mod packet;
pub mod peer;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod pty;
pub mod raw;
pub mod signal;
pub mod sockets;
pub mod stream;
pub mod timer;
pub mod tree;
pub mod tty;
pub mod users;
