//! What std cannot set on a listening socket.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

/// Runs with another umask: for what gets its mode when it is made, and by no other way without a race. The threads of the
/// process share it, so briefly.
pub fn with_umask<T>(umask: u32, run: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(Mode::from_raw_mode(umask));
    let done = run();
    rustix::process::umask(before);
    done
}

/// Listens, with room for this many callers that nobody has taken yet; again on one that listens already, which also mends
/// a socket of TCP that was shut down.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(rustix::net::listen(socket, backlog)?)
}

/// As a new socket is: whoever takes a caller waits for one. All who share the socket share this.
pub fn blocking(socket: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&socket)?;
    Ok(rustix::fs::fcntl_setfl(&socket, flags - OFlags::NONBLOCK)?)
}
