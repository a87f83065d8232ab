//! What an earlier devsup left: keepers that still end their runs, and processes whose keepers were killed too.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clocks::now;
use super::runs::kill_past;
use super::watched::watched;
use super::world::{Fact, Occupier, World};
use crate::keeper::{Force, Marked, end_marked, find_marked};
use crate::manifest::Name;
use crate::supervisor::{Event, Mono};
use crate::sys::lock::Lock;
use crate::sys::peer::{self, Pidfd};

/// How long leftovers without a keeper get to end politely.
const GRACE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

    fn alive(&self) -> bool {
        peer::start_time(self.pid) == Some(self.start_time)
    }
}

impl World {
    /// Takes a service's lock, once for the daemon's life. Answers who else holds it.
    pub(super) fn lock_service(&mut self, service: &Name) -> Option<String> {
        if self.locks.contains_key(service) {
            return None;
        }
        let path = self.brought.folder.service_lock(service.as_str());
        match Lock::take(&path) {
            Ok(Some(lock)) => {
                self.locks.insert(service.clone(), lock);
                None
            }
            Ok(None) => Some(self.watch_occupier(service, &path)),
            Err(error) => Some(format!("its lock `{}`: {error}", path.display())),
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
        self.occupied.remove(&service);
        let by = self.lock_service(&service);
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
            let sentence = format!("{service}: keeper {pid} of an earlier devsup did not end in time and was killed");
            self.journal.tell(now().wall, "swept", Some(&service), None, sentence);
        }
    }

    /// Before anything starts: says for each service who is still in its way.
    pub(super) fn look_for_occupiers(&mut self) {
        let names: Vec<Name> = self.manifest.services.keys().cloned().collect();
        for service in names {
            if let Some(by) = self.lock_service(&service) {
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
                "{}: run {} of an earlier devsup left {} (pid {}): it is ended",
                marked.run.service, marked.run.number, marked.comm, marked.pid
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
