//! The thread that looks: watches the folders in which a watched file may be, those that appear later too, and tells of
//! each burst of changes once. It ends with the plan it was made for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::UnboundedSender;

use super::globs::Glob;
use crate::manifest::Name;
use crate::sys::clock::monotonic;

/// A burst is over when it has been quiet for so long,
const QUIET: Duration = Duration::from_millis(100);
/// or when it goes on for so long.
const AT_MOST: Duration = Duration::from_secs(1);

/// What is to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The manifest's folder.
    pub(super) dir: PathBuf,
    /// Globs of each service that has any.
    pub(super) services: BTreeMap<Name, Vec<String>>,
    /// devsup's own files: it writes there because something changed.
    pub(super) own: PathBuf,
}

/// To the thread.
pub(super) enum Heard {
    Files(notify::Result<Event>),
    End,
}

/// From the thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Changed {
        service: Name,
        path: String,
    },
    /// One sentence: what is not watched, and the mend.
    Trouble(String),
}

struct Burst {
    first: Duration,
    last: Duration,
    /// What changed first, relative to the manifest's folder.
    path: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Find {
    /// The files were there before.
    Known,
    /// They have come with their folder.
    New,
}

pub(super) struct Look {
    dir: PathBuf,
    own: PathBuf,
    services: Vec<(Name, Vec<Glob>)>,
    eyes: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    bursts: BTreeMap<Name, Burst>,
    told: UnboundedSender<Told>,
    /// The kernel takes no more folders, and that was said.
    full: bool,
}

/// Until the plan is dropped. Nobody who listens any more is no trouble.
pub(super) fn look(plan: Plan, hears: &Receiver<Heard>, files: Sender<Heard>, told: UnboundedSender<Told>) {
    let hand_over = move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, is_change) {
            drop(files.send(Heard::Files(event)));
        }
    };
    let eyes = match RecommendedWatcher::new(hand_over, Config::default().with_follow_symlinks(false)) {
        Ok(eyes) => eyes,
        Err(error) => return drop(told.send(Told::Trouble(blind(&error)))),
    };
    let Plan { dir, services, own } = plan;
    let mut look = Look {
        services: Vec::new(),
        dir,
        own,
        eyes,
        folders: BTreeSet::new(),
        bursts: BTreeMap::new(),
        told,
        full: false,
    };
    look.begin(services);
    look.go_on(hears);
}

/// Reading, closing, and a change of times or rights are none.
fn is_change(event: &Event) -> bool {
    // The two halves of a rename have come before both of them.
    !matches!(
        event.kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both))
    )
}

impl Look {
    fn begin(&mut self, services: BTreeMap<Name, Vec<String>>) {
        for (service, texts) in services {
            let globs = texts.iter().filter_map(|text| self.glob(&service, text)).collect();
            self.services.push((service, globs));
        }
        let bases: Vec<PathBuf> = self.globs().map(Glob::base).collect();
        for base in bases {
            // One folder above, so that the base itself may go and come back.
            let top = if base.starts_with(&self.dir) { Some(self.dir.as_path()) } else { base.parent() };
            let top = top.unwrap_or(&base).ancestors().find(|folder| folder.is_dir()).map(Path::to_owned);
            if let Some(top) = top {
                self.explore(top, Find::Known);
            }
        }
    }

    /// Where the base is a link it is followed, but never out of the project's folder.
    fn glob(&self, service: &Name, text: &str) -> Option<Glob> {
        let mut glob = match Glob::new(&self.dir, text) {
            Ok(glob) => glob,
            Err(error) => {
                self.trouble(format!("service `{service}`: `watch` pattern `{text}` is not understood: {error}"));
                return None;
            }
        };
        let base = glob.base();
        if let Ok(real) = base.canonicalize()
            && real != base
        {
            if base.starts_with(&self.dir) && !real.starts_with(&self.dir) {
                self.trouble(format!(
                    "service `{service}`: `watch` pattern `{text}` is a link out of the project's folder, to `{0}`, and is \
                     not followed; write `{0}`",
                    real.display()
                ));
                return None;
            }
            glob.lead_to(&real);
        }
        Some(glob)
    }

    fn globs(&self) -> impl Iterator<Item = &Glob> {
        self.services.iter().flat_map(|(_, globs)| globs)
    }

    fn go_on(&mut self, hears: &Receiver<Heard>) {
        loop {
            let due = self.bursts.values().map(Burst::due).min();
            let heard = match due {
                None => hears.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => hears.recv_timeout(due.saturating_sub(monotonic())),
            };
            match heard {
                Ok(Heard::Files(Ok(event))) => self.saw(&event),
                Ok(Heard::Files(Err(error))) => self.troubled(&error),
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tell();
        }
    }

    fn tell(&mut self) {
        let now = monotonic();
        let over: Vec<Name> =
            self.bursts.iter().filter(|(_, burst)| burst.due() <= now).map(|(name, _)| name.clone()).collect();
        for service in over {
            if let Some(burst) = self.bursts.remove(&service) {
                drop(self.told.send(Told::Changed { service, path: burst.path }));
            }
        }
    }

    fn saw(&mut self, event: &Event) {
        if event.need_rescan() {
            return self.lost_sight();
        }
        for path in &event.paths {
            let gone =
                matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
            if gone && self.folders.contains(path) {
                self.folder_gone(path, event.kind);
            } else if gone && event.kind == EventKind::Remove(RemoveKind::Folder) {
                // Of no interest, or told by the other of the two events it makes.
            } else if !gone && self.is_folder(event.kind, path) {
                self.explore(path.clone(), Find::New);
            } else {
                self.changed(path);
            }
        }
    }

    fn is_folder(&self, kind: EventKind, path: &Path) -> bool {
        match kind {
            EventKind::Create(CreateKind::Folder) => true,
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
            }
            // The folder itself, when something in it changed.
            _ => self.folders.contains(path),
        }
    }

