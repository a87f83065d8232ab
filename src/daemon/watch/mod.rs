//! `watch`: files whose change replaces a run. Only there when a service has it; idle it costs two sleeping threads and
//! no tick. What comes of a change is the supervisor's to decide.
//!
//! ```text
//! inotify ─▶ look (thread: which service, how long a burst lasts) ─▶ Event::FileChanged
//! ```
//!
//! Must never happen: the loop waits for a file system; a change of devsup's own files, or of what nobody means by a glob
//! (version control, packages, an editor's droppings), replaces a run; a burst is told twice.

mod globs;
mod look;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::look::{Heard, Plan, Told, look};
use super::world::{Fact, World};
use crate::supervisor::Event;

/// By which its own warnings are known, to be taken back.
const OURS: &str = "`watch` ";

/// A plan in force. Dropped, it is looked at no more.
pub(super) struct Watches {
    plan: Plan,
    end: mpsc::Sender<Heard>,
}

impl Watches {
    fn begin(plan: Plan) -> std::io::Result<(Self, UnboundedReceiver<Told>)> {
        let (files, hears) = mpsc::channel();
        let (tell, told) = unbounded_channel();
        let end = files.clone();
        let given = plan.clone();
        thread::Builder::new().name("watch".into()).spawn(move || look(given, &hears, files, tell))?;
        Ok((Self { plan, end }, told))
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        // It may have ended by itself, blind.
        drop(self.end.send(Heard::End));
    }
}

impl World {
    /// After the manifest was read: looks at what it says now. What was looked at already goes on.
    pub(super) fn look_at_files(&mut self) {
        let plan = self.plan();
        let troubled = self.warnings.iter().any(|warning| warning.contains(OURS));
        if self.watches.as_ref().map(|watches| &watches.plan) == plan.as_ref() && !troubled {
            return;
        }
        self.warnings.retain(|warning| !warning.contains(OURS));
        // The old one goes first: there may be no room for both.
        self.watches = None;
        let Some(plan) = plan else { return };
        match Watches::begin(plan) {
            Ok((watches, mut told)) => {
                self.watches = Some(watches);
                let facts = self.facts.clone();
                drop(tokio::task::spawn_local(async move {
                    while let Some(told) = told.recv().await {
                        drop(facts.send(match told {
                            Told::Changed { service, path } => Fact::Event(Event::FileChanged { service, path }),
                            Told::Trouble(sentence) => Fact::FilesUnseen(sentence),
                        }));
                    }
                }));
            }
            Err(error) => self.files_unseen(format!("{OURS}sees nothing: {error}; devsup up tries again")),
        }
    }

    fn plan(&self) -> Option<Plan> {
        let services = self.manifest.services.values().filter(|service| !service.watch.is_empty());
        let services = services.map(|service| (service.name.clone(), service.watch.clone())).collect();
        let own = self.brought.folder.path();
        let own = own.parent().map_or(own.clone(), Path::to_owned);
        let plan = Plan { dir: self.manifest.dir.clone(), services, own: real(own) };
        (!plan.services.is_empty()).then_some(plan)
    }

    /// Shown by `up` and `ps`, once.
    pub(super) fn files_unseen(&mut self, sentence: String) {
        tracing::warn!("{sentence}");
        self.warnings.insert(sentence);
    }
}

/// As the kernel's events will name it.
fn real(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}
