//! What an earlier devsup left: keepers that still end their runs, and processes whose keepers were killed too.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clocks::now;
use super::runs::kill_past;
use super::watched::watched;
use super::world::{Fact, Occupier, World};
use crate::control::paths::private_folder;
use crate::keeper::{Force, Marked, end_marked, find_marked};
use crate::manifest::Name;
use crate::supervisor::{Event, Mono};
use crate::sys::lock::Lock;
use crate::sys::peer::{self, Pidfd};
use crate::sys::tree;

/// How long leftovers without a keeper get to end politely.
const GRACE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How the name of a daemon's process begins.
pub(super) const COMM: &str = "devsup:";

/// One keeper in a service's lock.
#[derive(Serialize, Deserialize)]
pub(super) struct HolderInfo {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) run: u32,
    pub(super) protocol: u32,
}

impl HolderInfo {
    pub(super) fn of(pid: u32, run: u32) -> Self {
        let start_time = peer::start_time(pid).unwrap_or_default();
        Self { pid, start_time, run, protocol: crate::keeper::protocol::VERSION }
    }

    pub(super) fn alive(&self) -> bool {
        peer::start_time(self.pid) == Some(self.start_time)
    }
}

/// The living daemon of this very project whose state folder was taken away under it, so that its lock and its socket are
/// where nobody finds them.
pub(super) fn hidden_daemon(project: &str) -> Option<u32> {
    find_marked(project).into_iter().filter_map(|marked| marked.keeper).find_map(|keeper| {
        let above = tree::look(tree::look(keeper)?.parent)?;
        above.comm.starts_with(COMM).then_some(above.pid)
    })
}

impl World {
    /// Takes a service's lock, once for the daemon's life. Answers who else holds it; an error is one sentence.
    pub(super) fn lock_service(&mut self, service: &Name) -> Result<Option<String>, String> {
        if self.locks.contains_key(service) {
            return Ok(None);
        }
        let path = self.brought.folder.service_lock(service.as_str());
        let sentence = |error: &dyn std::fmt::Display| format!("its lock `{}`: {error}", path.display());
        if let Some(folder) = path.parent() {
            private_folder(folder).map_err(|error| sentence(&error))?;
        }
        match Lock::take(&path).map_err(|error| sentence(&error))? {
            Some(lock) => {
                self.locks.insert(service.clone(), lock);
                Ok(None)
            }
            None => Ok(Some(self.watch_occupier(service, &path))),
        }
    }

    fn watch_occupier(&mut self, service: &Name, path: &std::path::Path) -> String {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let holders: Vec<HolderInfo> = serde_json::from_str(&text).unwrap_or_default();
        let alive = holders.into_iter().find(HolderInfo::alive);
        let Some((holder, pidfd)) =
            alive.and_then(|holder| Some((Pidfd::open(holder.pid).ok()?, holder))).map(|(p, h)| (h, p))
        else {
            // It is on its way out, or was never written down: look again soon.
            self.later(LOOK_AGAIN * 10, Fact::OccupierEnded { service: service.clone() });
            return "a keeper of an earlier devsup".to_owned();
        };
        let state = peer::state(holder.pid).unwrap_or('?');
        let text = format!("run {} of an earlier devsup, keeper {}: state {state}", holder.run, holder.pid);
        let grace = self.manifest.services.get(service).map_or(Duration::from_secs(10), |entry| entry.stop_timeout);
        let keeper = Rc::new(pidfd);
        let force_at = Some(now().mono + grace + Duration::from_secs(2));
        // What it still ends is a service, and may not speak to us as the owner does.
        self.keepers.add(holder.pid, service.clone());
        self.occupied.insert(service.clone(), Occupier { keeper, pid: holder.pid, force_at });
        if let Ok(ended) = Pidfd::open(holder.pid).and_then(watched) {
            let (facts, service) = (self.facts.clone(), service.clone());
            drop(tokio::task::spawn_local(async move {
                drop(ended.readable().await);
                drop(facts.send(Fact::OccupierEnded { service }));
            }));
        }
        text
    }

    pub(super) fn occupier_ended(&mut self, service: Name) {
        if let Some(occupier) = self.occupied.remove(&service) {
            self.keepers.remove(occupier.pid);
        }
        // A lock that cannot be had at all is in nobody's hands: the start that needs it says so, and is tried again.
        let by = self.lock_service(&service).unwrap_or_default();
        self.step(Event::Occupied { service, by });
    }

    /// An earlier devsup's keeper had its time: its tree and it are ended from outside.
    pub(super) fn press_occupiers(&mut self, at: Mono) {
        let mut said = Vec::new();
        for (service, occupier) in &mut self.occupied {
            if occupier.force_at.is_some_and(|due| due <= at) {
                occupier.force_at = None;
                kill_past(occupier.pid);
                drop(occupier.keeper.kill());
                said.push((service.clone(), occupier.pid));
            }
        }
        for (service, pid) in said {
            let sentence = format!("keeper {pid} of an earlier devsup did not end in time and was killed");
            self.journal.tell(now().wall, "swept", Some(&service), None, sentence);
        }
    }

    /// Before anything of this manifest starts: says for each service who is still in its way. A run must never be born
    /// only to find that, for it would be taken for a failed one.
    pub(super) fn look_for_occupiers(&mut self) {
        let names: Vec<Name> = self.manifest.services.keys().cloned().collect();
        for service in names {
            if self.occupied.contains_key(&service) {
                continue;
            }
            if let Ok(Some(by)) = self.lock_service(&service) {
                self.step(Event::Occupied { service, by: Some(by) });
            }
        }
    }

    /// Ends what carries the mark of this project and has no keeper: both it and its devsup were killed.
    pub(super) async fn end_leftovers(&mut self) {
        let project = self.brought.folder.id().to_owned();
        let orphans = || find_marked(&project).into_iter().filter(|marked| marked.keeper.is_none()).collect();
        let found: Vec<Marked> = orphans();
        for marked in &found {
            let sentence = format!(
                "run {} of an earlier devsup left {} (pid {}): it is ended",
                marked.run.number, marked.comm, marked.pid
            );
            self.journal.tell(now().wall, "swept", Some(&marked.run.service), None, sentence);
        }
        let force_at = now().mono + GRACE;
        let mut left = end_marked(&found, &project, Force::Politely);
        while !left.is_empty() && now().mono < force_at + GRACE {
            tokio::time::sleep(LOOK_AGAIN).await;
            left = orphans();
            if now().mono >= force_at {
                end_marked(&left, &project, Force::Kill);
            }
        }
    }
}
