//! The seam between the log writer and the file system; tests put a disk there that fills up.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use crate::sys::files::{self, Create};

pub(super) trait Disk: Send {
    fn create(&mut self, name: &str, how: Create) -> io::Result<File>;

    /// As `writev`: may take less than all.
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// `current` now means this file.
    fn point(&mut self, name: &str) -> io::Result<()>;

    fn preallocate(&mut self, file: &File, from: u64, bytes: u64) -> io::Result<()>;
}

/// The service's log folder, held open; made again if somebody removed it.
pub(super) struct Folder {
    fd: OwnedFd,
    path: Option<PathBuf>,
}

impl Folder {
    pub(super) fn new(fd: OwnedFd) -> Self {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
        // One that was removed before we looked has no name any more; what the kernel says then is none.
        let path = path.filter(|path| path.exists());
        Self { fd, path }
    }
}

impl Disk for Folder {
    fn create(&mut self, name: &str, how: Create) -> io::Result<File> {
        match files::create_in(&self.fd, name, how) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = self.path.as_ref().ok_or(error)?;
                // Whatever stands in the way, for us the folder is gone: a taken name is another thing.
                let again = std::fs::create_dir_all(path).and_then(|()| File::open(path));
                self.fd = again.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?.into();
                files::create_in(&self.fd, name, how)
            }
            done => done,
        }
    }

    fn write(&mut self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    fn point(&mut self, name: &str) -> io::Result<()> {
        files::point(&self.fd, name, super::folder::CURRENT)
    }

    fn preallocate(&mut self, file: &File, from: u64, bytes: u64) -> io::Result<()> {
        files::preallocate(file, from, bytes)
    }
}
