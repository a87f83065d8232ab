//! Where the last so many lines of a service begin, across its files and over runs that lived at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Follow, Run, Until};
use crate::logs::cursor::Cursor;
use crate::logs::folder::Part;

const CHUNK: u64 = 64 * 1024;

impl Follow {
    /// Leaves out all but the last lines. Of a run that lived at the same time, what it wrote since then is there as well:
    /// says whether there may be more lines than asked for.
    pub(in crate::logs) fn tail(&mut self, lines: usize) -> io::Result<bool> {
        if lines == 0 {
            self.only_new()?;
            return Ok(false);
        }
        let parts: Vec<Part> = self.waiting.keys().copied().collect();
        let Some((first, offset)) = start(&self.folder, &parts, lines)? else { return Ok(false) };
        let mut cursor = match Cursor::open(&self.folder, first) {
            Ok(cursor) => cursor,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.waiting.retain(|part, _| *part > first);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        cursor.seek(offset)?;
        // Of bytes that no record speaks of yet the time is not known: they came after what one speaks of.
        let from = cursor.time_here()?.or(Some(cursor.last_time()));
        // When the next run began before that, the two lived at once, and the last lines may be of either.
        let next = parts.iter().find(|part| part.run > first.run).and_then(|part| Cursor::begins(&self.folder, *part));
        let both = from.zip(next).is_some_and(|(from, next)| next < from);
        let from = if both { next } else { from };
        let mut beside = self.beside(first.run, from)?;
        if both {
            beside.push(first.run);
        } else {
            self.waiting.retain(|part, _| part.run != first.run || *part > first);
            self.runs.push(Run { cursor: Some(cursor), ..Run::new(first.run) });
        }
        self.waiting.retain(|part, _| part.run >= first.run || beside.contains(&part.run));
        for number in &beside {
            self.pass_over(*number, from);
            self.runs.push(Run { from, unseen: true, ..Run::new(*number) });
        }
        Ok(!beside.is_empty())
    }

    /// Nothing of what is there; of every run that may go on, all that comes.
    fn only_new(&mut self) -> io::Result<()> {
        let last: Vec<Part> = self.last_parts();
        self.waiting.clear();
        for part in last.into_iter().filter(|_| self.until == Until::Ever) {
            let Some(cursor) = at_end(&self.folder, part)? else { continue };
            if !cursor.is_over()? {
                self.runs.push(Run { cursor: Some(cursor), unseen: true, ..Run::new(part.run) });
            }
        }
        Ok(())
    }

    /// Runs before this one that wrote since then, or may still write.
    fn beside(&self, run: u32, since: Option<i64>) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for part in self.last_parts().into_iter().filter(|part| part.run < run) {
            let Some(cursor) = at_end(&self.folder, part)? else { continue };
            let wrote = since.is_some_and(|since| cursor.last_time() >= since);
            if wrote || (self.until == Until::Ever && !cursor.is_over()?) {
                found.push(part.run);
            }
        }
        Ok(found)
    }

    /// Of each run its last file.
    fn last_parts(&self) -> Vec<Part> {
        let parts: Vec<Part> = self.waiting.keys().copied().collect();
        parts.chunk_by(|a, b| a.run == b.run).filter_map(|run| run.last().copied()).collect()
    }
}

fn at_end(folder: &Path, part: Part) -> io::Result<Option<Cursor>> {
    let mut cursor = match Cursor::open(folder, part) {
        Ok(cursor) => cursor,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    cursor.skip_to_end()?;
    Ok(Some(cursor))
}

/// The file and the byte in it from which `lines` (at least 1) lines are left; `None`: there is no file.
fn start(folder: &Path, logs: &[Part], lines: usize) -> io::Result<Option<(Part, u64)>> {
    let mut wanted = lines;
    for part in logs.iter().rev() {
        let file = match File::open(part.log_in(folder)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match search(&file, wanted)? {
            Found::At(offset) => return Ok(Some((*part, offset))),
            Found::Lines(fewer) => wanted -= fewer,
        }
    }
    Ok(logs.first().map(|part| (*part, 0)))
}

enum Found {
    At(u64),
    /// The file has only so many.
    Lines(usize),
}

fn search(file: &File, wanted: usize) -> io::Result<Found> {
    let mut end = file.metadata()?.len();
    let mut buffer = Vec::new();
    let mut lines = 0;
    let mut last = true;
    while end > 0 {
        let from = end.saturating_sub(CHUNK);
        buffer.resize(usize::try_from(end - from).unwrap_or(0), 0);
        file.read_exact_at(&mut buffer, from)?;
        if last {
            // The last line is there whether it has its end or not.
            last = false;
            lines = 1;
            if buffer.last() == Some(&b'\n') {
                buffer.pop();
            }
        }
        for at in memchr::memrchr_iter(b'\n', &buffer) {
            if lines == wanted {
                return Ok(Found::At(from + at as u64 + 1));
            }
            lines += 1;
        }
        end = from;
    }
    Ok(if lines == wanted { Found::At(0) } else { Found::Lines(lines) })
}
