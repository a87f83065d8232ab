//! The last so many lines, and of the marks among them no more than that: a service that ends again and again without a word
//! leaves three marks a run.

use std::collections::VecDeque;
use std::io;

use super::follow::Follow;
use super::{Entry, Mark, What};

/// So many marks are always allowed.
const MARKS: usize = 10;

fn marks_of(lines: usize) -> usize {
    if lines == 0 { 0 } else { lines.max(MARKS) }
}

/// What stands before the last lines, where these were found from the end of the files.
#[derive(Debug, Default)]
pub(super) struct Surplus {
    lines: usize,
    /// Marks still to come of history, and how many are shown.
    marks: usize,
    most: usize,
}

impl Surplus {
    /// `follow` stands where the last lines begin, and is read to its end here. `crowded`: of several runs at once, so that
    /// there may be more lines than asked for.
    pub(super) fn of(mut follow: Follow, lines: usize, crowded: bool) -> io::Result<Self> {
        let mut found = Self { lines: 0, marks: 0, most: marks_of(lines) };
        loop {
            follow.fill(None)?;
            match follow.take().map(|entry| entry.what) {
                Some(What::Line { whole, .. }) => found.lines += usize::from(whole),
                Some(What::Mark(_)) => found.marks += 1,
                None => break,
            }
        }
        found.lines = if crowded { found.lines.saturating_sub(lines) } else { 0 };
        Ok(found)
    }

    /// Is this to be left out?
    pub(super) fn has(&mut self, entry: &Entry) -> bool {
        match &entry.what {
            What::Line { whole, .. } if self.lines > 0 => {
                self.lines -= usize::from(*whole);
                true
            }
            What::Line { .. } => false,
            What::Mark(mark) => {
                self.marks -= usize::from(self.marks > 0 && *mark != Mark::KeeperKilled);
                self.lines > 0 || self.marks >= self.most.max(1)
            }
        }
    }
}

/// The last lines of one service, kept while all of it is read.
#[derive(Default)]
pub(super) struct Last {
    lines: VecDeque<(u64, Entry)>,
    marks: VecDeque<(u64, Entry)>,
    /// How many there were.
    count: u64,
    /// Of the newest line that was left out.
    left_out: Option<u64>,
}

impl Last {
    pub(super) fn keep(&mut self, entry: Entry, most: usize) {
        let at = self.count;
        self.count += 1;
        if matches!(entry.what, What::Line { .. }) {
            self.lines.push_back((at, entry));
            if self.lines.len() > most {
                self.left_out = self.lines.pop_front().map(|(at, _)| at);
            }
        } else {
            self.marks.push_back((at, entry));
            if self.marks.len() > marks_of(most) {
                self.marks.pop_front();
            }
        }
    }

    /// What stands before a line that is left out belongs to it; of what follows it, what is of the first line's own run or
    /// comes after that.
    pub(super) fn entries(self) -> Vec<Entry> {
        let first = self.lines.front().map(|(at, entry)| (*at, entry.run));
        let after =
            |line: u64, at: u64, run: u32| at > line && first.is_none_or(|first| at > first.0 || run == first.1);
        let marks = self.marks.into_iter();
        let marks = marks.filter(|(at, mark)| self.left_out.is_none_or(|line| after(line, *at, mark.run)));
        let mut all: Vec<(u64, Entry)> = self.lines.into_iter().chain(marks).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, entry)| entry).collect()
    }
}
