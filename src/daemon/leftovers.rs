//! What an earlier devsup left: keepers that still end their runs, and processes whose keepers were killed too.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cgroups::{Cgroups, Orphans};
use super::clocks::now;
use super::runs::kill_past;
use super::watched::watched;
use super::world::{Fact, Occupier, World};
use crate::control::paths::private_folder;
use crate::keeper::{Force, Marked, end_marked, find_marked};
use crate::logs::last_run;
use crate::manifest::Name;
use crate::supervisor::{Event, Mono, RunId};
use crate::sys::lock::Lock;
use crate::sys::process::Pidfd;
use crate::sys::{signal, tree};

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
        let start_time = tree::look(pid).map(|keeper| keeper.start_time).unwrap_or_default();
        Self { pid, start_time, run, protocol: crate::keeper::protocol::VERSION }
    }

    pub(super) fn alive(&self) -> bool {
        tree::look(self.pid).is_some_and(|found| found.start_time == self.start_time && !found.is_zombie())
    }
}

/// Does the keeper of this run live, as far as the service's lock says? `locks`: the folder they are in. `up`: there is a
/// daemon, which writes a run there a moment after it has begun; of the newest one no word is no word of its end.
pub fn keeper_lives(locks: &Path, logs: &Path, service: &str, run: u32, up: bool) -> bool {
    let text = std::fs::read_to_string(locks.join(format!("{service}.lock"))).unwrap_or_default();
    match holders_in(&text).iter().find(|holder| holder.run == run) {
        Some(holder) => holder.alive(),
        None => up && run >= last_run(&logs.join(service)),
    }
}

/// Nobody, if nobody was written down yet.
fn holders_in(text: &str) -> Vec<HolderInfo> {
    serde_json::from_str(text).unwrap_or_default()
}

