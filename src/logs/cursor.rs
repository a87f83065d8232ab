//! Reads one log file by its index, from a place to its end and on as it grows. Holds at most two chunks of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use super::folder::Part;
use super::record::{self, ADDED, Kind, Record, SLOT, Slot, UNFINISHED};
use super::{Mark, Stream, What};
use crate::sys::clock;

/// The longest piece of a line that is handed out, and what is read at once.
const CHUNK: usize = 64 * 1024;
const SLOTS: usize = 128 * SLOT;

/// Bytes being handed out.
#[derive(Clone, Copy)]
struct Span {
    stream: Stream,
    time: i64,
    end: u64,
}

pub(super) struct Cursor {
    data: File,
    index: Option<File>,
    /// Where the next slot is, and what was read ahead from there.
    index_at: u64,
    slots: Vec<u8>,
    /// Up to here the file was read.
    read_to: u64,
    /// Read, not handed out yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    span: Option<Span>,
    /// The buffer holds the beginning of a line whose record ended.
    pending: Option<Span>,
    last_time: i64,
}

/// What the index says comes next.
enum Next {
    Data(Record),
    Mark(Record, Option<Mark>),
}

impl Cursor {
    /// From the file's beginning.
    pub(super) fn open(folder: &Path, part: Part) -> io::Result<Self> {
        let data = File::open(part.log_in(folder))?;
        let index = File::open(part.index_in(folder)).ok();
        Ok(Self {
            data,
            index,
            index_at: 0,
            slots: Vec::new(),
            read_to: 0,
            buffer: Vec::new(),
            at: 0,
            span: None,
            pending: None,
            last_time: 0,
        })
    }

    /// When the first append or mark of this file was written.
    pub(super) fn begins(folder: &Path, part: Part) -> Option<i64> {
        let index = File::open(part.index_in(folder)).ok()?;
        // The header comes before it.
        time_at(&index, 1).ok()?
    }

    /// Goes on after everything the index knows.
    pub(super) fn skip_to_end(&mut self) -> io::Result<()> {
        self.seek(u64::MAX)
    }

    /// When what comes next was written; `None`: nothing is there yet.
    pub(super) fn time_here(&self) -> io::Result<Option<i64>> {
        let Some(index) = &self.index else { return Ok(None) };
        let time = time_at(index, self.index_at / SLOT as u64)?;
        // The header is not written at any time.
        Ok(if time == Some(i64::MIN) { time_at(index, 1)? } else { time })
    }

    /// Is the last thing before this place the end of the run?
    pub(super) fn is_over(&self) -> io::Result<bool> {
        let Some(index) = &self.index else { return Ok(false) };
        let mut slot = (self.index_at / SLOT as u64).saturating_sub(1);
        let mut bytes = [0; SLOT];
        let mut text = Vec::new();
        while read_at(index, &mut bytes, slot * SLOT as u64)? == SLOT {
            match record::decode(&bytes) {
                Some(Slot::More(piece)) if slot > 0 && text.len() < record::LONGEST_MARK => text.push(piece),
                Some(Slot::Record(record)) if record.kind == Kind::Mark => {
                    let mut text = text.into_iter().rev().flatten().collect::<Vec<u8>>();
                    text.truncate(record.length as usize);
                    return Ok(serde_json::from_slice(&text).ok() == Some(Mark::Ended));
                }
                _ => break,
            }
            slot -= 1;
        }
        Ok(false)
    }

