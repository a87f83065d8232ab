//! Bounds: the oldest files of a project's logs go first, never a live run's newest. Only the daemon deletes.

use std::collections::{BTreeMap, BTreeSet};
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

/// Deletes the oldest files of the project's log folder beyond the bounds, never a live run's only one. `bound`: the bytes
/// that a service of this name may keep.
pub fn retain(logs: &Path, live: &[(Name, u32)], bound: &dyn Fn(&str) -> u64, in_all: u64) -> io::Result<()> {
    let folders = match std::fs::read_dir(logs) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    let mut total = 0;
    for folder in folders {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            let name = folder.file_name();
            let live: BTreeSet<u32> =
                live.iter().filter(|(n, _)| name.to_str() == Some(n.as_str())).map(|(_, run)| *run).collect();
            let bound = name.to_str().map_or(u64::MAX, bound);
            total += service(&folder.path(), &live, bound, &mut all)?;
        }
    }
    all.sort_by_key(|old| old.written);
    for old in all {
        if total <= in_all {
            break;
        }
        remove(&old.folder, old.part)?;
        total = total.saturating_sub(old.bytes);
    }
    Ok(())
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
