//! A service's log folder: which files are there, and in which order they were written.

use std::io;
use std::path::{Path, PathBuf};

/// The link to the live file.
pub(super) const CURRENT: &str = "current";

/// One log file and its index. Ordered as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part {
    pub(super) run: u32,
    /// 0 for a run's first file.
    pub(super) part: u32,
}

impl Part {
    fn stem(self) -> String {
        match self.part {
            0 => format!("{:06}", self.run),
            part => format!("{:06}.{part}", self.run),
        }
    }

    pub(super) fn log(self) -> String {
        self.stem() + ".log"
    }

    pub(super) fn index(self) -> String {
        self.stem() + ".idx"
    }

    pub(super) fn log_in(self, folder: &Path) -> PathBuf {
        folder.join(self.log())
    }

    pub(super) fn index_in(self, folder: &Path) -> PathBuf {
        folder.join(self.index())
    }

    /// Only names as we write them.
    fn parse(name: &str, ending: &str) -> Option<Self> {
        let stem = name.strip_suffix(ending)?;
        let (run, part) = match stem.split_once('.') {
            None => (stem.parse().ok()?, 0),
            Some((run, part)) => (run.parse().ok()?, part.parse().ok()?),
        };
        let found = Self { run, part };
        (found.stem() == stem).then_some(found)
    }
}

/// What is in the folder, oldest first.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) logs: Vec<Part>,
    pub(super) indexes: Vec<Part>,
}

pub(super) fn list(folder: &Path) -> io::Result<Listing> {
    let mut found = Listing::default();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(part) = Part::parse(name, ".log") {
            found.logs.push(part);
        } else if let Some(part) = Part::parse(name, ".idx") {
            found.indexes.push(part);
        }
    }
    found.logs.sort_unstable();
    found.indexes.sort_unstable();
    Ok(found)
}

/// The log files of one run, in the order they were written.
pub fn files_of(folder: &Path, run: u32) -> Vec<PathBuf> {
    let parts = list(folder).unwrap_or_default().logs;
    parts.into_iter().filter(|part| part.run == run).map(|part| part.log_in(folder)).collect()
}

/// The highest run number found in a service's log folder; 0 if none.
pub fn last_run(folder: &Path) -> u32 {
    let found = list(folder).unwrap_or_default();
    let last = |parts: &[Part]| parts.last().map_or(0, |part| part.run);
    last(&found.logs).max(last(&found.indexes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_left_alone() {
        for part in [Part { run: 4, part: 0 }, Part { run: 1_234_567, part: 12 }] {
            assert_eq!(Part::parse(&part.log(), ".log"), Some(part));
        }
        for name in ["4.log", "000004.0.log", "000004.idx", "current", "000004..log", "+00004.log", "000004.1.2.log"] {
            assert_eq!(Part::parse(name, ".log"), None, "{name}");
        }
    }

    #[test]
    fn the_last_run_counts_lone_indexes() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(last_run(dir.path()), 0);
        std::fs::write(dir.path().join("000003.log"), "").expect("written");
        std::fs::write(dir.path().join("000007.1.idx"), "").expect("written");
        assert_eq!(last_run(dir.path()), 7);
        assert_eq!(last_run(&dir.path().join("none")), 0);
    }
}
