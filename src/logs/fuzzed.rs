//! What must hold of the store for any bytes: the bodies of the fuzz targets, and of tests that run them a little.
//!
//! Each takes bytes nobody vouches for and panics when something does not hold. Folders are empty and the caller's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use super::folder::{self, Part};
use super::record::{self, ADDED, Kind, Record, SLOT, Slot, UNFINISHED};
use super::redact::{Carry, Secrets};
use super::show::{Format, Printer, Style};
use super::{Capture, Entry, Filter, Mark, Query, Reader, Stream, What};
use crate::manifest::Name;

/// Bytes as a source of choices; when they are used up, zeros.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The lines of each stream; the last is without an end, perhaps empty.
type Lines = BTreeMap<bool, Vec<Vec<u8>>>;

/// However the bytes of both streams are cut, whatever is flushed between and however small the files are: the store has the
/// same lines, and from files and indexes the exact bytes can be rebuilt.
pub fn store(folder: &Path, input: &[u8]) {
    let mut choices = Choices(input);
    let (logs, whole) = (folder.join("cut"), folder.join("whole"));
    let limit = 1 + choices.below(2000) as u64;
    let mut capture = begun(&logs, limit);
    let mut written: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
    let mut marks = 0;
    while !choices.0.is_empty() {
        let act = choices.byte();
        let (stream, err) = if act & 1 == 0 { (Stream::Stdout, false) } else { (Stream::Stderr, true) };
        match act >> 1 & 7 {
            0 => capture.flush(stream),
            1 => {
                capture.mark(&Mark::Dropped { bytes: marks, what: "x".repeat(usize::from(act)) });
                marks += 1;
            }
            2 => {
                // More than waits for the end of its line.
                let bytes = vec![choices.byte(); 70_000];
                capture.write(stream, &bytes);
                written.entry(err).or_default().extend(bytes);
            }
            _ => {
                let length = choices.below(80);
                let bytes = choices.take(length);
                capture.write(stream, bytes);
                written.entry(err).or_default().extend(bytes);
            }
        }
    }
    capture.finish();
    written.retain(|_, bytes| !bytes.is_empty());
    assert_eq!(rebuilt(&logs.join("a")), written, "the exact bytes");
    let mut at_once = begun(&whole, u64::MAX);
    for (err, bytes) in &written {
        at_once.write(if *err { Stream::Stderr } else { Stream::Stdout }, bytes);
    }
    at_once.finish();
    let (lines, seen) = lines(&logs);
    assert_eq!(lines, self::lines(&whole).0, "the same lines");
    assert_eq!(seen, marks, "every mark");
}

fn begun(logs: &Path, limit: u64) -> Capture {
    let folder = logs.join("a");
    fs::create_dir_all(&folder).expect("a folder");
    Capture::create(File::open(folder).expect("opened").into(), 1, limit, Vec::new()).expect("never fails")
}

fn query(logs: &Path) -> Query {
    let filter = Filter::default();
    Query { logs: logs.to_owned(), services: vec![Name::new("a")], tail: None, follow: false, all: false, filter }
}

fn entries(query: Query) -> impl Iterator<Item = Entry> {
    let mut reader = Reader::open(query).expect("opened");
    std::iter::from_fn(move || reader.next(None).expect("read"))
}

/// And how many marks.
fn lines(logs: &Path) -> (Lines, u64) {
    let (mut lines, mut marks) = (Lines::new(), 0);
    for entry in entries(query(logs)) {
        let What::Line { stream, bytes, whole } = entry.what else {
            marks += 1;
            continue;
        };
        let lines = lines.entry(stream == Stream::Stderr).or_insert_with(|| vec![Vec::new()]);
        lines.last_mut().expect("one at least").extend(bytes);
        if whole {
            lines.push(Vec::new());
        }
    }
    (lines, marks)
}