    /// Files of a folder that is removed were told one by one; those of one that is moved away go unseen with it.
    fn folder_gone(&mut self, folder: &Path, kind: EventKind) {
        let below: Vec<PathBuf> = self.folders.iter().filter(|known| known.starts_with(folder)).cloned().collect();
        for known in below {
            // The watcher has dropped most of them by itself.
            self.eyes.unwatch(&known).ok();
            self.folders.remove(&known);
        }
        if !matches!(kind, EventKind::Remove(_)) {
            let concerned = |glob: &Glob| glob.reaches_into(folder);
            self.note(folder, concerned);
        }
    }

    /// The kernel dropped events: whatever is watched may have changed, and folders may have come.
    fn lost_sight(&mut self) {
        let dir = self.dir.clone();
        self.note(&dir, |_| true);
        let known: Vec<PathBuf> = std::mem::take(&mut self.folders).into_iter().collect();
        for folder in known {
            self.explore(folder, Find::Known);
        }
    }

    /// Watches this folder and those below, as far as a file that matches may be there. First watched, then read: what
    /// comes between the two is seen twice, not never.
    fn explore(&mut self, top: PathBuf, find: Find) {
        let mut left = vec![top];
        while let Some(folder) = left.pop() {
            if self.full || folder.starts_with(&self.own) || !self.globs().any(|glob| glob.reaches_into(&folder)) {
                continue;
            }
            if self.folders.contains(&folder) {
                continue;
            }
            if let Err(error) = self.eyes.watch(&folder, RecursiveMode::NonRecursive) {
                self.troubled(&error);
                continue;
            }
            self.folders.insert(folder.clone());
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => left.push(entry.path()),
                    Ok(_) if find == Find::New => self.changed(&entry.path()),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    fn changed(&mut self, file: &Path) {
        if !file.starts_with(&self.own) {
            self.note(file, |glob| glob.matches(file));
        }
    }

    /// Begins or prolongs the burst of each service with such a glob.
    fn note(&mut self, path: &Path, concerned: impl Fn(&Glob) -> bool) {
        let now = monotonic();
        let shown = path.strip_prefix(&self.dir).unwrap_or(path);
        let shown = if shown.as_os_str().is_empty() { Path::new(".") } else { shown };
        for (service, globs) in &self.services {
            if globs.iter().any(&concerned) {
                let burst = self.bursts.entry(service.clone());
                let path = || shown.display().to_string();
                burst.or_insert_with(|| Burst { first: now, last: now, path: path() }).last = now;
            }
        }
    }

    fn troubled(&mut self, error: &notify::Error) {
        match &error.kind {
            ErrorKind::MaxFilesWatch => {
                if !self.full {
                    self.full = true;
                    self.trouble(blind(error));
                }
            }
            // It went while we came to it.
            ErrorKind::PathNotFound | ErrorKind::WatchNotFound => {}
            _ => tracing::warn!(%error, "a folder cannot be watched"),
        }
    }

    fn trouble(&self, sentence: String) {
        drop(self.told.send(Told::Trouble(sentence)));
    }
}

impl Burst {
    fn due(&self) -> Duration {
        (self.last + QUIET).min(self.first + AT_MOST)
    }
}

/// What a limit of the kernel means, and the mend.
fn blind(error: &notify::Error) -> String {
    // EMFILE says the same of this process's descriptors; the instances of the user run out first.
    let instances = |error: &io::Error| error.raw_os_error() == Some(24);
    match &error.kind {
        ErrorKind::MaxFilesWatch => "`watch` does not see every folder: this user's inotify watches are used up; sudo \
             sysctl fs.inotify.max_user_watches=1048576, then devsup up"
            .to_owned(),
        ErrorKind::Io(error) if instances(error) => "`watch` sees nothing: this user's inotify instances are used up; \
             sudo sysctl fs.inotify.max_user_instances=1024, then devsup up"
            .to_owned(),
        _ => format!("`watch` sees nothing: {error}; devsup up tries again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_said_with_its_mend() {
        let watches = blind(&notify::Error::new(ErrorKind::MaxFilesWatch));
        assert!(watches.contains("fs.inotify.max_user_watches="), "{watches}");
        let instances = blind(&notify::Error::io(io::Error::from_raw_os_error(24)));
        assert!(instances.contains("fs.inotify.max_user_instances="), "{instances}");
    }

    #[test]
    fn a_burst_ends_when_it_is_quiet_or_has_lasted() {
        let at = Duration::from_millis;
        let burst = |first, last| Burst { first: at(first), last: at(last), path: String::new() };
        assert_eq!(burst(0, 0).due(), at(100));
        assert_eq!(burst(0, 500).due(), at(600));
        assert_eq!(burst(0, 950).due(), at(1000));
    }
}
