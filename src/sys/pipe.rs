//! Pipes that a program writes its output to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

/// (read end, write end), close-on-exec. Only the read end never blocks: a program expects its standard output to.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// Another write end of a pipe of which only the read end is held.
pub fn another_writer(read: &OwnedFd) -> io::Result<OwnedFd> {
    // Write-only without NONBLOCK does not wait: we hold the reader.
    let path = format!("/proc/self/fd/{}", read.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(usize),
    Empty,
    End,
}

pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Read {
    loop {
        return match rustix::io::read(&fd, &mut *buffer) {
            Ok(0) => Read::End,
            Ok(n) => Read::Bytes(n),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Read::Empty,
            Err(_) => Read::End,
        };
    }
}

pub fn capacity(fd: impl AsFd) -> usize {
    rustix::pipe::fcntl_getpipe_size(fd).unwrap_or(64 << 10)
}

/// Best effort: past the user's limit the kernel says no, and the pipe stays as it is.
pub fn widen(fd: impl AsFd, bytes: usize) -> bool {
    rustix::pipe::fcntl_setpipe_size(fd, bytes).is_ok()
}
