//! What a new process does with the descriptors it was born with.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio;

/// Above anything a program expects at a fixed number.
const HIGH: i32 = 10;

/// A close-on-exec copy of standard input, out of the way of 0 1 2. Standard input itself stays open: see [`null_stdin`].
pub fn take_stdin() -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(stdio::stdin(), HIGH)?)
}

fn null() -> io::Result<OwnedFd> {
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