    /// Goes on at this byte, or where the index ends if that is before. Marks that stand before it are skipped.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        if offset == 0 {
            return Ok(());
        }
        let Some(index) = &self.index else {
            self.read_to = offset.min(self.data.metadata()?.len());
            return Ok(());
        };
        let (mut low, mut high) = (0, index.metadata()?.len() / SLOT as u64);
        let mut end = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            match end_at(index, middle)? {
                Some(here) if here <= offset => {
                    end = end.max(here);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        self.last_time = if low == 0 { 0 } else { time_at(index, low - 1)?.unwrap_or(0).max(0) };
        self.index_at = low * SLOT as u64;
        self.read_to = offset.min(self.data.metadata()?.len()).min(if offset == u64::MAX { end } else { offset });
        Ok(())
    }

    /// Goes on at the first append or mark of this time or later; within a line, at the line's beginning, as if it had been
    /// written when its rest was.
    pub(super) fn seek_time(&mut self, since: i64) -> io::Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        let (mut low, mut high) = (0, index.metadata()?.len() / SLOT as u64);
        while low < high {
            let middle = low + (high - low) / 2;
            match time_at(index, middle)? {
                Some(time) if time < since => low = middle + 1,
                _ => high = middle,
            }
        }
        let before = if low == 0 { 0 } else { end_at(index, low - 1)?.unwrap_or(0) };
        self.last_time = if low == 0 { 0 } else { time_at(index, low - 1)?.unwrap_or(0).max(0) };
        self.index_at = low * SLOT as u64;
        self.read_to = before.min(self.data.metadata()?.len());
        if let Some((slot, from, time)) = self.begun_before(low)? {
            self.index_at = slot * SLOT as u64;
            self.read_to = from;
            self.last_time = time;
        }
        Ok(())
    }

    /// If the record at this slot goes on with a line: where that line begins, as far back as a piece may be long, and the
    /// time of the record.
    fn begun_before(&self, slot: u64) -> io::Result<Option<(u64, u64, i64)>> {
        let Some(index) = &self.index else { return Ok(None) };
        let Some(rest) = data_at(index, slot)?.filter(|record| record.flags & ADDED == 0) else { return Ok(None) };
        let mut first = slot;
        let mut from = rest.offset;
        while first > 0
            && let Some(piece) = data_at(index, first - 1)?
            && piece.kind == rest.kind
            && piece.flags == UNFINISHED
            && piece.end() == from
            && rest.offset - piece.offset < CHUNK as u64
        {
            first -= 1;
            from = piece.offset;
        }
        if first == slot {
            return Ok(None);
        }
        // What the disk took only in part may have whole lines before it.
        let mut begun = vec![0; usize::try_from(rest.offset - from).unwrap_or(0)];
        let got = read_at(&self.data, &mut begun, from)?;
        let line = memchr::memrchr(b'\n', &begun[..got]).map_or(0, |at| at as u64 + 1);
        Ok(Some((first, from + line, rest.time)))
    }

    /// The next line or mark with its time; `None` when there is none now.
    pub(super) fn next(&mut self) -> io::Result<Option<(i64, What)>> {
        loop {
            if let Some(span) = self.span {
                if let Some(line) = self.line(span)? {
                    return Ok(Some((span.time, line)));
                }
                self.span = None;
                self.pending = (self.at < self.buffer.len()).then_some(span);
            }
            let next = self.slot()?;
            if let Some(pending) = self.pending
                && !matches!(&next, Some(Next::Data(r)) if r.kind == Kind::Data(pending.stream) && r.flags & ADDED == 0)
            {
                self.pending = None;
                self.span = None;
                let bytes = self.take(self.buffer.len() - self.at);
                // The slot is looked at again.
                return Ok(Some((pending.time, What::Line { stream: pending.stream, bytes, whole: false })));
            }
            match next {
                None => {
                    self.buffer = Vec::new();
                    self.at = 0;
                    return Ok(None);
                }
                Some(Next::Data(record)) => {
                    self.step(1);
                    self.data_record(&record)?;
                }
                Some(Next::Mark(record, mark)) => {
                    self.step(1 + record.continuations());
                    self.last_time = self.last_time.max(record.time);
                    if let Some(mark) = mark {
                        return Ok(Some((self.last_time, What::Mark(mark))));
                    }
                }
            }
        }
    }

    fn data_record(&mut self, record: &Record) -> io::Result<()> {
        self.last_time = self.last_time.max(record.time);
        let Kind::Data(stream) = record.kind else { return Ok(()) };
        let end = record.end().min(self.data.metadata()?.len());
        if end <= self.read_to {
            return Ok(());
        }
        // One that speaks of more than a newline is no such record, and hides nothing.
        if record.flags & ADDED != 0 && end == self.read_to + 1 {
            self.read_to = end;
            return Ok(());
        }
        // Bytes before it that no record speaks of are shown with it: none is ever hidden.
        let time = self.pending.take().map_or(self.last_time, |pending| pending.time);
        self.span = Some(Span { stream, time, end });
        Ok(())
    }

    /// Bytes past the last record, of a run that is over: they are handed out next. How many there are.
    pub(super) fn adopt(&mut self) -> io::Result<u64> {
        let end = self.data.metadata()?.len();
        let bytes = end.saturating_sub(self.read_to);
        if bytes > 0 {
            self.span = Some(Span { stream: Stream::Stdout, time: self.last_time, end });
        }
        Ok(bytes)
    }

    /// Of what was read or passed over last; of a file without any, of the file.
    pub(super) fn last_time(&self) -> i64 {
        if self.last_time > 0 {
            return self.last_time;
        }
        i64::try_from(self.written().as_nanos()).unwrap_or(i64::MAX)
    }

    /// Its file was removed. The oldest go first, so the run's later ones may be gone too, unseen.
    pub(super) fn is_removed(&self) -> bool {
        self.data.metadata().is_ok_and(|seen| seen.nlink() == 0)
    }

    /// Nothing was written for so long.
    pub(super) fn silent_for(&self) -> Duration {
        clock::realtime().saturating_sub(self.written())
    }

    /// When, since 1970.
    fn written(&self) -> Duration {
        let written = self.data.metadata().and_then(|seen| seen.modified()).ok();
        written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default()
    }

    /// One line of the span; `None` when the rest of it does not end a line.
    fn line(&mut self, span: Span) -> io::Result<Option<What>> {
        let stream = span.stream;
        let mut scanned = self.at;
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[scanned..]) {
                let bytes = self.take(scanned + found - self.at);
                self.at += 1;
                return Ok(Some(What::Line { stream, bytes, whole: true }));
            }
            if self.buffer.len() - self.at >= CHUNK {
                let bytes = self.take(CHUNK);
                return Ok(Some(What::Line { stream, bytes, whole: false }));
            }
            if self.read_to >= span.end {
                return Ok(None);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            scanned = self.buffer.len();
            self.read(span.end)?;
        }
    }

    fn read(&mut self, end: u64) -> io::Result<()> {
        let held = self.buffer.len();
        let want = usize::try_from(end - self.read_to).unwrap_or(CHUNK).min(CHUNK);
        self.buffer.resize(held + want, 0);
        let got = read_at(&self.data, &mut self.buffer[held..], self.read_to)?;
        self.buffer.truncate(held + got);
        // A file that somebody cut has no more: what the index says of it is passed over.
        self.read_to = if got == 0 { end } else { self.read_to + got as u64 };
        Ok(())
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.buffer[self.at..self.at + length].to_vec();
        self.at += length;
        bytes
    }

    /// Looks at the next slot without stepping over it.
    fn slot(&mut self) -> io::Result<Option<Next>> {
        loop {
            let Some(slot) = self.peek(1)? else { return Ok(None) };
            match record::decode(&slot[0]) {
                // A continuation alone is what is left of a mark after a search.
                Some(Slot::Header | Slot::More(_)) => self.step(1),
                Some(Slot::Record(record)) if record.kind != Kind::Mark => return Ok(Some(Next::Data(record))),
                Some(Slot::Record(record)) if record.length as usize <= record::LONGEST_MARK => {
                    let Some(slots) = self.peek(1 + record.continuations())? else { return Ok(None) };
                    return Ok(text(&slots[1..], record.length as usize).map(|text| {
                        let mark = serde_json::from_slice(&text).ok();
                        Next::Mark(record, mark)
                    }));
                }
                Some(Slot::Record(_)) | None => return Ok(None),
            }
        }
    }

    /// So many slots from here on, if they are all there.
    fn peek(&mut self, count: usize) -> io::Result<Option<Vec<[u8; SLOT]>>> {
        let want = count * SLOT;
        if self.slots.len() < want || self.slots[..want].chunks_exact(SLOT).any(|slot| slot[20] == 0) {
            let Some(index) = &self.index else { return Ok(None) };
            self.slots.resize(want.max(SLOTS), 0);
            let got = read_at(index, &mut self.slots, self.index_at)?;
            self.slots.truncate(got);
        }
        let slots = self.slots.get(..want).map(|bytes| {
            let exact = bytes.chunks_exact(SLOT);
            exact.map(|slot| std::array::from_fn(|at| slot[at])).collect()
        });
        if slots.is_none() {
            self.slots = Vec::new();
        }
        Ok(slots)
    }

    fn step(&mut self, slots: usize) {
        let bytes = slots * SLOT;
        self.index_at += bytes as u64;
        self.slots.drain(..bytes.min(self.slots.len()));
    }
}

