//! The terminal of a `tty = true` run, and who is attached to it.
//!
//! The service has one end; what it writes goes to its log as ever ([`super::output`]) and, as it is, to everybody who
//! is attached. What they type goes in at our end. Nobody attached: it is a terminal at which nobody types. Must never
//! happen: the service or the keeper waits for somebody who is attached and does not read; he misses output instead,
//! and is told how much.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::output::Writers;
use crate::control::attach::{Word, Words, put_output};
use crate::supervisor::Exit;
use crate::sys::clock::monotonic;
use crate::sys::poll::{self, For};
use crate::sys::pty::{Pty, Size};

/// What may wait for one who reads slowly.
const BEHIND: usize = 1 << 20;
/// How long the last words may wait for him.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Terminal {
    pty: Pty,
    attached: Vec<Attached>,
    exit: Option<Exit>,
}

/// Somebody at the service's terminal.
struct Attached {
    socket: UnixStream,
    words: Words,
    /// Typed, and not taken by the service yet: until it is, nothing more is read from him.
    keys: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of output that found no room. No more is sent until what waits has been read.
    missed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bond {
    Stays,
    Leaves,
}

impl Terminal {
    /// `owner` is the user whom the service becomes, if that is another.
    pub(super) fn open(owner: Option<u32>) -> io::Result<Self> {
        Ok(Self { pty: Pty::open(owner)?, attached: Vec::new(), exit: None })
    }

    pub(super) fn reader(&self) -> io::Result<OwnedFd> {
        self.pty.reader()
    }

    pub(super) fn writers(&self) -> io::Result<Writers> {
        Ok(Writers { stdout: self.pty.writer()?, stderr: self.pty.writer()? })
    }

    /// Programs that fill the screen draw it anew when its size changes: where it does not, it is changed and changed back.
    pub(super) fn attach(&mut self, socket: OwnedFd, size: Size) {
        let socket = UnixStream::from(socket);
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        if self.pty.size() == Some(size) {
            drop(self.pty.resize(Size { rows: size.rows.saturating_add(1), ..size }));
        }
        drop(self.pty.resize(size));
        self.attached.push(Attached { socket, words: Words::default(), keys: Vec::new(), out: Vec::new(), missed: 0 });
    }

    /// The service wrote this.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        for attached in &mut self.attached {
            attached.show(bytes);
        }
    }

    pub(super) fn exited(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    pub(super) fn waits_for(&self) -> impl Iterator<Item = (BorrowedFd<'_>, For)> {
        let keys = self.attached.iter().any(|attached| !attached.keys.is_empty());
        let ours = keys.then_some((self.pty.as_fd(), For::Writing));
        ours.into_iter().chain(self.attached.iter().filter_map(Attached::waits_for))
    }

    /// Passes on what there is, both ways, and forgets those who have left.
    pub(super) fn turn(&mut self) {
        let pty = &self.pty;
        self.attached.retain_mut(|attached| {
            attached.hear(pty) == Bond::Stays && attached.type_in(pty) == Bond::Stays && attached.send() == Bond::Stays
        });
    }

    /// Nobody of the service is left. Says so to those attached, and waits a bounded time until they have heard it.
    pub(super) fn end(mut self) {
        for attached in &mut self.attached {
            attached.finish(self.exit);
        }
        let until = monotonic() + PATIENCE;
        loop {
            self.attached.retain_mut(|attached| attached.send() == Bond::Stays && !attached.out.is_empty());
            let left = until.saturating_sub(monotonic());
            let interests: Vec<_> = self.attached.iter().map(|it| (it.socket.as_fd(), For::Writing)).collect();
            if interests.is_empty() || left.is_zero() || poll::wait(&interests, Some(left)).is_err() {
                return;
            }
        }
    }
}

impl Attached {
    fn show(&mut self, bytes: &[u8]) {
        if self.missed > 0 || self.out.len() + bytes.len() > BEHIND {
            self.missed += bytes.len() as u64;
        } else {
            put_output(bytes, &mut self.out);
        }
    }

    fn finish(&mut self, exit: Option<Exit>) {
        if self.missed > 0 {
            Word::Missed(self.missed).put(&mut self.out);
        }
        if let Some(exit) = exit {
            Word::Ended(exit).put(&mut self.out);
        }
    }

    /// One whose keys are not taken has nothing to say that could be heard, not even that he has left: he is not waited
    /// for, or he would wake us for ever.
    fn waits_for(&self) -> Option<(BorrowedFd<'_>, For)> {
        let what = match (self.keys.is_empty(), self.out.is_empty()) {
            (true, true) => For::Reading,
            (true, false) => For::ReadingAndWriting,
            (false, false) => For::Writing,
            (false, true) => return None,
        };
        Some((self.socket.as_fd(), what))
    }

