//! What std cannot set on a listening socket.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::OFlags;

/// Listens, with room for this many callers that nobody has taken yet; again on one that listens already, which also mends
/// one that was shut down.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    Ok(rustix::net::listen(socket, backlog)?)
}

/// As a new socket is: whoever takes a caller waits for one. All who share the socket share this.
pub fn blocking(socket: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&socket)?;
    Ok(rustix::fs::fcntl_setfl(&socket, flags - OFlags::NONBLOCK)?)
}
