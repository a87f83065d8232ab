//! The log store: the files are the queue. Written by keepers ([`Capture`]), read by followers ([`Reader`]), bounded by the
//! daemon ([`retain()`]). Nothing here parses what a service writes; bytes are bytes.
//!
//! ```text
//! <state>/logs/<service>/000004.log     what run 4 wrote, secrets masked, nothing else
//!                        000004.idx     one fixed record per append: offset, length, unix ns, stream, flags; and marks
//!                        000004.1.log   when it outgrew `logs.file`
//!                        current        link to the live one
//! ```

mod capture;
mod cursor;
mod disk;
mod filter;
mod folder;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod last;
mod reader;
mod record;
mod redact;
mod retain;
pub mod show;
#[cfg(test)]
mod tests;
mod writer;

pub use capture::Capture;
pub use filter::{Filter, Pattern, Runs};
pub use folder::{files_of, last_run};
pub use follow::Alive;
pub use reader::Reader;
pub use redact::Secrets;
pub use retain::{Bounds, retain};

use std::path::PathBuf;

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
    /// The log of the run has no end, and nobody is there to write one. Never stored: whoever reads finds it so.
    KeeperKilled,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// The project's log folder and the services to read, in the order asked for.
    pub logs: PathBuf,
    pub services: Vec<Name>,
    /// Only the last so many lines of each service, of those that are wanted, and at most as many marks (ten are always
    /// allowed); `None`: all.
    pub tail: Option<usize>,
    pub follow: bool,
    /// Also all others that have a folder; following, also those whose folder is made later.
    pub all: bool,
    pub filter: Filter,
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
