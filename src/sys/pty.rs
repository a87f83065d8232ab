//! A pseudo terminal: a program has one end of it, and whoever keeps the program is the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use serde::{Deserialize, Serialize};

/// In characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

impl Size {
    /// Of a terminal that nobody looks at.
    pub const USUAL: Self = Self { rows: 24, cols: 80 };

    /// Some terminals do not know how large they are, and say zero.
    fn is_known(self) -> bool {
        self.rows > 0 && self.cols > 0
    }
}

/// Both ends. Ours never blocks. The program's is kept open too, so that a program that closes it and opens `/dev/tty`
/// later is heard again.
#[derive(Debug)]
pub struct Pty {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Pty {
    /// `owner` is the user who may open it by its name.
    pub fn open(owner: Option<u32>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        rustix::pty::unlockpt(&ours)?;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
        if let Some(owner) = owner {
            rustix::fs::fchown(&theirs, Some(Uid::from_raw(owner)), None::<Gid>)?;
        }
        let pty = Self { ours, theirs };
        pty.resize(Size::USUAL)?;
        Ok(pty)
    }

    /// Another descriptor of our end, for reading.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        self.ours.try_clone()
    }

    /// Another descriptor of the program's end.
    pub fn writer(&self) -> io::Result<OwnedFd> {
        self.theirs.try_clone()
    }

    /// As at a keyboard. Answers how many bytes were taken; none when the program does not read.
    pub fn type_in(&self, keys: &[u8]) -> io::Result<usize> {
        loop {
            return match rustix::io::write(&self.ours, keys) {
                Ok(taken) => Ok(taken),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(0),
                Err(error) => Err(error.into()),
            };
        }
    }

    pub fn size(&self) -> Option<Size> {
        tcgetwinsize(&self.ours).ok().map(of).filter(|size| size.is_known())
    }

    /// Who runs in the foreground gets SIGWINCH, if this is a change.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        if size.is_known() {
            let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&self.ours, size)?;
        }
        Ok(())
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

pub(super) fn of(size: Winsize) -> Size {
    Size { rows: size.ws_row, cols: size.ws_col }
}

/// Of the terminal at this descriptor, if it is one and knows.
pub(super) fn size_of(fd: impl AsFd) -> Option<Size> {
    tcgetwinsize(fd).ok().map(of).filter(|size| size.is_known())
}

/// Makes the terminal at standard output the controlling one of this session, which has none, and puts it on standard
/// input too.
pub fn take_as_own() -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdout())?;
    Ok(rustix::stdio::dup2_stdin(rustix::stdio::stdout())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe::{self, Read};

    #[test]
    fn what_is_written_at_one_end_is_read_at_the_other() {
        let pty = Pty::open(None).unwrap();
        let (reader, writer) = (pty.reader().unwrap(), pty.writer().unwrap());
        let mut buffer = [0; 64];
        assert_eq!(pipe::read(&reader, &mut buffer), Read::Empty);
        rustix::io::write(&writer, b"hello\n").unwrap();
        assert_eq!(pipe::read(&reader, &mut buffer), Read::Bytes(7));
        assert_eq!(&buffer[..7], b"hello\r\n");
        // Closed by everybody but us, it is not over: it may be opened again.
        drop(writer);
        assert_eq!(pipe::read(&reader, &mut buffer), Read::Empty);
    }

    #[test]
    fn a_program_that_does_not_read_fills_it_and_blocks_nobody() {
        let pty = Pty::open(None).unwrap();
        let full = (0..10_000).find(|_| pty.type_in(&[b'x'; 1000]).unwrap() == 0);
        assert!(full.is_some(), "it takes for ever");
    }

    #[test]
    fn a_size_of_nothing_is_no_size() {
        let pty = Pty::open(None).unwrap();
        assert_eq!(pty.size(), Some(Size::USUAL));
        pty.resize(Size { rows: 0, cols: 0 }).unwrap();
        assert_eq!(pty.size(), Some(Size::USUAL));
        pty.resize(Size { rows: 50, cols: 132 }).unwrap();
        assert_eq!(pty.size(), Some(Size { rows: 50, cols: 132 }));
    }
}
