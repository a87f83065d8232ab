//! One service for a reader: its runs in the order of time, over files, rolls and new runs.
//!
//! Few runs are read at once: the oldest that are not read to their end, since in an overlap two write, and the older one
//! may outlive several attempts at a newer one. A run is left when its log says that it ended, or when nobody can be
//! writing to it any more.

mod tail;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cursor::Cursor;
use super::filter::{Filter, Runs};
use super::folder::{self, Part};
use super::{Entry, Mark, What};
use crate::manifest::Name;
use crate::sys::clock;

/// With no word from a run's keeper, its bytes without a record are adopted after so long a silence.
const SILENCE: Duration = Duration::from_secs(1);

/// How often, and how far apart, it is asked whether the keeper that closed a file is gone.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(100);

/// Runs that are read at once. Two live at once; a third is there when one of them ends.
const AT_ONCE: usize = 3;

/// Says whether a run's keeper still lives (its service's lock is held).
pub type Alive = dyn Fn(&Name, u32) -> bool + Send;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Now,
    Ever,
}

struct Run {
    number: u32,
    cursor: Option<Cursor>,
    head: Option<Entry>,
    ended: bool,
    /// The file was looked at again after it was known that nothing more comes.
    looked_again: bool,
    /// Nothing to read until something changes.
    dry: bool,
    over: bool,
    /// Nothing of it before this time is wanted.
    from: Option<i64>,
    /// It was there before the reader, and nothing of it was shown: if nobody writes to it, nothing is said of it either.
    unseen: bool,
    /// It was said that its keeper was killed.
    mourned: bool,
    /// Its keeper lived when it was last asked for.
    asked: bool,
}

pub(super) struct Follow {
    pub(super) name: Name,
    pub(super) folder: PathBuf,
    until: Until,
    since: Option<i64>,
    before: Option<i64>,
    which: Runs,
    /// Found and not read yet, with their sizes.
    waiting: BTreeMap<Part, u64>,
    seen: BTreeSet<Part>,
    newest: u32,
    runs: Vec<Run>,
    /// Bytes removed before they were read (as many as there were when the names were last listed), and their last run.
    lost: Option<(u32, u64)>,
    /// When somebody has to look again without being woken, on the monotonic clock.
    pub(super) again: Option<Duration>,
    /// A file was closed by its writer: its lock follows in a moment, and nothing wakes us for that.
    pub(super) closed: bool,
    looks: u32,
}

impl Follow {
    pub(super) fn new(name: Name, logs: &Path, until: Until, filter: &Filter) -> Self {
        let folder = logs.join(name.as_str());
        Self {
            name,
            folder,
            until,
            since: filter.since,
            before: filter.until,
            which: filter.runs,
            waiting: BTreeMap::new(),
            seen: BTreeSet::new(),
            newest: 0,
            runs: Vec::new(),
            lost: None,
            again: None,
            closed: false,
            looks: 0,
        }
    }

    /// The folder was removed: what comes next there is all new.
    pub(super) fn forget_names(&mut self) {
        self.seen.clear();
        self.newest = 0;
        for run in &mut self.runs {
            run.ended = true;
        }
    }

