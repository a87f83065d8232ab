//! Who did what and what happened: one JSON line each in `events.jsonl`, and to those who follow. Holds no secret, for
//! nothing that is put in does.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::broadcast;

use super::sentences::sentence;
use crate::control::api::Event;
use crate::control::{EventsFrom, convert};
use crate::manifest::Name;
use crate::supervisor::{By, Note, Wall};

/// A file is rolled beyond this; one old one is kept.
const FILE_MAX: u64 = 8 * 1024 * 1024;
/// A follower that is further behind than this is skipped to the newest.
const BEHIND_MAX: usize = 256;

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    file_max: u64,
    live: broadcast::Sender<Bytes>,
}

impl Journal {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let mut file = append(&path)?;
        let mut length = file.metadata()?.len();
        // A daemon that was killed in the middle of a line: the next line begins its own.
        if length > 0 && !ends_a_line(&path, length)? {
            file.write_all(b"\n")?;
            length += 1;
        }
        Ok(Self { path, file, length, file_max: FILE_MAX, live: broadcast::Sender::new(BEHIND_MAX) })
    }

    /// Writes down what the supervisor noted.
    pub(super) fn note(&mut self, at: Wall, note: &Note) {
        let mut more: BTreeMap<String, Value> = match serde_json::to_value(&note.what) {
            Ok(Value::Object(fields)) => fields.into_iter().collect(),
            Ok(_) | Err(_) => BTreeMap::new(),
        };
        let event = more.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        self.write(&Event {
            time: convert::rfc3339(at),
            service: note.service.as_ref().map(ToString::to_string),
            run: note.run,
            event,
            reason: Some(sentence(note)),
            by: note.by.clone(),
            more,
        });
    }

    /// Writes down what the daemon itself did, which the supervisor need not know.
    pub(super) fn tell(&mut self, at: Wall, event: &str, service: Option<&Name>, by: Option<&By>, reason: String) {
        self.write(&Event {
            time: convert::rfc3339(at),
            service: service.map(ToString::to_string),
            run: None,
            event: event.to_owned(),
            reason: Some(reason),
            by: by.cloned(),
            more: BTreeMap::new(),
        });
    }

    pub(super) fn write(&mut self, event: &Event) {
        tracing::info!(
            service = event.service.as_deref(),
            run = event.run,
            event = event.event,
            "{}",
            event.reason.as_deref().unwrap_or_default()
        );
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        if let Err(error) = self.append(&line) {
            tracing::warn!(%error, "the journal could not be written");
        }
        // Nobody may be listening.
        drop(self.live.send(line.into()));
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length + line.len() as u64 > self.file_max {
            fs::rename(&self.path, self.old())?;
            self.file = append(&self.path)?;
            self.length = 0;
        }
        self.file.write_all(line)?;
        self.length += line.len() as u64;
        Ok(())
    }

    fn old(&self) -> PathBuf {
        self.path.with_extension("1.jsonl")
    }

    /// Everything so far and everything to come. The files are open, so rolling does not take them away.
    pub(super) fn read(&self) -> EventsFrom {
        let files = [self.old(), self.path.clone()].into_iter().filter_map(|path| {
            let file = File::open(path).ok()?;
            let length = file.metadata().ok()?.len();
            Some((file, length))
        });
        EventsFrom { files: files.collect(), live: self.live.subscribe() }
    }
}

fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn ends_a_line(path: &std::path::Path, length: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0_u8];
    File::open(path)?.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Exit, Happening};

    fn exited(run: u32) -> Note {
        let what = Happening::Exited { exit: Exit::Code(3), crash: true };
        Note { service: Some("a".into()), run: Some(run), by: None, what }
    }

    #[test]
    fn a_note_is_one_line_with_a_sentence_and_its_fields() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        let mut journal = Journal::open(path.clone()).expect("opens");
        journal.note(Wall(0), &exited(4));
        let text = fs::read_to_string(path).expect("readable");
        let event: Event = serde_json::from_str(text.trim_end()).expect("one JSON line");
        assert_eq!((event.event.as_str(), event.run), ("exited", Some(4)));
        assert_eq!(event.reason.as_deref(), Some("run 4 crashed: exit 3"));
        assert_eq!(event.more.get("crash"), Some(&Value::Bool(true)));
    }

    #[test]
    fn the_file_is_rolled_and_one_old_one_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path().join("events.jsonl")).expect("opens");
        journal.file_max = 1000;
        for run in 0..100 {
            journal.note(Wall(0), &exited(run));
        }
        let sizes: Vec<u64> = journal.read().files.iter().map(|(_, length)| *length).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
    }

    #[test]
    fn a_torn_line_is_closed_before_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        fs::write(&path, "{\"time\":").expect("written");
        Journal::open(path.clone()).expect("opens").note(Wall(0), &exited(1));
        let text = fs::read_to_string(path).expect("readable");
        assert_eq!(text.lines().count(), 2);
        assert!(serde_json::from_str::<Event>(text.lines().nth(1).expect("second")).is_ok());
    }
}
