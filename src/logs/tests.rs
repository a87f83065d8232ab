//! The store as a whole: what is captured comes back, whatever happens to files, disks and keepers.

mod clocks;
mod disk;
mod filter;
mod follow;
mod mask;
mod model;
mod overlap;
mod retention;
mod store;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bounds, Capture, Entry, Filter, Mark, Query, Reader, Stream, What, retain};
use crate::manifest::Name;

/// Long enough for a busy machine; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn folder(&self, service: &str) -> PathBuf {
        let folder = self.root().join(service);
        std::fs::create_dir_all(&folder).expect("made");
        folder
    }

    fn capture(&self, service: &str, run: u32, file_bytes: u64) -> Capture {
        let folder = File::open(self.folder(service)).expect("opened");
        Capture::create(folder.into(), run, file_bytes, Vec::new()).expect("created")
    }

    fn query(&self, services: &[&str], tail: Option<usize>, follow: bool) -> Query {
        let services = services.iter().map(|name| Name::new(name)).collect();
        Query { logs: self.root().to_owned(), services, tail, follow, all: false, filter: Filter::default() }
    }

    fn reader(&self, services: &[&str], tail: Option<usize>, follow: bool) -> Reader {
        Reader::open(self.query(services, tail, follow)).expect("opened")
    }

    /// Keeps each service to `others` bytes and all to `in_all`.
    fn retain(&self, live: &[(&str, u32)], others: u64, in_all: u64) -> std::io::Result<()> {
        let bounds = Bounds { services: BTreeMap::new(), others, in_all };
        let of = |service: &str| live.iter().filter(|(name, _)| *name == service).map(|(_, run)| *run).collect();
        retain(self.root(), &bounds, &of)
    }

    /// All that is there, as text.
    fn history(&self, services: &[&str], tail: Option<usize>) -> Vec<String> {
        let mut reader = self.reader(services, tail, false);
        let mut out = Vec::new();
        while let Some(entry) = reader.next(None).expect("read") {
            out.push(text(&entry));
        }
        out
    }
}

/// `a1 line`, `a1 line~` for a piece, `a1 !line` from stderr, `a1 [mark]`.
fn text(entry: &Entry) -> String {
    let what = match &entry.what {
        What::Line { stream, bytes, whole } => {
            let stream = if *stream == Stream::Stderr { "!" } else { "" };
            format!("{stream}{}{}", String::from_utf8_lossy(bytes), if *whole { "" } else { "~" })
        }
        What::Mark(Mark::Started { .. }) => "[started]".into(),
        What::Mark(Mark::Exited { exit }) => format!("[exited {exit}]"),
        What::Mark(Mark::Stopping { .. }) => "[stopping]".into(),
        What::Mark(Mark::Ended) => "[ended]".into(),
        What::Mark(Mark::Dropped { bytes, what }) => format!("[dropped {bytes}: {what}]"),
        What::Mark(Mark::Recovered { bytes }) => format!("[recovered {bytes}]"),
        What::Mark(Mark::KeeperKilled) => "[killed]".into(),
    };
    format!("{}{} {what}", entry.service, entry.run)
}

/// The next so many entries of a follower.
fn await_entries(reader: &mut Reader, count: usize) -> Vec<String> {
    let mut out = Vec::new();
    while out.len() < count {
        match reader.next(Some(DEADLINE)).expect("read") {
            Some(entry) => out.push(text(&entry)),
            None => panic!("only {out:?} within {DEADLINE:?}, wanted {count}"),
        }
    }
    out
}

/// Nothing more is there to show now.
fn is_quiet(reader: &mut Reader) -> bool {
    reader.next(Some(Duration::ZERO)).expect("read").is_none()
}
