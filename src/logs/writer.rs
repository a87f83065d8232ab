//! One run's files: appends bytes and then their record, rolls, and never fails.
//!
//! States: *writing* (a pair of files is open), *in trouble* (the disk did not take something: what comes is dropped and
//! counted, and tried again after a while; the first success is preceded by a mark that says how much is missing).
//! What must never happen: a record of bytes that are not in the file, or an append at a place the index does not know.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::disk::Disk;
use super::folder::Part;
use super::record::{self, ADDED, Kind, Record, UNFINISHED};
use super::{Mark, Stream};
use crate::sys::clock;
use crate::sys::files::Create;

/// Index space set aside at a time, so that a mark fits when the disk is full.
const AHEAD: u64 = 16 * 1024;
const ROOM: u64 = 4 * 1024;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Marks that wait for a disk.
const MARKS_OWED: usize = 64;
/// Names tried before giving up on a new file for this time.
const NAMES_TRIED: u32 = 1000;

struct Pair {
    part: Part,
    data: File,
    index: File,
    size: u64,
    index_size: u64,
    set_aside: u64,
    /// Index bytes the disk has not taken yet. No data is written while there are any.
    queue: Vec<u8>,
}

/// The file ends within a line.
#[derive(Clone, Copy)]
struct Unfinished {
    stream: Stream,
    /// Its rest was dropped: what comes next is another line.
    torn: bool,
}

struct Trouble {
    /// Dropped and not marked yet.
    bytes: u64,
    what: String,
    again: Duration,
    wait: Duration,
}

pub(super) struct Writer {
    disk: Box<dyn Disk>,
    next: Part,
    /// A file of ours that was not completed: it may be begun again.
    begun: Option<Part>,
    limit: u64,
    pair: Option<Pair>,
    unfinished: Option<Unfinished>,
    owed: Vec<(i64, Mark)>,
    last: i64,
    trouble: Option<Trouble>,
    dropped: (u64, Option<String>),
    /// What the wall clock says, whichever way it was set meanwhile.
    wall: fn() -> Duration,
}

impl Writer {
    pub(super) fn new(disk: Box<dyn Disk>, run: u32, limit: u64) -> Self {
        let mut new = Self {
            disk,
            next: Part { run, part: 0 },
            begun: None,
            limit: limit.max(1),
            pair: None,
            unfinished: None,
            owed: Vec::new(),
            last: 0,
            trouble: None,
            dropped: (0, None),
            wall: clock::realtime,
        };
        if let Err(error) = new.begin() {
            new.troubled(0, &error);
        }
        new
    }

    #[cfg(test)]
    pub(super) fn set_wall(&mut self, wall: fn() -> Duration) {
        self.wall = wall;
    }

    /// Appends bytes of one stream; whether they end their line is seen from the last one.
    pub(super) fn append(&mut self, stream: Stream, parts: [&[u8]; 2]) {
        let length = (parts[0].len() + parts[1].len()) as u64;
        if length == 0 {
            return;
        }
        if self.trouble.as_ref().is_some_and(|trouble| clock::monotonic() < trouble.again) {
            return self.drop_bytes(length);
        }
        if let Err(error) = self.ready(length) {
            self.troubled(length, &error);
            return;
        }
        self.put(stream, parts, length);
    }

    /// Data first, then what the index says of it.
    fn put(&mut self, stream: Stream, parts: [&[u8]; 2], length: u64) {
        let before = self.unfinished.filter(|open| open.torn || open.stream != stream);
        let newline: &[u8] = if before.is_some() { b"\n" } else { b"" };
        let Some(pair) = &mut self.pair else { return };
        let (written, failure) = write_all(self.disk.as_mut(), &pair.data, [newline, parts[0], parts[1]]);
        if written == 0 {
            let error = failure.unwrap_or_else(|| io::ErrorKind::WriteZero.into());
            return self.troubled(length, &error);
        }
        let start = pair.size;
        pair.size += written;
        self.recovered(start);
        let added = written.min(newline.len() as u64);
        if let Some(open) = before.filter(|_| added > 0) {
            self.record(start, 1, open.stream, ADDED);
            self.unfinished = None;
        }
        let ours = written - added;
        if ours > 0 {
            let ends = ours == length && parts[1].last().or(parts[0].last()) == Some(&b'\n');
            self.record(start + added, ours, stream, if ends { 0 } else { UNFINISHED });
            self.unfinished = (!ends).then_some(Unfinished { stream, torn: false });
        }
        match (failure, self.flush()) {
            (Some(error), _) => self.troubled(length - ours, &error),
            (None, Err(error)) => self.troubled(0, &error),
            (None, Ok(())) => {}
        }
    }

