//! What a new process does with the descriptors it was born with.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::stdio;

/// Above anything a program expects at a fixed number.
const HIGH: i32 = 10;

/// A close-on-exec copy of standard input, out of the way of 0 1 2. Standard input itself stays open: see [`null_stdin`].
pub fn take_stdin() -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(stdio::stdin(), HIGH)?)
}

/// `/dev/null`, close-on-exec.
pub fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// `/dev/null` on 0.
pub fn null_stdin() -> io::Result<()> {
    Ok(stdio::dup2_stdin(null()?)?)
}

/// `/dev/null` on 0 1 2.
pub fn null_stdio() -> io::Result<()> {
    let null = null()?;
    stdio::dup2_stdin(&null)?;
    stdio::dup2_stdout(&null)?;
    stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Marks everything from 3 up close-on-exec: nothing that leaked into us goes any further.
pub fn close_all_on_exec() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// A copy out of the way of `number`.
pub fn above(fd: &OwnedFd, number: i32) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, number.saturating_add(1))?)
}

/// The same, and `fd` itself is closed.
pub fn moved_above(fd: OwnedFd, number: i32) -> io::Result<OwnedFd> {
    let moved = above(&fd, number);
    drop(fd);
    moved
}

/// A copy with exactly this number, which stays over an exec. `AlreadyExists`: something else has the number.
pub fn at_number(fd: &OwnedFd, number: i32) -> io::Result<OwnedFd> {
    let copy = fcntl_dupfd_cloexec(fd, number)?;
    if copy.as_raw_fd() != number {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}
