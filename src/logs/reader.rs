//! Reads several services, history merged by time, then follows them.
//!
//! The watch of a folder is set before its names are listed, and everything is looked at once more after each wake-up:
//! so nothing falls between history and live, and nothing is shown twice, since a place in a file is all that is kept.

#[cfg(test)]
mod starved;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::filter::Filter;
use super::follow::{Alive, Follow, Until};
use super::last::{Last, Surplus};
use super::{Entry, Query};
use crate::manifest::Name;
use crate::sys::clock;
use crate::sys::inotify::{Change, Inotify, Watch};

/// How often files are looked at when the kernel has no inotify instance or watch left.
const POLL: Duration = Duration::from_millis(250);
/// Changes are asked for at least once in so many entries, so that a busy service does not hide the others.
const ASK: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watching {
    Nothing,
    Folder(Watch),
    /// The folder is not there yet: one above it.
    Above(Watch),
}

struct Source {
    follow: Follow,
    watching: Watching,
    /// May have more to show.
    fresh: bool,
    /// Of history, what is not among the last lines.
    surplus: Surplus,
}

impl Source {
    fn new(name: Name, logs: &Path, until: Until, filter: &Filter) -> Self {
        let follow = Follow::new(name, logs, until, filter);
        Self { follow, watching: Watching::Nothing, fresh: true, surplus: Surplus::default() }
    }

    /// Only the last lines of what is there.
    fn tail(&mut self, lines: usize, logs: &Path, filter: &Filter) -> io::Result<()> {
        let crowded = self.follow.tail(lines)?;
        if lines > 0 {
            let mut counted = Follow::new(self.follow.name.clone(), logs, Until::Now, filter);
            counted.list()?;
            counted.tail(lines)?;
            self.surplus = Surplus::of(counted, lines, crowded)?;
        }
        Ok(())
    }
}

/// Reads history, merged by time over services, then follows over restarts and rotations without a seam.
pub struct Reader {
    sources: Vec<Source>,
    logs: PathBuf,
    /// Of the folder that holds the services' folders: the kernel does not say of a folder that it is gone while anybody has
    /// a file open that was in it, ourselves for one.
    root: Option<Watch>,
    following: bool,
    /// Also services that come later.
    all: bool,
    inotify: Option<Inotify>,
    /// Not everything can be watched: when all is looked at next, on the monotonic clock. What is watched still wakes us.
    poll_at: Option<Duration>,
    notice: Option<String>,
    alive: Option<Box<Alive>>,
    since_asked: u32,
    /// Everything was read a while ago.
    rested: bool,
    filter: Filter,
    /// History is read to its end first, for its last lines are wanted: so many of each service.
    gather: Option<usize>,
    gathered: VecDeque<Entry>,
}

impl Reader {
    pub fn open(query: Query) -> io::Result<Self> {
        let Query { logs, services, tail, follow, all, filter } = query;
        let until = if follow { Until::Ever } else { Until::Now };
        let sources = services.into_iter().map(|name| Source::new(name, &logs, until, &filter)).collect();
        let from_the_end = filter.leaves_whole_runs();
        let mut new = Self {
            sources,
            logs,
            root: None,
            following: follow,
            all,
            inotify: None,
            poll_at: None,
            notice: None,
            alive: None,
            since_asked: 0,
            rested: true,
            filter,
            gather: tail.filter(|_| !from_the_end),
            gathered: VecDeque::new(),
        };
        if follow {
            match Inotify::new() {
                Ok(inotify) => new.inotify = Some(inotify),
                Err(error) => new.poll_instead(&error),
            }
        }
        new.watch_root();
        new.meet()?;
        for at in 0..new.sources.len() {
            new.attach(at)?;
            new.sources[at].follow.list()?;
            if let Some(lines) = tail.filter(|_| from_the_end) {
                new.sources[at].tail(lines, &new.logs, &new.filter)?;
            }
        }
        Ok(new)
    }

    /// How to learn whether a run's keeper still lives (its service's lock is held): then what a killed keeper left without
    /// a record is shown at once, not only when a newer run is there.
    #[must_use]
    pub fn alive(mut self, alive: Box<Alive>) -> Self {
        self.alive = Some(alive);
        self
    }