    fn record(&mut self, offset: u64, length: u64, stream: Stream, flags: u8) {
        let time = self.now();
        let Some(pair) = &mut self.pair else { return };
        // Pieces are a megabyte at most.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        pair.queue.extend(Record { offset, time, length, kind: Kind::Data(stream), flags }.encode());
    }

    /// The disk takes bytes again: says what is missing before this place.
    fn recovered(&mut self, at: u64) {
        let Some(trouble) = self.trouble.take() else { return };
        if trouble.bytes > 0 {
            let time = self.now();
            let mark = Mark::Dropped { bytes: trouble.bytes, what: trouble.what };
            if let Some(pair) = &mut self.pair {
                record::encode_mark(at, time, &mark, &mut pair.queue);
            }
        }
    }

    pub(super) fn mark(&mut self, mark: &Mark) {
        let time = self.now();
        if let Some(trouble) = &mut self.trouble
            && trouble.bytes > 0
        {
            let dropped = Mark::Dropped { bytes: std::mem::take(&mut trouble.bytes), what: trouble.what.clone() };
            self.owed.push((time, dropped));
        }
        self.owed.push((time, mark.clone()));
        let done = match self.ready(0) {
            Ok(()) => self.flush(),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            let over = self.owed.len().saturating_sub(MARKS_OWED);
            self.owed.drain(..over);
            self.troubled(0, &error);
        }
    }

