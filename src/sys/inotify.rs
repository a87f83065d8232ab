//! Being woken by changes of folders.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// One watched folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch(i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file in the folder grew.
    Grew(Watch),
    /// A file that was open for writing was closed: whoever wrote it may be dead.
    Closed(Watch),
    /// Names came or went.
    Names(Watch),
    /// The folder is gone, and the watch with it.
    Gone(Watch),
    /// The kernel dropped events: look at everything again.
    Overflow,
}

#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)? })
    }

    /// Writes and names in a folder.
    pub fn watch(&self, folder: &Path) -> io::Result<Watch> {
        self.add(folder, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE)
    }

    /// Only names in a folder: to learn when a folder in it is made.
    pub fn watch_names(&self, folder: &Path) -> io::Result<Watch> {
        self.add(folder, WatchFlags::empty())
    }

    fn add(&self, folder: &Path, more: WatchFlags) -> io::Result<Watch> {
        let names = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        Ok(Watch(inotify::add_watch(&self.fd, folder, names | more)?))
    }

    /// To wait for, beside whoever reads: it is readable when there are changes.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    pub fn forget(&self, watch: Watch) {
        // The kernel may have dropped it already; either way it is gone.
        inotify::remove_watch(&self.fd, watch.0).ok();
    }

    /// What happened since last asked; never blocks.
    pub fn changes(&self) -> io::Result<Vec<Change>> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut out = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(out),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let change = if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                Change::Overflow
            } else if event.events().intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
                Change::Gone(Watch(event.wd()))
            } else if event.events().contains(ReadFlags::MODIFY) {
                Change::Grew(Watch(event.wd()))
            } else if event.events().contains(ReadFlags::CLOSE_WRITE) {
                Change::Closed(Watch(event.wd()))
            } else {
                Change::Names(Watch(event.wd()))
            };
            if out.last() != Some(&change) {
                out.push(change);
            }
        }
    }

    /// Sleeps until something changed or the time has passed; `None`: for as long as it takes. A signal ends it too.
    pub fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        let timeout = patience.map(|p| Timespec {
            tv_sec: i64::try_from(p.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: p.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
