//! Bounds: the oldest files of a project's logs go first, never a live run's newest. Only the daemon deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folder::{self, Part};
use crate::manifest::Name;

/// Runs kept of one service, however small.
const RUNS: usize = 1000;

struct Old {
    folder: PathBuf,
    part: Part,
    bytes: u64,
    /// Seconds and nanoseconds of the last write.
    written: (i64, i64),
}

/// What may be kept, and of which runs the newest file is being written.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    pub live: BTreeMap<Name, BTreeSet<u32>>,
    /// Bytes on the disk, by service.
    pub services: BTreeMap<Name, u64>,
    /// Of a service that is not among them.
    pub others: u64,
    pub in_all: u64,
}

/// Deletes the oldest files of a project's log folder beyond the bounds, never a live run's only one. Takes as long as the
/// disk does: not for a loop that others wait for.
#[derive(Debug)]
pub struct Retention {
    logs: PathBuf,
    /// What each service's folder held when it was last looked into.
    totals: BTreeMap<OsString, u64>,
}

impl Retention {
    pub fn of(logs: PathBuf) -> Self {
        Self { logs, totals: BTreeMap::new() }
    }

    /// After these services began or ended a file. The others are looked into only when all together are too much.
    pub fn bound_some(&mut self, services: &BTreeSet<Name>, bounds: &Bounds) -> io::Result<()> {
        let (mut worst, mut rest) = (Ok(()), Vec::new());
        for name in services {
            worst = worst.and(self.service(name.as_str().as_ref(), bounds, &mut rest));
        }
        if self.totals.values().sum::<u64>() > bounds.in_all { self.bound_all(bounds) } else { worst }
    }

    /// Whatever happened before.
    pub fn bound_all(&mut self, bounds: &Bounds) -> io::Result<()> {
        self.totals.clear();
        let folders = match std::fs::read_dir(&self.logs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folders => folders?,
        };
        let (mut worst, mut rest) = (Ok(()), Vec::new());
        for folder in folders {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                worst = worst.and(self.service(&folder.file_name(), bounds, &mut rest));
            }
        }
        let mut total: u64 = self.totals.values().sum();
        rest.sort_by_key(|old| old.written);
        for old in rest {
            if total <= bounds.in_all {
                break;
            }
            remove(&old.folder, old.part)?;
            total = total.saturating_sub(old.bytes);
            if let Some(of) = old.folder.file_name().and_then(|name| self.totals.get_mut(name)) {
                *of = of.saturating_sub(old.bytes);
            }
        }
        worst
    }

    /// One that cannot be looked into does not keep the others from their bounds.
    fn service(&mut self, name: &OsStr, bounds: &Bounds, rest: &mut Vec<Old>) -> io::Result<()> {
        let none = BTreeSet::new();
        let known = name.to_str().map(Name::new);
        let live = known.as_ref().and_then(|name| bounds.live.get(name)).unwrap_or(&none);
        let bound = known.as_ref().and_then(|name| bounds.services.get(name)).copied().unwrap_or(bounds.others);
        match service(&self.logs.join(name), live, bound, rest) {
            Ok(total) => drop(self.totals.insert(name.to_owned(), total)),
            // Removed from outside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(self.totals.remove(name)),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Bounds one service; adds what could still go to `rest`, and says how much there is.
fn service(folder: &Path, live: &BTreeSet<u32>, bound: u64, rest: &mut Vec<Old>) -> io::Result<u64> {
    let found = folder::list(folder)?;
    let newest: BTreeMap<u32, Part> = found.logs.iter().map(|part| (part.run, *part)).collect();
    // A run begun after the caller looked is live too.
    let kept = |part: &Part| {
        let begun_since = live.last().is_some_and(|last| part.run > *last);
        (live.contains(&part.run) || begun_since) && newest.get(&part.run) == Some(part)
    };
    let mut total = 0;
    let mut sized = Vec::new();
    for part in &found.logs {
        let (data, index) = (part.log_in(folder), part.index_in(folder));
        let Ok(seen) = std::fs::symlink_metadata(&data) else { continue };
        let bytes = blocks(&seen) + std::fs::symlink_metadata(&index).map_or(0, |seen| blocks(&seen));
        total += bytes;
        sized.push(Old { folder: folder.into(), part: *part, bytes, written: (seen.mtime(), seen.mtime_nsec()) });
    }
    let too_many = newest.keys().rev().nth(RUNS).copied();
    for old in sized {
        if kept(&old.part) {
            continue;
        }
        if total > bound || too_many.is_some_and(|run| old.part.run <= run) {
            remove(folder, old.part)?;
            total = total.saturating_sub(old.bytes);
        } else {
            rest.push(old);
        }
    }
    lone_indexes(folder, &found)?;
    Ok(total)
}

/// A removal that was cut short leaves an index alone; one younger than every log is a run that begins.
fn lone_indexes(folder: &Path, found: &folder::Listing) -> io::Result<()> {
    let Some(newest) = found.logs.last() else { return Ok(()) };
    let logs: BTreeSet<&Part> = found.logs.iter().collect();
    for part in found.indexes.iter().filter(|part| part.run < newest.run && !logs.contains(part)) {
        gone(&part.index_in(folder))?;
    }
    Ok(())
}

fn blocks(seen: &std::fs::Metadata) -> u64 {
    seen.blocks() * 512
}

/// The log first: a reader knows a run by it.
fn remove(folder: &Path, part: Part) -> io::Result<()> {
    gone(&part.log_in(folder))?;
    gone(&part.index_in(folder))
}

fn gone(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
