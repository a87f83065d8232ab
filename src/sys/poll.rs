//! Waiting for several descriptors at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Reading,
    ReadingAndWriting,
    /// A file of the kernel's own (`cgroup.events`) says something else than when it was last read.
    Changes,
    Writing,
    /// Only that whoever is at the other end has left.
    HangUp,
}

/// Waits until one of these can be read (or written, or has hung up), or until the time is over; `None`: for ever.
/// Answers for each whether it is worth looking at.
pub fn wait(interests: &[(BorrowedFd<'_>, For)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> = interests
        .iter()
        .map(|(fd, what)| {
            let flags = match what {
                For::Reading => PollFlags::IN,
                For::ReadingAndWriting => PollFlags::IN | PollFlags::OUT,
                For::Changes => PollFlags::PRI,
                For::Writing => PollFlags::OUT,
                For::HangUp => PollFlags::empty(),
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let timeout = timeout
        .map(|t| Timespec { tv_sec: t.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: t.subsec_nanos().into() });
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(Errno::INTR) => Ok(vec![false; interests.len()]),
        Err(e) => Err(e.into()),
    }
}
