//! The writer of one run's log; lives in the keeper.
//!
//! Per stream: bytes → secrets masked → cut at line ends → appended. An unfinished line waits 2 s, or until 64 KiB of it
//! are there, or until its stream ends; then it goes as it is, and the index says so. No line is looked at by itself.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::disk::{Disk, Folder};
use super::filter::Pattern;
use super::redact::{Carry, Secrets};
use super::writer::Writer;
use super::{Mark, Stream};
use crate::sys::clock;

/// How long an unfinished line waits for its end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of an unfinished line waits for its end.
const LONGEST: usize = 64 * 1024;
/// What is appended at most at once.
const PIECE: usize = 1024 * 1024;
/// A buffer larger than this is given back when it is empty.
const KEPT: usize = 4096;

/// Stands for what a pattern of the user matched.
const MASK: &[u8] = b"[devsup: redacted]";

#[derive(Default)]
struct Line {
    /// May begin a secret.
    carry: Carry,
    /// Unfinished, secrets masked.
    held: Vec<u8>,
    /// When the first of `held` came.
    since: Option<Duration>,
}

/// The writer of one run's log; lives in the keeper. No method fails or blocks on anything but the disk: what the disk does
/// not take is dropped, counted and marked.
pub struct Capture {
    secrets: Secrets,
    stdout: Line,
    stderr: Line,
    /// The user's own: what matches in a line is masked.
    patterns: Vec<Pattern>,
    writer: Writer,
}

impl Capture {
    /// `folder` is the service's log folder. `redact`: (what to write instead, the secret).
    pub fn create(folder: OwnedFd, run: u32, file_bytes: u64, redact: Vec<(String, String)>) -> io::Result<Self> {
        Ok(Self::on(Box::new(Folder::new(folder)), run, file_bytes, redact))
    }

    pub(super) fn on(disk: Box<dyn Disk>, run: u32, file_bytes: u64, redact: Vec<(String, String)>) -> Self {
        Self {
            secrets: Secrets::new(redact),
            stdout: Line::default(),
            stderr: Line::default(),
            patterns: Vec::new(),
            writer: Writer::new(disk, run, file_bytes),
        }
    }

    /// What matches one of these in a line is masked too. A line that is flushed in pieces is looked at piece by piece.
    #[must_use]
    pub fn masking(mut self, patterns: Vec<Pattern>) -> Self {
        self.patterns = patterns;
        self
    }

    /// Bytes the service wrote, in the order they were read.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for piece in bytes.chunks(PIECE) {
            let clean = self.secrets.feed(&mut line.carry, piece);
            line.cut(stream, &clean, &self.patterns, &mut self.writer);
        }
    }

    /// End of one stream: its unfinished line is written as it is.
    pub fn end(&mut self, stream: Stream) {
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let rest = self.secrets.end(&mut line.carry);
        line.release(stream, &rest, &self.patterns, &mut self.writer);
    }

    /// What was written before an exit stands before it, though somebody else may still end the line.
    pub fn mark(&mut self, mark: &Mark) {
        if matches!(mark, Mark::Exited { .. }) {
            for (stream, line) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
                line.release(stream, b"", &self.patterns, &mut self.writer);
            }
        }
        self.writer.mark(mark);
    }

    /// How long until [`Capture::tick`] has something to do (an unfinished line is 2 s old, a full disk is tried again).
    pub fn due(&self) -> Option<Duration> {
        let now = clock::monotonic();
        let lines = [&self.stdout, &self.stderr].into_iter().filter_map(|line| line.since);
        lines.map(|since| (since + PATIENCE).saturating_sub(now)).chain(self.writer.due()).min()
    }

    pub fn tick(&mut self) {
        let now = clock::monotonic();
        for (stream, line) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
            if line.since.is_some_and(|since| since + PATIENCE <= now) {
                line.release(stream, b"", &self.patterns, &mut self.writer);
            }
        }
        self.writer.tick();
    }

    /// Files begun so far.
    pub fn files(&self) -> u32 {
        self.writer.files()
    }

    /// (bytes dropped so far, why)
    pub fn dropped(&self) -> (u64, Option<String>) {
        self.writer.dropped()
    }

    /// All is written; preallocation is cut, buffers are given back.
    pub fn finish(mut self) {
        self.end(Stream::Stdout);
        self.end(Stream::Stderr);
        self.writer.finish();
    }

    #[cfg(test)]
    pub(super) fn by_clock(mut self, wall: fn() -> Duration) -> Self {
        self.writer.set_wall(wall);
        self
    }

    /// As [`Capture::tick`] when unfinished lines have waited long enough.
    #[cfg(any(test, fuzzing))]
    pub(super) fn flush(&mut self, stream: Stream) {
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        line.release(stream, b"", &self.patterns, &mut self.writer);
    }
}

impl Line {
    fn cut(&mut self, stream: Stream, bytes: &[u8], patterns: &[Pattern], writer: &mut Writer) {
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (whole, rest) = bytes.split_at(end);
        if !whole.is_empty() {
            self.release(stream, whole, patterns, writer);
        }
        if self.held.len() + rest.len() >= LONGEST {
            self.release(stream, rest, patterns, writer);
        } else if !rest.is_empty() {
            self.held.extend_from_slice(rest);
            self.since.get_or_insert_with(clock::monotonic);
        }
    }

    /// What is held and then these bytes.
    fn release(&mut self, stream: Stream, bytes: &[u8], patterns: &[Pattern], writer: &mut Writer) {
        if patterns.is_empty() {
            writer.append(stream, [&self.held, bytes]);
        } else {
            self.held.extend_from_slice(bytes);
            writer.append(stream, [&masked(&self.held, patterns), b""]);
        }
        self.since = None;
        if self.held.capacity() > KEPT {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
    }
}

/// Line by line, so that no pattern reaches over a line's end.
fn masked(bytes: &[u8], patterns: &[Pattern]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (line, end) = whole.strip_suffix(b"\n").map_or((whole, &b""[..]), |line| (line, b"\n"));
        let mut line = Cow::Borrowed(line);
        for pattern in patterns {
            if let Cow::Owned(masked) = pattern.masked(&line, MASK) {
                line = Cow::Owned(masked);
            }
        }
        out.extend_from_slice(&line);
        out.extend_from_slice(end);
    }
    out
}