    /// A pair of files that can take so many bytes, with nothing waiting for its index.
    fn ready(&mut self, bytes: u64) -> io::Result<()> {
        if self.pair.as_ref().is_some_and(|pair| !pair.untouched()) {
            self.pair = None;
        }
        let Some(pair) = &self.pair else { return self.begin() };
        let full = pair.size > 0 && pair.size + bytes > self.limit;
        let at_line_end = self.unfinished.is_none();
        if bytes > 0 && full && (at_line_end || pair.size > self.limit.saturating_mul(2)) {
            self.flush()?;
            // A disk that has no room for another file may have some in this one.
            drop(self.begin());
        }
        self.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        for _ in 0..NAMES_TRIED {
            let how = if self.begun == Some(self.next) { Create::Again } else { Create::New };
            match self.create(self.next, how) {
                Ok(pair) => {
                    if let Some(old) = self.pair.replace(pair) {
                        old.cut();
                    }
                    self.next.part += 1;
                    self.unfinished = None;
                    return self.flush();
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.next.part += 1,
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn create(&mut self, part: Part, how: Create) -> io::Result<Pair> {
        let index = self.disk.create(&part.index(), how)?;
        self.begun = Some(part);
        // Not every file system can; then a full disk may cost a mark.
        let set_aside = self.disk.preallocate(&index, 0, AHEAD).map_or(0, |()| AHEAD);
        let data = self.disk.create(&part.log(), how)?;
        let queue = record::header(part.run, part.part).to_vec();
        let mut pair = Pair { part, data, index, size: 0, index_size: 0, set_aside, queue };
        pair.flush(self.disk.as_mut())?;
        // A convenience for people; the store does not depend on it.
        drop(self.disk.point(&part.log()));
        Ok(pair)
    }

    /// Writes what the index still owes. Marks stay owed until the disk has begun to take them, so a lost file loses none.
    fn flush(&mut self) -> io::Result<()> {
        let Some(pair) = &mut self.pair else { return Err(io::ErrorKind::NotFound.into()) };
        pair.flush(self.disk.as_mut())?;
        if self.owed.is_empty() {
            return Ok(());
        }
        for (time, mark) in &self.owed {
            record::encode_mark(pair.size, *time, mark, &mut pair.queue);
        }
        let before = pair.index_size;
        let done = pair.flush(self.disk.as_mut());
        if pair.index_size == before {
            pair.queue.clear();
        } else {
            self.owed.clear();
        }
        done
    }

    fn now(&mut self) -> i64 {
        let now = i64::try_from((self.wall)().as_nanos()).unwrap_or(i64::MAX);
        self.last = self.last.max(now);
        self.last
    }

    fn drop_bytes(&mut self, bytes: u64) {
        self.dropped.0 += bytes;
        if let Some(open) = &mut self.unfinished {
            open.torn = true;
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.bytes += bytes;
        }
    }

    fn troubled(&mut self, bytes: u64, error: &io::Error) {
        let what = words(error);
        self.dropped.1 = Some(what.clone());
        let now = clock::monotonic();
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            bytes: 0,
            what: String::new(),
            again: now,
            wait: RETRY_FIRST / 2,
        });
        trouble.what = what;
        trouble.wait = (trouble.wait * 2).min(RETRY_LAST);
        trouble.again = now + trouble.wait;
        self.drop_bytes(bytes);
    }

    /// Files begun so far.
    pub(super) fn files(&self) -> u32 {
        self.next.part
    }

    pub(super) fn dropped(&self) -> (u64, Option<String>) {
        self.dropped.clone()
    }

    /// Only something that is owed is worth a wake-up.
    pub(super) fn due(&self) -> Option<Duration> {
        let trouble = self.trouble.as_ref()?;
        let owed = trouble.bytes > 0 || !self.owed.is_empty() || self.pair.as_ref().is_none_or(|p| !p.queue.is_empty());
        owed.then(|| trouble.again.saturating_sub(clock::monotonic()))
    }

    /// Tries a disk again that did not take bytes: is there room for a line?
    pub(super) fn tick(&mut self) {
        if self.due() != Some(Duration::ZERO) {
            return;
        }
        let tried = self.ready(0).and_then(|()| match &self.pair {
            Some(pair) => {
                self.disk.preallocate(&pair.data, pair.size, ROOM).or_else(unsupported)?;
                pair.data.set_len(pair.size)
            }
            None => Ok(()),
        });
        if let Err(error) = tried {
            return self.troubled(0, &error);
        }
        let end = self.pair.as_ref().map_or(0, |pair| pair.size);
        self.recovered(end);
        if let Err(error) = self.flush() {
            self.troubled(0, &error);
        }
    }

    pub(super) fn finish(mut self) {
        let end = self.pair.as_ref().map_or(0, |pair| pair.size);
        self.recovered(end);
        // The last try: there is nobody left to tell.
        drop(self.ready(0));
        if let Some(pair) = &self.pair {
            pair.cut();
        }
    }
}

impl Pair {
    /// Nobody else cut, removed or wrote to the files.
    fn untouched(&self) -> bool {
        let same = |file: &File, size: u64| file.metadata().is_ok_and(|seen| seen.nlink() > 0 && seen.len() == size);
        same(&self.data, self.size) && same(&self.index, self.index_size)
    }

    fn flush(&mut self, disk: &mut dyn Disk) -> io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        if self.set_aside > 0 && self.index_size + ROOM > self.set_aside {
            // Without it a full disk may cost a mark; nothing else depends on it.
            if disk.preallocate(&self.index, self.set_aside, AHEAD).is_ok() {
                self.set_aside += AHEAD;
            }
        }
        let (written, failure) = write_all(disk, &self.index, [&self.queue, b"", b""]);
        self.index_size += written;
        self.queue.drain(..usize::try_from(written).unwrap_or(usize::MAX).min(self.queue.len()));
        failure.map_or(Ok(()), Err)
    }

    /// Gives back what was set aside. Never lengthens or shortens a file that somebody else changed.
    fn cut(&self) {
        if self.untouched() {
            tracing::trace!(part = ?self.part, "log file complete");
            drop(self.index.set_len(self.index_size));
            drop(self.data.set_len(self.size));
        }
    }
}

fn unsupported(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Unsupported { Ok(()) } else { Err(error) }
}

/// How many bytes were taken, and why not all.
fn write_all(disk: &mut dyn Disk, file: &File, mut parts: [&[u8]; 3]) -> (u64, Option<io::Error>) {
    let mut written = 0;
    while parts.iter().any(|part| !part.is_empty()) {
        match disk.write(file, &parts.map(IoSlice::new)) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(mut taken) => {
                written += taken as u64;
                for part in &mut parts {
                    let here = taken.min(part.len());
                    *part = &part[here..];
                    taken -= here;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// For people, without the number.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "disk full".into(),
        io::ErrorKind::QuotaExceeded => "disk quota exceeded".into(),
        io::ErrorKind::ReadOnlyFilesystem => "read-only file system".into(),
        io::ErrorKind::NotFound => "log folder gone".into(),
        io::ErrorKind::FileTooLarge => "file size limit".into(),
        _ => error.to_string().to_lowercase(),
    }
}