/// The text of a mark, if all its continuations are sound.
fn text(slots: &[[u8; SLOT]], length: usize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(length);
    for slot in slots {
        let Some(Slot::More(piece)) = record::decode(slot) else { return None };
        text.extend_from_slice(&piece);
    }
    text.truncate(length);
    Some(text)
}

/// When the record at this slot, or the mark it belongs to, was written; `None` where the index is over.
fn time_at(index: &File, slot: u64) -> io::Result<Option<i64>> {
    Ok(match record_at(index, slot)? {
        Some(Slot::Record(record)) => Some(record.time),
        // The header comes before everything.
        Some(Slot::Header) => Some(i64::MIN),
        Some(Slot::More(_)) | None => None,
    })
}

/// Where the data of the record at this slot, or of the mark it belongs to, ends; `None` where the index is over.
fn end_at(index: &File, slot: u64) -> io::Result<Option<u64>> {
    Ok(match record_at(index, slot)? {
        Some(Slot::Record(record)) => Some(record.end()),
        Some(Slot::Header) => Some(0),
        Some(Slot::More(_)) | None => None,
    })
}

/// The record of data at this slot, if it is one.
fn data_at(index: &File, slot: u64) -> io::Result<Option<Record>> {
    let mut bytes = [0; SLOT];
    if read_at(index, &mut bytes, slot * SLOT as u64)? < SLOT {
        return Ok(None);
    }
    Ok(match record::decode(&bytes) {
        Some(Slot::Record(record)) if record.kind != Kind::Mark => Some(record),
        _ => None,
    })
}

/// The record at this slot, or that of the mark whose continuation stands there.
fn record_at(index: &File, mut slot: u64) -> io::Result<Option<Slot>> {
    let mut bytes = [0; SLOT];
    for _ in 0..record::LONGEST_MARK {
        if read_at(index, &mut bytes, slot * SLOT as u64)? < SLOT {
            return Ok(None);
        }
        match record::decode(&bytes) {
            Some(Slot::More(_)) if slot > 0 => slot -= 1,
            Some(Slot::More(_)) | None => return Ok(None),
            found @ Some(Slot::Record(_) | Slot::Header) => return Ok(found),
        }
    }
    Ok(None)
}

/// Fills as much as there is.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