    /// Something a person should know about how files are followed, once. It may come late, when a watch is to be had no more.
    pub fn notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    /// The next entry; `None` at the end of history (not following) or when `patience` has passed (following).
    /// Blocks on inotify, never polls.
    pub fn next(&mut self, patience: Option<Duration>) -> io::Result<Option<Entry>> {
        let until = patience.map(|patience| clock::monotonic().saturating_add(patience));
        loop {
            // What has come meanwhile is merged with what else there is to read.
            if self.following && (self.since_asked >= ASK || self.rested) {
                self.rested = false;
                self.ask()?;
            }
            if let Some(lines) = self.gather.take() {
                self.gather(lines)?;
            }
            if let Some(entry) = self.gathered.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(entry) = self.take()? {
                self.since_asked += 1;
                return Ok(Some(entry));
            }
            if !self.following {
                return Ok(None);
            }
            if self.ask()? {
                continue;
            }
            let left = until.map(|until| until.saturating_sub(clock::monotonic()));
            self.rested = true;
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.sleep(left)?;
        }
    }

    /// Readable when something was written, for whoever may not block here: then [`Reader::next`] without patience. `None`
    /// when the kernel has no instance left.
    pub fn wakes(&self) -> io::Result<Option<OwnedFd>> {
        self.inotify.as_ref().map(Inotify::duplicate).transpose()
    }

    /// After this long [`Reader::look_again`] is to be called, whatever woke us meanwhile.
    pub fn look_within(&self) -> Option<Duration> {
        let again = self.sources.iter().filter_map(|source| source.follow.again);
        again.chain(self.poll_at).min().map(|due| due.saturating_sub(clock::monotonic()))
    }

    pub fn look_again(&mut self) -> io::Result<()> {
        if self.poll_at.is_some() {
            return self.list_all();
        }
        self.look_at_all();
        Ok(())
    }

    /// Reads history to its end and keeps the last lines of each service, and the marks among them.
    fn gather(&mut self, lines: usize) -> io::Result<()> {
        let mut kept: BTreeMap<Name, Last> = BTreeMap::new();
        while let Some(entry) = self.take()? {
            kept.entry(entry.service.clone()).or_default().keep(entry, lines);
        }
        let mut all: Vec<Entry> = kept.into_values().flat_map(Last::entries).collect();
        // Stable: what came at one time stays in its order.
        all.sort_by_key(|entry| entry.time_ns);
        self.gathered = all.into();
        Ok(())
    }

    /// The next entry that is wanted.
    fn take(&mut self) -> io::Result<Option<Entry>> {
        loop {
            match self.take_any()? {
                Some(entry) if !self.filter.wants(&entry) => {}
                found => return Ok(found),
            }
        }
    }

    fn take_any(&mut self) -> io::Result<Option<Entry>> {
        loop {
            for source in self.sources.iter_mut().filter(|source| source.fresh) {
                source.follow.fill(self.alive.as_deref())?;
                source.fresh = false;
            }
            let first = self.sources.iter_mut().filter_map(|source| Some((source.follow.first()?, source)));
            let Some((_, source)) = first.min_by_key(|(time, _)| *time) else { return Ok(None) };
            source.fresh = true;
            match source.follow.take() {
                Some(entry) if source.surplus.has(&entry) => {}
                found => return Ok(found),
            }
        }
    }

    fn sleep(&mut self, left: Option<Duration>) -> io::Result<()> {
        let patience = [left, self.look_within()].into_iter().flatten().min();
        match &self.inotify {
            Some(inotify) => inotify.wait(patience)?,
            // Without it there is always a next look.
            None => std::thread::sleep(patience.unwrap_or(POLL)),
        }
        if self.look_within() == Some(Duration::ZERO) {
            self.look_again()?;
        }
        Ok(())
    }

    /// Takes in what changed; says whether anything did.
    fn ask(&mut self) -> io::Result<bool> {
        self.since_asked = 0;
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let changes = inotify.changes()?;
        let root = self.root;
        for change in &changes {
            match *change {
                Change::Overflow => {
                    for at in 0..self.sources.len() {
                        let before = self.sources[at].watching;
                        self.attach(at)?;
                        if self.sources[at].watching != before {
                            self.sources[at].follow.forget_names();
                        }
                    }
                    self.list_all()?;
                }
                Change::Grew(watch) | Change::Closed(watch) => {
                    let closed = matches!(change, Change::Closed(_));
                    for source in self.sources.iter_mut().filter(|s| s.watching == Watching::Folder(watch)) {
                        source.follow.changed();
                        source.follow.closed |= closed;
                        source.fresh = true;
                    }
                }
                Change::Names(watch) | Change::Gone(watch) => {
                    let gone = matches!(change, Change::Gone(_));
                    let at_root = self.root == Some(watch);
                    if gone && at_root {
                        self.watch_root();
                    }
                    if at_root {
                        self.meet()?;
                    }
                    for at in 0..self.sources.len() {
                        self.names(at, watch, gone)?;
                        if at_root {
                            self.replaced(at)?;
                        }
                    }
                }
            }
        }
        if self.root != root {
            self.meet()?;
        }
        Ok(!changes.is_empty())
    }