    /// Looks at the names in the folder.
    pub(super) fn list(&mut self) -> io::Result<()> {
        let found = match folder::list(&self.folder) {
            Ok(found) => found.logs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let there: BTreeSet<Part> = found.into_iter().collect();
        let gone = self.waiting.extract_if(.., |part, _| !there.contains(part)).collect::<Vec<_>>();
        for (part, size) in gone {
            self.lost(part.run, size);
        }
        self.newest = there.last().map_or(self.newest, |part| self.newest.max(part.run));
        let before = there.iter().rev().map(|part| part.run).find(|run| *run < self.newest);
        for part in there.difference(&self.seen) {
            if self.which.wants(part.run, before) {
                self.waiting.insert(*part, 0);
            }
        }
        for (part, size) in &mut self.waiting {
            *size = std::fs::metadata(part.log_in(&self.folder)).map_or(*size, |seen| seen.len());
        }
        self.seen = there;
        self.changed();
        Ok(())
    }

    /// Files that a run began after the names were last listed: one that rolled and then ended in order looks as if it had
    /// been killed to whoever knows only the first. Says whether the run has more to be read.
    fn list_more(&mut self, run: u32) -> io::Result<bool> {
        let found = match folder::list(&self.folder) {
            Ok(found) => found.logs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for part in found.into_iter().filter(|part| part.run == run) {
            if self.seen.insert(part) {
                let size = std::fs::metadata(part.log_in(&self.folder)).map_or(0, |seen| seen.len());
                self.waiting.insert(part, size);
            }
        }
        Ok(self.next_part(run).is_some())
    }

    /// Something was written.
    pub(super) fn changed(&mut self) {
        for run in &mut self.runs {
            run.dry = false;
        }
    }

    /// Reads on until every run that is read has something to show, or has nothing.
    pub(super) fn fill(&mut self, alive: Option<&Alive>) -> io::Result<()> {
        self.again = None;
        if std::mem::take(&mut self.closed) {
            self.looks = LOOKS;
        }
        loop {
            self.open_next();
            let mut at = 0;
            while at < self.runs.len() {
                let mut run = self.runs.remove(at);
                let read = if run.head.is_none() && !run.dry { self.advance(&mut run, alive) } else { Ok(()) };
                if run.head.is_some() || !run.over {
                    self.runs.insert(at, run);
                    at += 1;
                }
                read?;
            }
            if self.runs.len() >= AT_ONCE || self.next_run().is_none() {
                return Ok(());
            }
        }
    }

    fn next_run(&self) -> Option<u32> {
        let new = |part: &&Part| self.runs.iter().all(|run| run.number != part.run);
        self.waiting.keys().find(new).map(|part| part.run)
    }

    fn open_next(&mut self) {
        while self.runs.len() < AT_ONCE
            && let Some(number) = self.next_run()
        {
            self.pass_over(number, self.since);
            self.runs.push(Run::new(number));
        }
    }

    /// Leaves out the parts of a run that another one followed before the time that is wanted: found by halves.
    fn pass_over(&mut self, number: u32, since: Option<i64>) {
        let Some(since) = since else { return };
        let parts: Vec<Part> = self.waiting.keys().filter(|part| part.run == number).copied().collect();
        let begun = |part: &Part| Cursor::begins(&self.folder, *part).is_some_and(|time| time < since);
        let passed = parts.partition_point(begun).saturating_sub(1);
        for part in &parts[..passed] {
            self.waiting.remove(part);
        }
    }

    fn advance(&mut self, run: &mut Run, alive: Option<&Alive>) -> io::Result<()> {
        loop {
            if run.cursor.is_none() && !self.open_part(run)? {
                run.over = self.nobody_writes(run, alive);
                if run.over && !run.ended && self.list_more(run.number)? {
                    run.over = false;
                    continue;
                }
                run.dry = true;
                return Ok(());
            }
            let Some(cursor) = &mut run.cursor else { return Ok(()) };
            if let Some((time_ns, what)) = cursor.next()? {
                if self.before.is_some_and(|before| before <= time_ns) {
                    self.leave(run);
                    return Ok(());
                }
                run.ended |= what == What::Mark(Mark::Ended);
                run.looked_again = false;
                run.unseen = false;
                run.head = Some(self.entry(run.number, time_ns, what));
                return Ok(());
            }
            let complete = run.ended || self.next_part(run.number).is_some();
            run.asked = run.asked && self.surely_lives(run.number);
            if !complete && (run.asked || !self.may_be_over(run.number, alive)) {
                run.asked = true;
                self.rest(run, alive);
                return Ok(());
            }
            // Something may have been written before we learnt that no more comes.
            if !std::mem::replace(&mut run.looked_again, true) {
                if !complete {
                    self.list_more(run.number)?;
                }
                continue;
            }
            let silent = self.until == Until::Now || alive.is_some() || cursor.silent_for() >= SILENCE;
            if !complete && !silent {
                self.again = Some(clock::monotonic() + SILENCE);
                run.looked_again = false;
                return Ok(());
            }
            if self.adopt(run)? || self.mourn(run, alive) {
                return Ok(());
            }
            if !complete && !self.nobody_writes(run, alive) {
                run.dry = true;
                return Ok(());
            }
            run.cursor = None;
            run.looked_again = false;
        }
    }

    /// All that comes of it is too late.
    fn leave(&mut self, run: &mut Run) {
        self.waiting.retain(|part, _| part.run != run.number);
        run.cursor = None;
        run.over = true;
    }

    /// Nothing to read, and its keeper may live.
    fn rest(&mut self, run: &mut Run, alive: Option<&Alive>) {
        run.unseen = false;
        if alive.is_some() && self.looks > 0 {
            self.looks -= 1;
            self.again = Some(clock::monotonic() + LOOK);
        }
        run.dry = true;
    }

    /// Takes over bytes without a record: a mark says so, they follow. Says whether there were any.
    fn adopt(&self, run: &mut Run) -> io::Result<bool> {
        let Some(cursor) = run.cursor.as_mut().filter(|_| !run.unseen) else { return Ok(false) };
        let time = cursor.last_time();
        let bytes = cursor.adopt()?;
        if bytes > 0 {
            run.looked_again = false;
            run.head = Some(self.entry(run.number, time, What::Mark(Mark::Recovered { bytes })));
        }
        Ok(bytes > 0)
    }

    /// A log that nobody ended and nobody will is given an end, once all of it was shown. Says whether it is to be shown.
    fn mourn(&self, run: &mut Run, alive: Option<&Alive>) -> bool {
        let done = run.ended || run.mourned || run.unseen || self.next_part(run.number).is_some();
        if done || alive.is_none_or(|alive| alive(&self.name, run.number)) {
            return false;
        }
        let Some(cursor) = run.cursor.as_ref().filter(|cursor| !cursor.is_removed()) else { return false };
        run.mourned = true;
        run.head = Some(self.entry(run.number, cursor.last_time(), What::Mark(Mark::KeeperKilled)));
        true
    }

    /// A keeper that ends closes its file, and that wakes whoever follows: it need not be asked for at each line.
    fn surely_lives(&self, run: u32) -> bool {
        self.until == Until::Ever && self.looks == 0 && run >= self.newest
    }

    /// Ended, or its keeper is gone, or there is a newer run.
    fn may_be_over(&self, run: u32, alive: Option<&Alive>) -> bool {
        match alive {
            Some(alive) => !alive(&self.name, run),
            None => run < self.newest,
        }
    }

    /// A run followed by another may be one side of an overlap; a run followed by two is not.
    fn nobody_writes(&self, run: &Run, alive: Option<&Alive>) -> bool {
        let replaced = match self.until {
            Until::Now => run.number < self.newest,
            Until::Ever => alive.is_none() && run.number + 1 < self.newest,
        };
        run.ended || replaced || alive.is_some_and(|alive| !alive(&self.name, run.number))
    }

    fn next_part(&self, run: u32) -> Option<Part> {
        self.waiting.keys().find(|part| part.run == run).copied()
    }

    fn open_part(&mut self, run: &mut Run) -> io::Result<bool> {
        while let Some(part) = self.next_part(run.number) {
            let size = self.waiting.remove(&part).unwrap_or(0);
            match Cursor::open(&self.folder, part) {
                Ok(mut cursor) => {
                    if let Some(since) = self.since.max(run.from) {
                        cursor.seek_time(since)?;
                    }
                    run.cursor = Some(cursor);
                    // Its folder was removed, and it goes on in another one.
                    run.ended = false;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.lost(part.run, size),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn entry(&self, run: u32, time_ns: i64, what: What) -> Entry {
        Entry { service: self.name.clone(), run, time_ns, what }
    }

    fn lost(&mut self, run: u32, bytes: u64) {
        if bytes > 0 {
            let before = self.lost.map_or(0, |(_, bytes)| bytes);
            self.lost = Some((run, before + bytes));
        }
    }

    /// What is missing, once everything before it was shown.
    fn missing(&self) -> Option<(u32, u64)> {
        self.lost.filter(|(run, _)| self.runs.iter().all(|other| other.number > *run || other.head.is_none()))
    }

    /// The time of the earliest thing to show.
    pub(super) fn first(&self) -> Option<i64> {
        let heads = self.runs.iter().filter_map(|run| Some(run.head.as_ref()?.time_ns));
        heads.min().or_else(|| self.missing().map(|_| i64::MAX))
    }

    /// The earliest thing to show.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let heads = self.runs.iter().filter(|run| run.head.is_some());
        let first = heads.min_by_key(|run| (run.head.as_ref().map(|head| head.time_ns), run.number));
        if let Some((run, bytes)) = self.missing() {
            let now = || i64::try_from(clock::realtime().as_nanos()).unwrap_or(i64::MAX);
            let time = first.and_then(|run| run.head.as_ref()).map_or_else(now, |head| head.time_ns);
            let what = "removed by its bound before it was read".to_owned();
            self.lost = None;
            return Some(self.entry(run, time, What::Mark(Mark::Dropped { bytes, what })));
        }
        let number = first?.number;
        self.runs.iter_mut().find(|run| run.number == number)?.head.take()
    }
}

impl Run {
    fn new(number: u32) -> Self {
        Self {
            number,
            cursor: None,
            head: None,
            ended: false,
            looked_again: false,
            dry: false,
            over: false,
            from: None,
            unseen: false,
            mourned: false,
            asked: false,
        }
    }
}