/// What a service's lock is to say: who lives, and of those in the text `before` the newest, if no newer one lives or is
/// `coming`.
pub(super) fn with_last(mut live: Vec<HolderInfo>, before: &str, coming: Option<u32>) -> Vec<HolderInfo> {
    let last = holders_in(before).into_iter().filter(|holder| coming.is_none_or(|coming| holder.run < coming));
    if let Some(last) = last.max_by_key(|holder| holder.run)
        && live.iter().all(|holder| holder.run < last.run)
    {
        live.push(last);
    }
    live
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

    fn watch_occupier(&mut self, service: &Name, path: &Path) -> String {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let alive = holders_in(&text).into_iter().find(HolderInfo::alive);
        let Some((holder, pidfd)) =
            alive.and_then(|holder| Some((Pidfd::open(holder.pid).ok()?, holder))).map(|(p, h)| (h, p))
        else {
            // It is on its way out, or was never written down: look again soon.
            self.later(LOOK_AGAIN * 10, Fact::OccupierEnded { service: service.clone() });
            return "a keeper of an earlier devsup".to_owned();
        };
        // A stopped one ends nothing, and its devsup, which would wake it, is dead. One that hangs does not heed it.
        drop(pidfd.resume());
        let state = tree::look(holder.pid).map_or('?', |keeper| keeper.state);
        let text = format!("run {} of an earlier devsup, keeper {}: state {state}", holder.run, holder.pid);
        let grace = self.manifest.services.get(service).map_or(Duration::from_secs(10), |entry| entry.stop_timeout);
        let keeper = Rc::new(pidfd);
        let force_at = Some(now().mono + grace + Duration::from_secs(2));
        // What it still ends is a service, and may not speak to us as the owner does.
        self.keepers.add(holder.pid, service.clone());
        let run = RunId { service: service.clone(), number: holder.run };
        // It writes on.
        self.retaining.begins(&run);
        self.occupied.insert(service.clone(), Occupier { keeper, pid: holder.pid, run, force_at });
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
            self.retaining.ended(&occupier.run);
            self.tidy_cgroups();
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
                self.cgroups.kill(&occupier.run);
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

    /// Ends what is in the cgroup of an earlier run or carries the mark of this project, and has no keeper: both it and its
    /// devsup were killed. Answers what was found and what came of it, a sentence a run.
    pub(super) async fn end_leftovers(&mut self) -> Vec<String> {
        self.private.sweep();
        let project = self.brought.folder.id().to_owned();
        let found = Leftovers::find(&self.cgroups, &project);
        // By the names they have now: the dead have none.
        let named = found.all();
        for (run, pid, comm) in &named {
            let sentence = format!("run {} of an earlier devsup left {comm} (pid {pid}): it is ended", run.number);
            self.journal.tell(now().wall, "swept", Some(&run.service), None, sentence);
        }
        found.end(&project, Force::Politely);
        let force_at = now().mono + GRACE;
        let mut left = Leftovers::find(&self.cgroups, &project);
        while !left.is_empty() && now().mono < force_at + GRACE {
            tokio::time::sleep(LOOK_AGAIN).await;
            left = Leftovers::find(&self.cgroups, &project);
            if now().mono >= force_at {
                left.end(&project, Force::Kill);
            }
        }
        self.tidy_cgroups();
        for (run, pid, comm) in left.all() {
            let sentence =
                format!("{comm} (pid {pid}), left by run {} of an earlier devsup, survives SIGKILL", run.number);
            self.journal.tell(now().wall, "swept", Some(&run.service), None, sentence);
        }
        sentences(&named, &left.all())
    }
}

/// What an earlier devsup left, and no keeper looks after.
struct Leftovers {
    grouped: Vec<Orphans>,
    /// Those of them that are in no group of ours.
    marked: Vec<Marked>,
}

impl Leftovers {
    fn find(cgroups: &Cgroups, project: &str) -> Self {
        let grouped = cgroups.orphans();
        let in_group = |pid: u32| grouped.iter().any(|orphans| orphans.pids.contains(&pid));
        let alone = |marked: &Marked| marked.keeper.is_none() && !in_group(marked.pid);
        let marked = find_marked(project).into_iter().filter(alone).collect();
        Self { grouped, marked }
    }

    fn is_empty(&self) -> bool {
        self.grouped.is_empty() && self.marked.is_empty()
    }

    fn all(&self) -> Vec<Found> {
        let comm = |pid| tree::look(pid).map_or_else(|| "a process".to_owned(), |process| process.comm);
        let grouped = self.grouped.iter().flat_map(|orphans| orphans.pids.iter().map(|pid| (&orphans.run, *pid)));
        let marked = self.marked.iter().map(|marked| (marked.run.clone(), marked.pid, marked.comm.clone()));
        grouped.map(|(run, pid)| (run.clone(), pid, comm(pid))).chain(marked).collect()
    }

    fn end(&self, project: &str, force: Force) {
        for orphans in &self.grouped {
            match force {
                Force::Politely => orphans.ask(),
                // Who is still there is seen at the next look.
                Force::Kill => drop(orphans.group.kill()),
            }
        }
        end_marked(&self.marked, project, force);
    }
}

/// (the run, the process, its name)
type Found = (RunId, u32, String);

/// For whoever typed `up`: what was swept, and what withstood.
fn sentences(found: &[Found], left: &[Found]) -> Vec<String> {
    let mut runs: BTreeMap<&RunId, Vec<String>> = BTreeMap::new();
    for (run, pid, comm) in found {
        runs.entry(run).or_default().push(format!("{comm} (pid {pid})"));
    }
    let swept = runs.into_iter().map(|(run, who)| {
        format!("`{}`: run {} of an earlier devsup had left {}; ended now", run.service, run.number, who.join(", "))
    });
    let withstood = left.iter().map(|(run, pid, comm)| {
        format!("`{}`: {comm} (pid {pid}) of an earlier devsup survives SIGKILL; as root: kill -9 {pid}", run.service)
    });
    swept.chain(withstood).collect()
}

impl Orphans {
    /// SIGTERM, then SIGCONT, to each that is still in the group.
    fn ask(&self) {
        for pid in &self.pids {
            // The handle is taken before we look again, so the number cannot have passed to another meanwhile.
            let Ok(process) = Pidfd::open(*pid) else { continue };
            if self.group.processes().contains(pid) {
                drop(process.signal(signal::TERM).and_then(|()| process.resume()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_died_is_in_the_lock_until_a_newer_one_is() {
        let holder = |run| HolderInfo { pid: 1, start_time: 0, run, protocol: 0 };
        let runs = |live: &[u32], before: &[u32], coming| {
            let live = live.iter().map(|run| holder(*run)).collect();
            let before: Vec<HolderInfo> = before.iter().map(|run| holder(*run)).collect();
            let before = serde_json::to_string(&before).expect("serializes");
            with_last(live, &before, coming).into_iter().map(|holder| holder.run).collect::<Vec<_>>()
        };
        assert_eq!(runs(&[], &[1, 2], None), [2], "none lives");
        assert_eq!(runs(&[], &[2], Some(3)), [2], "the next is on its way");
        assert_eq!(runs(&[3], &[2], None), [3], "it is there");
        assert_eq!(runs(&[1], &[1, 2], None), [1, 2], "the newer one of two died");
        assert_eq!(runs(&[2], &[1, 2], None), [2], "the older one did");
        // The logs were taken away, and numbers begin again.
        assert_eq!(runs(&[], &[1, 5], Some(1)), [0; 0]);
        assert_eq!(with_last(Vec::new(), "", None).len(), 0);
    }

    #[test]
    fn a_keeper_lives_as_the_lock_says_and_without_a_word_only_the_newest_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = folder.path().join("logs");
        std::fs::create_dir_all(logs.join("a")).expect("made");
        for run in 1..=3 {
            std::fs::write(logs.join(format!("a/00000{run}.log")), "").expect("written");
        }
        let lives = |run, up| keeper_lives(folder.path(), &logs, "a", run, up);
        let lock = folder.path().join("a.lock");
        for text in ["", "[]"] {
            std::fs::write(&lock, text).expect("written");
            assert_eq!([1, 2, 3].map(|run| lives(run, true)), [false, false, true], "{text:?}");
            assert!(!lives(3, false));
        }
        let dead = HolderInfo { start_time: 1, ..HolderInfo::of(std::process::id(), 3) };
        let holders = [HolderInfo::of(std::process::id(), 2), dead];
        std::fs::write(&lock, serde_json::to_string(&holders).expect("serializes")).expect("written");
        assert_eq!([1, 2, 3].map(|run| lives(run, true)), [false, true, false]);
    }

    #[test]
    fn what_was_swept_is_named_a_run_at_a_time_by_the_names_it_had() {
        let a = |number| RunId { service: Name::new("a"), number };
        // Dead by now, and nameless.
        let found =
            [(a(1), 900_001, "node".to_owned()), (a(2), 900_002, "sh".to_owned()), (a(1), 900_003, "sleep".to_owned())];
        assert_eq!(
            sentences(&found, &found[1..2]),
            [
                "`a`: run 1 of an earlier devsup had left node (pid 900001), sleep (pid 900003); ended now",
                "`a`: run 2 of an earlier devsup had left sh (pid 900002); ended now",
                "`a`: sh (pid 900002) of an earlier devsup survives SIGKILL; as root: kill -9 900002",
            ]
        );
    }
}
