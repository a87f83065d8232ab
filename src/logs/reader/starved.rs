//! A reader whom the kernel gives less than it asks for.

use std::io;

use super::{Reader, Watching};

impl Reader {
    /// As if the kernel had no inotify instance left.
    pub(in crate::logs) fn without_inotify(mut self) -> Self {
        self.inotify = None;
        self.poll_instead(&io::Error::other("too many open files"));
        self
    }

    /// As if the kernel took away the watches of all services, and had no new ones.
    pub(in crate::logs) fn lose_watches(&mut self) {
        for source in &mut self.sources {
            if let (Watching::Folder(watch), Some(inotify)) = (source.watching, &self.inotify) {
                inotify.forget(watch);
            }
            source.watching = Watching::Nothing;
        }
        self.poll_instead(&io::Error::other("no space left"));
    }
}
