//! Bounds: the oldest files of a project's logs go first, never a live run's newest. Only the daemon deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folder::{self, Part};
use crate::manifest::Name;

/// Runs kept of one service, however small.
const RUNS: usize = 1000;

/// Bytes on the disk.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub services: BTreeMap<Name, u64>,
    /// Of a service that is not among them.
    pub others: u64,
    pub in_all: u64,
}

struct Old {
    folder: PathBuf,
    part: Part,
    bytes: u64,
    /// Seconds and nanoseconds of the last write.
    written: (i64, i64),
}

/// Deletes the oldest files of a project's log folder beyond the bounds, never a live run's newest. Takes as long as the disk
/// does: not for a loop that others wait for. `live`: the runs of a service that may write now; asked after its folder was
/// listed, so that a run whose files were seen is among them. What cannot be deleted does not keep the rest from its bounds.
pub fn retain(logs: &Path, bounds: &Bounds, live: &dyn Fn(&str) -> BTreeSet<u32>) -> io::Result<()> {
    let folders = match std::fs::read_dir(logs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    let (mut worst, mut rest, mut total) = (Ok(()), Vec::new(), 0);
    for folder in folders {
        match folder.and_then(|folder| Ok(folder.file_type()?.is_dir().then_some(folder))) {
            Ok(Some(folder)) => {
                let name = folder.file_name();
                let name = name.to_str().unwrap_or_default();
                let bound = bounds.services.get(name).copied().unwrap_or(bounds.others);
                let (bytes, kept) = service(&folder.path(), bound, &|| live(name), &mut rest);
                total += bytes;
                worst = worst.and(kept);
            }
            Ok(None) => {}
            Err(error) => worst = worst.and(Err(error)),
        }
    }
    rest.sort_by_key(|old| old.written);
    for old in rest {
        if total <= bounds.in_all {
            break;
        }
        let removed = remove(&old.folder, old.part);
        if removed.is_ok() {
            total = total.saturating_sub(old.bytes);
        }
        worst = worst.and(removed);
    }
    worst
}

/// Bounds one service; adds what could still go to `rest`, and says how much there is.
fn service(folder: &Path, bound: u64, live: &dyn Fn() -> BTreeSet<u32>, rest: &mut Vec<Old>) -> (u64, io::Result<()>) {
    let found = match folder::list(folder) {
        Ok(found) => found,
        // Removed from outside.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (0, Ok(())),
        Err(error) => return (0, Err(error)),
    };
    let live = live();
    let newest: BTreeMap<u32, Part> = found.logs.iter().map(|part| (part.run, *part)).collect();
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
    let mut worst = Ok(());
    for old in sized {
        if live.contains(&old.part.run) && newest.get(&old.part.run) == Some(&old.part) {
            continue;
        }
        if total > bound || too_many.is_some_and(|run| old.part.run <= run) {
            let removed = remove(folder, old.part);
            if removed.is_ok() {
                total = total.saturating_sub(old.bytes);
            }
            worst = worst.and(removed);
        } else {
            rest.push(old);
        }
    }
    (total, worst.and(lone_indexes(folder, &found, &live)))
}

/// A removal that was cut short leaves an index alone; that of a live run has its log in a moment. The newest stays: runs are
/// numbered on from it.
fn lone_indexes(folder: &Path, found: &folder::Listing, live: &BTreeSet<u32>) -> io::Result<()> {
    let Some(newest) = found.logs.last() else { return Ok(()) };
    let logs: BTreeSet<&Part> = found.logs.iter().collect();
    let alone = |part: &&Part| part.run < newest.run && !live.contains(&part.run) && !logs.contains(part);
    found.indexes.iter().filter(alone).try_for_each(|part| gone(&part.index_in(folder)))
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
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
