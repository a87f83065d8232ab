//! The log store: the files are the queue. Written by keepers ([`Capture`]), read by followers ([`Reader`]), bounded by the
//! daemon ([`retain`]). Nothing here parses what a service writes; bytes are bytes.
//!
//! ```text
//! <state>/logs/<service>/000004.log     what run 4 wrote, secrets masked, nothing else
//!                        000004.idx     one fixed record per append: offset, length, unix ns, stream, flags; and marks
//!                        000004.1.log   when it outgrew `logs.file`
//!                        current        link to the live one
//! ```
//!
//! (Skeleton of the interface; bodies follow.)

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::Name;
use crate::supervisor::{Exit, Reason, StopWhy};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// devsup's own lines between a service's lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "kebab-case")]
pub enum Mark {
    Started {
        pid: u32,
        why: Vec<Reason>,
    },
    Exited {
        exit: Exit,
    },
    /// We stopped it, and why.
    Stopping {
        why: StopWhy,
    },
    /// The tree is empty; the run is over.
    Ended,
    /// Bytes that the disk did not take.
    Dropped {
        bytes: u64,
        what: String,
    },
    /// Bytes past the last record of a keeper that was killed.
    Recovered {
        bytes: u64,
    },
}

/// The writer of one run's log; lives in the keeper. No method fails or blocks on anything but the disk: what the disk does
/// not take is dropped, counted and marked.
pub struct Capture {}

impl Capture {
    /// `folder` is the service's log folder. `redact`: (what to write instead, the secret).
    pub fn create(_folder: OwnedFd, _run: u32, _file_bytes: u64, _redact: Vec<(String, String)>) -> io::Result<Self> {
        Err(io::Error::other("skeleton"))
    }

    /// Bytes the service wrote, in the order they were read.
    pub fn write(&mut self, _stream: Stream, _bytes: &[u8]) {}

    /// End of one stream: its unfinished line is written as it is.
    pub fn end(&mut self, _stream: Stream) {}

    pub fn mark(&mut self, _mark: &Mark) {}

    /// How long until [`Capture::tick`] has something to do (an unfinished line is 2 s old, a full disk is tried again).
    pub fn due(&self) -> Option<Duration> {
        None
    }

    pub fn tick(&mut self) {}

    /// (bytes dropped so far, why)
    pub fn dropped(&self) -> (u64, Option<String>) {
        (0, None)
    }

    /// All is written; preallocation is cut, buffers are given back.
    pub fn finish(self) {}
}

/// The highest run number found in a service's log folder; 0 if none.
pub fn last_run(_folder: &Path) -> u32 {
    0
}

/// Deletes the oldest files of the project's log folder beyond the bounds, never a live run's only one.
pub fn retain(_logs: &Path, _live: &[(Name, u32)], _per_service: u64, _in_all: u64) -> io::Result<()> {
    Ok(())
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// The project's log folder and the services to read, in the order asked for.
    pub logs: PathBuf,
    pub services: Vec<Name>,
    /// Only the last so many lines of each service; `None`: all.
    pub tail: Option<usize>,
    pub follow: bool,
}

/// One thing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub service: Name,
    pub run: u32,
    /// Unix nanoseconds of the append.
    pub time_ns: i64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Without its line end; `whole` is false for a piece of a line that was flushed unfinished.
    Line {
        stream: Stream,
        bytes: Vec<u8>,
        whole: bool,
    },
    Mark(Mark),
}

/// Reads history, merged by time over services, then follows over restarts and rotations without a seam.
pub struct Reader {}

impl Reader {
    pub fn open(_query: Query) -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next entry; `None` at the end of history (not following) or when `patience` has passed (following).
    /// Blocks on inotify, never polls.
    pub fn next(&mut self, _patience: Option<Duration>) -> io::Result<Option<Entry>> {
        Ok(None)
    }
}
