//! A lock file: flock decides who holds it, its content says who that is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

/// Held until every descriptor of this open file is closed, those handed to other processes included.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// `None`: somebody else holds it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Replaces the content: who holds it. Never empty meanwhile; who reads it just then may find some of the old and some of the new,
    /// and takes what he cannot understand for nothing said.
    pub fn write(&mut self, content: &str) -> io::Result<()> {
        let before = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
        self.file.write_all_at(format!("{content:<before$}").as_bytes(), 0)?;
        self.file.set_len(content.len() as u64)
    }

    /// What the holder wrote before us.
    pub fn read(&mut self) -> io::Result<String> {
        let mut content = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut content)?;
        Ok(content)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_dropped_lock_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let mut first = Lock::take(&path).expect("opens").expect("is free");
        first.write("longer than the next").expect("writes");
        first.write("me").expect("writes");
        assert!(Lock::take(&path).expect("opens").is_none(), "a second holder must be refused");
        drop(first);
        let mut second = Lock::take(&path).expect("opens").expect("is free again");
        assert_eq!(second.read().expect("reads"), "me");
    }
}