/// The records of one index; it must be sound to its end.
fn records(folder: &Path, part: Part) -> Vec<Record> {
    let index = fs::read(part.index_in(folder)).expect("an index");
    assert_eq!(index.len() % SLOT, 0, "whole slots");
    let slots = index.chunks_exact(SLOT).map(|slot| record::decode(slot.try_into().expect("24")).expect("sound"));
    slots.filter_map(|slot| if let Slot::Record(record) = slot { Some(record) } else { None }).collect()
}

/// What each stream wrote (stderr: true), rebuilt from files and indexes; every byte is spoken of once, in order.
pub(super) fn rebuilt(folder: &Path) -> BTreeMap<bool, Vec<u8>> {
    let mut streams: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
    let mut time = 0;
    for part in folder::list(folder).expect("listed").logs {
        let data = fs::read(part.log_in(folder)).expect("a log");
        let mut at = 0;
        for record in records(folder, part) {
            assert!(record.time >= time, "time goes on");
            time = record.time;
            assert_eq!(record.offset, at as u64, "no gap, no overlap");
            let Kind::Data(stream) = record.kind else { continue };
            let bytes = &data[at..at + record.length as usize];
            at += bytes.len();
            if record.flags & ADDED != 0 {
                assert_eq!(bytes, b"\n");
            } else {
                assert_eq!(record.flags & UNFINISHED == 0, bytes.ends_with(b"\n"));
                streams.entry(stream == Stream::Stderr).or_default().extend(bytes);
            }
        }
        assert_eq!(at, data.len(), "all is indexed");
    }
    streams
}

/// However the stream is cut, what comes out is what reading it whole says: all bytes of all secrets masked, also of those
/// that overlap or begin one another, and all other bytes kept.
pub fn redactor(input: &[u8]) {
    let mut choices = Choices(input);
    // Few letters make near misses, overlaps and beginnings common.
    let letter = |byte: u8| b"abab\n"[usize::from(byte % 5)];
    let mut values: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=choices.below(4) {
        let before = values.last().cloned().unwrap_or_default();
        let part = &before[choices.below(before.len() + 1)..];
        let length = choices.below(14);
        let more = choices.take(length).iter().map(|byte| letter(byte % 4));
        values.push(part.iter().copied().chain(more).take(40).collect());
    }
    let named = |(at, value): (usize, &Vec<u8>)| (format!("[{at}]"), String::from_utf8_lossy(value).into_owned());
    let secrets = Secrets::new(values.iter().enumerate().map(named).collect());
    for value in values.iter_mut().filter(|value| value.len() < 8) {
        value.clear();
    }
    let text: Vec<u8> = choices.0.iter().map(|byte| letter(*byte)).collect();
    let (mut carry, mut out, mut at) = (Carry::default(), Vec::new(), 0);
    for size in choices.0.iter().map(|byte| usize::from(byte >> 4)).take_while(|_| !text.is_empty()) {
        let end = (at + size).min(text.len());
        out.extend_from_slice(&secrets.feed(&mut carry, &text[at..end]));
        at = end;
    }
    out.extend_from_slice(&secrets.feed(&mut carry, &text[at..]));
    out.extend(secrets.end(&mut carry));
    let shown = String::from_utf8_lossy(&out);
    assert_eq!(shown, String::from_utf8_lossy(&masked(&text, &values)), "secrets {values:?} in {text:?}");
    for secret in values.iter().filter(|value| !value.is_empty()) {
        assert!(memchr::memmem::find(&out, secret).is_none(), "{secret:?} in {shown}");
    }
}

/// Byte by byte, with the whole text at hand.
fn masked(text: &[u8], secrets: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut until) = (Vec::new(), 0);
    for at in 0..text.len() {
        let rest = &text[at..];
        let begun = |value: &[u8]| rest.starts_with(value) || rest.len() >= 8 && value.starts_with(rest);
        let here = secrets.iter().enumerate().filter(|(_, value)| !value.is_empty() && begun(value));
        // The longest; of two as long one that is whole, of such the first.
        let rank = |value: &[u8]| (value.len().min(rest.len()), value.len() <= rest.len());
        let first = here.max_by_key(|(at, value)| (rank(value), std::cmp::Reverse(*at)));
        if let Some((name, value)) = first {
            if at >= until {
                out.extend(format!("[{name}]").bytes());
            }
            until = until.max(at + value.len().min(rest.len()));
        }
        if at >= until {
            out.push(text[at]);
        }
    }
    out
}