    fn names(&mut self, at: usize, watch: Watch, gone: bool) -> io::Result<()> {
        let source = &mut self.sources[at];
        match source.watching {
            Watching::Folder(here) if here == watch && !gone => {}
            Watching::Folder(here) if here == watch => {
                if let Some(inotify) = &self.inotify {
                    inotify.forget(watch);
                }
                source.follow.list()?;
                source.follow.forget_names();
                self.attach(at)?;
            }
            Watching::Above(here) if here == watch => self.attach(at)?,
            _ => return Ok(()),
        }
        let source = &mut self.sources[at];
        source.fresh = true;
        source.follow.list()
    }

    /// Was its folder removed, and perhaps made again?
    fn replaced(&mut self, at: usize) -> io::Result<()> {
        let Watching::Folder(before) = self.sources[at].watching else { return Ok(()) };
        self.attach(at)?;
        let source = &mut self.sources[at];
        if source.watching == Watching::Folder(before) {
            return Ok(());
        }
        if let Some(inotify) = &self.inotify {
            inotify.forget(before);
        }
        source.follow.list()?;
        source.follow.forget_names();
        source.fresh = true;
        source.follow.list()
    }

    fn look_at_all(&mut self) {
        for source in &mut self.sources {
            source.follow.changed();
            source.fresh = true;
        }
    }

    /// Services that are there now and were not before.
    fn meet(&mut self) -> io::Result<()> {
        let folders = match std::fs::read_dir(&self.logs) {
            Ok(folders) if self.all => folders,
            _ => return Ok(()),
        };
        let until = if self.following { Until::Ever } else { Until::Now };
        for folder in folders.filter_map(Result::ok) {
            let name = folder.file_name();
            let Some(name) = name.to_str() else { continue };
            let known = self.sources.iter().any(|source| source.follow.name.as_str() == name);
            if !known && folder.file_type()?.is_dir() {
                self.sources.push(Source::new(Name::new(name), &self.logs, until, &self.filter));
                let at = self.sources.len() - 1;
                self.attach(at)?;
                self.sources[at].follow.list()?;
            }
        }
        Ok(())
    }

    fn list_all(&mut self) -> io::Result<()> {
        self.poll_at = self.poll_at.map(|_| clock::monotonic() + POLL);
        self.meet()?;
        for source in &mut self.sources {
            source.fresh = true;
            source.follow.closed = true;
            source.follow.list()?;
        }
        Ok(())
    }

    /// When it is not there yet, one above it is watched for each service.
    fn watch_root(&mut self) {
        self.root = self.inotify.as_ref().and_then(|inotify| inotify.watch_names(&self.logs).ok());
    }

    /// Watches the folder, or the nearest one above it that is there. Afterwards names are to be listed.
    fn attach(&mut self, at: usize) -> io::Result<()> {
        let folder = self.sources[at].follow.folder.clone();
        while let Some(inotify) = &self.inotify {
            let tried = match inotify.watch(&folder) {
                Ok(watch) => Ok(Watching::Folder(watch)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => above(inotify, &folder, self.root),
                Err(error) => Err(error),
            };
            match tried {
                Ok(Watching::Nothing) => {}
                Ok(watching) => {
                    self.sources[at].watching = watching;
                    if self.root.is_none() {
                        self.watch_root();
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(error) => {
                    self.sources[at].watching = Watching::Nothing;
                    self.poll_instead(&error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is watched already goes on to be, so that whoever waits for our wakes is not woken for ever by what nobody reads.
    fn poll_instead(&mut self, error: &io::Error) {
        if self.poll_at.is_some() {
            return;
        }
        self.poll_at = Some(clock::monotonic() + POLL);
        let every = POLL.as_millis();
        self.notice = Some(format!(
            "no inotify watch to be had ({error}): new lines are looked for every {every} ms; raise `fs.inotify.max_user_instances` or `max_user_watches`"
        ));
    }
}

/// `Nothing` when the folder came into being meanwhile: to be tried again.
fn above(inotify: &Inotify, folder: &Path, root: Option<Watch>) -> io::Result<Watching> {
    let mut child = folder;
    while let Some(parent) = child.parent() {
        match inotify.watch_names(parent) {
            Ok(watch) if child.exists() => {
                if root != Some(watch) {
                    inotify.forget(watch);
                }
                return Ok(Watching::Nothing);
            }
            Ok(watch) => return Ok(Watching::Above(watch)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => child = parent,
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