    /// A bounded piece of what was typed.
    fn hear(&mut self, pty: &Pty) -> Bond {
        let mut bytes = [0; 4096];
        if !self.keys.is_empty() {
            return Bond::Stays;
        }
        match (&self.socket).read(&mut bytes) {
            Ok(0) => return Bond::Leaves,
            Ok(n) => self.words.take(bytes.get(..n).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return Bond::Leaves,
        }
        loop {
            match self.words.next_word() {
                Ok(Some(Word::Keys(keys))) => self.keys.extend_from_slice(&keys),
                // A size that the kernel does not take is no reason to end anything.
                Ok(Some(Word::Size(size))) => drop(pty.resize(size)),
                Ok(Some(_)) | Err(_) => return Bond::Leaves,
                Ok(None) => return Bond::Stays,
            }
        }
    }

    fn type_in(&mut self, pty: &Pty) -> Bond {
        if self.keys.is_empty() {
            return Bond::Stays;
        }
        match pty.type_in(&self.keys) {
            Ok(taken) => {
                self.keys.drain(..taken);
                Bond::Stays
            }
            Err(_) => Bond::Leaves,
        }
    }

    fn send(&mut self) -> Bond {
        while !self.out.is_empty() {
            match (&self.socket).write(&self.out) {
                Ok(0) => return Bond::Leaves,
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Bond::Stays,
                Err(_) => return Bond::Leaves,
            }
            if self.out.is_empty() && self.missed > 0 {
                Word::Missed(std::mem::take(&mut self.missed)).put(&mut self.out);
            }
        }
        // Given back: most of the time nothing waits.
        if self.out.capacity() > BEHIND / 4 {
            self.out = Vec::new();
        }
        Bond::Stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> (Terminal, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut terminal = Terminal::open(None).unwrap();
        terminal.attach(near.into(), Size { rows: 10, cols: 20 });
        (terminal, far)
    }

    /// All there is now; a word may go on with the next look.
    fn heard(mut far: &UnixStream, words: &mut Words) -> Vec<Word> {
        let (mut bytes, mut all) = (vec![0; 65536], Vec::new());
        while let Ok(n @ 1..) = far.read(&mut bytes) {
            words.take(&bytes[..n]);
            while let Some(word) = words.next_word().unwrap() {
                all.push(word);
            }
        }
        all
    }

    #[test]
    fn who_does_not_read_misses_the_middle_and_is_told_how_much() {
        let (mut terminal, far) = terminal();
        let line = [b'x'; 4096];
        let (mut shown, mut seen, mut missed, mut words) = (0_u64, 0_u64, 0_u64, Words::default());
        for _ in 0..2000 {
            terminal.show(&line);
            terminal.turn();
            shown += line.len() as u64;
        }
        assert!(terminal.attached[0].out.len() <= BEHIND + 4096 + 64, "bounded");
        let mut count = |heard: Vec<Word>| {
            for word in heard {
                match word {
                    Word::Output(bytes) => seen += bytes.len() as u64,
                    Word::Missed(bytes) => missed += bytes,
                    other => panic!("{other:?}"),
                }
            }
        };
        while terminal.attached[0].missed > 0 || !terminal.attached[0].out.is_empty() {
            count(heard(&far, &mut words));
            terminal.turn();
        }
        terminal.show(b"after");
        shown += 5;
        terminal.turn();
        count(heard(&far, &mut words));
        assert!(missed > 0);
        assert_eq!(seen + missed, shown);
    }

    #[test]
    fn keys_that_the_service_does_not_read_stop_there() {
        let (mut terminal, far) = terminal();
        let mut typed = Vec::new();
        Word::Keys(vec![b'x'; 60_000]).put(&mut typed);
        let mut sent = 0;
        for _ in 0..200 {
            if let Ok(n) = (&far).write(&typed) {
                sent += n;
            }
            terminal.turn();
        }
        assert!(sent < 200 * typed.len(), "the sender is held back");
        assert!(terminal.attached[0].keys.len() <= 64 << 10);
    }

    #[test]
    fn who_leaves_or_talks_nonsense_is_forgotten() {
        let (mut terminal, far) = terminal();
        (&far).write_all(b"what is this?").unwrap();
        terminal.turn();
        assert!(terminal.attached.is_empty());
        let (mut terminal, far) = self::terminal();
        drop(far);
        terminal.turn();
        assert!(terminal.attached.is_empty());
    }

    #[test]
    fn the_end_is_said() {
        let (mut terminal, far) = terminal();
        terminal.show(b"bye");
        terminal.exited(Exit::Code(3));
        terminal.end();
        assert_eq!(heard(&far, &mut Words::default()), [Word::Output(b"bye".to_vec()), Word::Ended(Exit::Code(3))]);
    }
}