/// Whatever stands in an index and beside it, a reader comes to an end, and shows every byte of the log once.
pub fn index(folder: &Path, input: &[u8]) {
    const STYLE: Style = Style { format: Format::Text, prefix: true, times: true, color: true, terminal: true };
    let mut choices = Choices(input);
    let service = folder.join("a");
    fs::create_dir_all(&service).expect("a folder");
    let (sealed, since) = (choices.byte().is_multiple_of(2), i64::from(choices.byte()) << choices.below(60));
    let tail = choices.below(20);
    let length = choices.below(2000);
    let mut index = choices.take(length).to_vec();
    if sealed {
        for slot in index.chunks_exact_mut(SLOT) {
            let bytes: [u8; SLOT] = std::array::from_fn(|at| slot[at]);
            slot.copy_from_slice(&record::sealed(bytes, bytes[20] % 6, bytes[21] % 4));
        }
    }
    let slots = index.len() / SLOT;
    let data = choices.0;
    let part = Part { run: 1, part: 0 };
    fs::write(part.index_in(&service), index).expect("written");
    fs::write(part.log_in(&service), data).expect("written");
    let two = |query: Query| {
        let styles = [Format::Text, Format::Json].map(|format| Style { format, ..STYLE });
        let mut printers = styles.map(|style| Printer::new(style, &[Name::new("a"), Name::new("b")]));
        let (mut shown, mut count) = (0, 0);
        for entry in entries(query) {
            for printer in &mut printers {
                printer.line(&entry, &mut Vec::new());
            }
            count += 1;
            assert!(count <= data.len() + slots + 2, "it comes to an end");
            if let What::Line { bytes, whole, .. } = entry.what {
                shown += bytes.len() + usize::from(whole);
            }
        }
        assert!(shown <= data.len(), "nothing twice");
        shown
    };
    // A run that may go on, then one that is over.
    two(query(folder));
    fs::write(Part { run: 2, part: 0 }.log_in(&service), "").expect("written");
    // A newline of ours is passed over: one for each slot at most.
    assert!(two(query(folder)) + slots >= data.len(), "nothing hidden");
    two(Query { tail: Some(tail), ..query(folder) });
    two(Query { filter: Filter { since: Some(since), ..Filter::default() }, ..query(folder) });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_cut_of_both_streams_is_the_same_store(input in bytes(600)) {
            super::store(tempfile::tempdir().expect("a folder").path(), &input);
        }

        #[test]
        fn any_index_is_read_to_its_end(input in bytes(3000)) {
            super::index(tempfile::tempdir().expect("a folder").path(), &input);
        }
    }

    /// Found by the fuzzer: the stream ends with a secret that begins two others.
    #[test]
    fn a_whole_secret_goes_before_one_that_may_have_begun() {
        let mut input = vec![3, 0];
        for length in [11, 16, 10] {
            input.extend([0, 0, length, 0]);
            input.extend(vec![0; usize::from(length)]);
        }
        input.extend([0, 0, 0, 0]);
        input.extend([0; 10]);
        super::redactor(&input);
        let named = [("[0]", 11), ("[1]", 12), ("[2]", 10)].map(|(mask, length)| (mask.to_owned(), "a".repeat(length)));
        let secrets = crate::logs::Secrets::new(named.into());
        assert_eq!(secrets.mask(b"aaaaaaaaaa"), b"[2]");
        assert_eq!(secrets.mask(b"aaaaaaaaa"), b"[0]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_cut_of_a_stream_is_masked_alike(input in bytes(120)) {
            super::redactor(&input);
        }
    }
}
