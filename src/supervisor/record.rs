//! Facts into state. Nothing is decided here but what a fact *is*: a crash, an end, the answer to an old question.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::event::{AskId, Effect, Event, Exit, Happening, Lease, Reason, Refusal, RunId, StopWhy};
use super::lease::{Held, Refused, patience};
use super::service::{Ended, Slot};
use super::time::Now;
use super::view::Want;
use crate::manifest::{Name, Replace, Restart, Service};

impl Supervisor {
    pub(super) fn record(&mut self, now: Now, event: Event) {
        match event {
            Event::Loaded { services, known } => self.loaded(now, services, &known),
            Event::Commanded { request, by, command } => self.commanded(now, request, &by, command),
            Event::Started { run, pid } => self.started(now, &run, pid),
            Event::StartFailed { run, what } => self.broke(now, &run, &what, false),
            Event::BecameReady { run } => self.became_ready(now, &run),
            Event::NotReady { .. }
            | Event::Health { .. }
            | Event::Said { .. }
            | Event::External { .. }
            | Event::FileChanged { .. } => {}
            Event::Exited { run, exit } => self.exited(now, &run, exit),
            Event::Gone { run } => self.gone(now, &run),
            Event::Survived { run, who } => self.survived(now, &run, who),
            Event::KeeperLost { run, what } => self.broke(now, &run, &what, true),
            Event::Traced { run: id, by } => {
                if let Some(run) = self.run_mut(&id) {
                    run.looked = Some(now.mono);
                    let news = by.clone().filter(|_| run.traced != by);
                    run.traced = by;
                    if let Some(by) = news {
                        let what = format!("{by} attached");
                        self.note(&id.service, Some(id.number), Happening::Deferred { what });
                    }
                }
            }
            Event::Occupied { service, by } => self.occupied(&service, by),
            Event::Granted { ask, service, lease } => self.granted(now, ask, &service, lease),
            Event::Refused { ask, service, refusal } => self.refused(now, ask, &service, refusal),
            Event::Woke => {}
        }
    }

    fn loaded(&mut self, now: Now, services: Vec<Arc<Service>>, known: &[RunId]) {
        let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for slot in &mut self.slots {
            if !slot.removed && !services.iter().any(|service| service.name == *slot.name()) {
                removed.push(slot.name().clone());
                slot.removed = true;
                slot.want = Want::Down;
            }
        }
        for service in services {
            let last = known.iter().filter(|id| id.service == service.name).map(|id| id.number).max().unwrap_or(0);
            match self.slots.binary_search_by(|slot| slot.name().cmp(&service.name)) {
                Err(at) => {
                    added.push(service.name.clone());
                    self.slots.insert(at, Slot::new(service, last, now));
                }
                Ok(at) => {
                    let slot = &mut self.slots[at];
                    slot.removed = false;
                    if *slot.entry != *service {
                        changed.push(service.name.clone());
                        let forgotten = change_entry(slot, service);
                        self.effects.extend(forgotten);
                    }
                }
            }
        }
        if !(added.is_empty() && changed.is_empty() && removed.is_empty()) {
            self.effects.push(note_of_project(Happening::ManifestLoaded { added, changed, removed }));
        }
    }

    fn started(&mut self, now: Now, id: &RunId, pid: u32) {
        let Some(run) = self.run_mut(id) else { return };
        if run.started.is_some() || run.broken.is_some() || run.exited.is_some() {
            return;
        }
        run.started = Some(now.mono);
        run.pid = Some(pid);
        self.note(&id.service, Some(id.number), Happening::Started { pid });
    }

    /// Also called by reconcile for a run without a check that has lived long enough.
    pub(super) fn became_ready(&mut self, now: Now, id: &RunId) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if !run.is_started() || run.ready.is_some() {
            return;
        }
        run.ready = Some(now.mono);
        let alone = slot.runs.len() == 1;
        if alone {
            slot.overlap_failures = 0;
            slot.overlap_why = None;
        }
        self.note(&id.service, Some(id.number), Happening::Ready);
        if alone {
            self.replacement_ended(now, &id.service);
        }
    }

    fn exited(&mut self, now: Now, id: &RunId, exit: Exit) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if run.exited.is_some() || run.broken.is_some() {
            return;
        }
        let ours = run.stopping.is_some();
        run.exited = Some((exit, now.mono));
        slot.last_exit = Some(exit);
        if ours {
            self.note(&id.service, Some(id.number), Happening::Stopped { exit: Some(exit) });
            return;
        }
        let accepted = match slot.entry.restart {
            Restart::Always => false,
            Restart::OnFailure => exit.success(),
            Restart::Never => true,
        };
        self.note(&id.service, Some(id.number), Happening::Exited { exit, crash: !accepted });
        self.ended_by_itself(now, id, Some(exit), accepted);
    }

    /// No process came of it, or its keeper died under it.
    fn broke(&mut self, now: Now, id: &RunId, what: &str, keeper: bool) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if run.broken.is_some() {
            return;
        }
        let (ours, over) = (run.stopping.is_some(), run.exited.is_some());
        run.broken = Some(what.to_owned());
        slot.last_trouble = Some(what.to_owned());
        let what = what.to_owned();
        let happening = if keeper { Happening::KeeperLost { what } } else { Happening::StartFailed { what } };
        self.note(&id.service, Some(id.number), happening);
        if !ours && !over {
            self.ended_by_itself(now, id, None, false);
        }
    }

    /// A run that we did not stop is over. During an overlap the other one decides what that means.
    fn ended_by_itself(&mut self, now: Now, id: &RunId, exit: Option<Exit>, accepted: bool) {
        let Some(at) = self.index(&id.service) else { return };
        let slot = &mut self.slots[at];
        let newer_lives = slot.runs.iter().any(|run| run.number > id.number && run.live());
        let older_lives = slot.runs.iter().any(|run| run.number < id.number && run.live());
        if newer_lives {
            // The old one died before its time: callers wait, the new one is now an ordinary start.
            return;
        }
        if older_lives {
            let what = exit.map_or_else(|| "did not start".to_owned(), |exit| exit.to_string());
            slot.give_back(id.number);
            self.overlap_failed(now, at, &what);
            return;
        }
        slot.replacing = None;
        if !slot.active() {
            return;
        }
        if accepted || slot.entry.restart == Restart::Never {
            slot.ended = Some(match exit {
                Some(exit) if exit.success() => Ended::Done(exit),
                Some(_) | None => Ended::Failed(exit),
            });
            return;
        }
        self.crashed(now, at, id, exit);
    }

    fn crashed(&mut self, now: Now, at: usize, id: &RunId, exit: Option<Exit>) {
        let slot = &mut self.slots[at];
        let healthy = slot.run_mut(id.number).and_then(|run| run.ready).map(|ready| now.mono.since(ready));
        if healthy.is_some_and(|healthy| healthy >= slot.entry.backoff.reset_after) {
            slot.crashes.count = 0;
        }
        slot.crashes.count += 1;
        let crashes = slot.crashes.count;
        let name = slot.name().clone();
        if slot.entry.max_restarts.is_some_and(|max| crashes > max) {
            slot.ended = Some(Ended::Failed(exit));
            self.note(&name, None, Happening::GaveUp { crashes });
            return;
        }
        let doubled = slot.entry.backoff.first.saturating_mul(1 << (crashes - 1).min(20));
        let wait = self.jitter.around(doubled.min(slot.entry.backoff.max));
        slot.crashes.until = Some(now.mono + wait);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.note(&name, None, Happening::Backoff { crashes, wait_ms });
    }

    /// A newer run beside a serving one did not get ready: the old one stays, and it is tried again later.
    pub(super) fn overlap_failed(&mut self, now: Now, at: usize, what: &str) {
        let slot = &mut self.slots[at];
        slot.overlap_failures += 1;
        let doubled = slot.entry.backoff.first.saturating_mul(1 << (slot.overlap_failures - 1).min(20));
        let wait = self.jitter.around(doubled.min(slot.entry.backoff.max));
        slot.overlap_again = Some(now.mono + wait);
        slot.overlap_why = Some(what.to_owned());
        slot.replacing = None;
        let name = slot.name().clone();
        self.note(&name, None, Happening::Deferred { what: format!("new run not ready: {what}") });
    }

    fn gone(&mut self, now: Now, id: &RunId) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(at) = slot.runs.iter().position(|run| run.number == id.number) else { return };
        if slot.runs[at].live() {
            // A keeper that ends its run without a word about it.
            let what = "its keeper ended without saying how".to_owned();
            self.broke(now, id, &what, true);
            return self.gone(now, id);
        }
        let run = slot.runs.remove(at);
        if let Some(replacing) = &mut slot.replacing {
            replacing.old_ended.get_or_insert(now.mono);
        }
        if matches!(run.stopping.map(|stopping| stopping.why), Some(StopWhy::Replaced(_)))
            && slot.serving().is_some_and(|run| run.ready.is_some())
        {
            // End of an overlap.
            self.replacement_ended(now, &id.service);
        }
    }

    fn survived(&mut self, now: Now, id: &RunId, who: Vec<String>) {
        let Some(run) = self.run_mut(id) else { return };
        if run.survivors == who {
            return;
        }
        run.survivors.clone_from(&who);
        run.survived_at.get_or_insert(now.mono);
        self.note(&id.service, Some(id.number), Happening::Survived { who });
    }

    fn occupied(&mut self, service: &Name, by: Option<String>) {
        let Some(slot) = self.slot_mut(service) else { return };
        if slot.occupied == by {
            return;
        }
        slot.occupied.clone_from(&by);
        if let Some(by) = by {
            // Whatever was tried before is tried again when the way is free, and is nobody's crash.
            self.note(service, None, Happening::Occupied { by });
        }
    }

    fn granted(&mut self, now: Now, ask: AskId, service: &Name, lease: Lease) {
        let Some(at) = self.index(service).filter(|&at| self.slots[at].asking == Some(ask)) else {
            self.effects.push(Effect::Forget { lease: lease.id });
            return;
        };
        let held = Held::new(lease, now, &mut self.jitter);
        let expires = held.lease.expires_wall;
        let slot = &mut self.slots[at];
        slot.asking = None;
        slot.refused = None;
        slot.wait_fresh = None;
        slot.used = false;
        if std::mem::take(&mut slot.refresh) && slot.rotates() && slot.serving().is_some() {
            slot.revision.asked += 1;
            slot.reasons.push(Reason::Credentials);
        }
        if let Some(old) = slot.held.replace(held) {
            self.effects.push(Effect::Forget { lease: old.lease.id });
        }
        self.note(service, None, Happening::LeaseGranted { expires });
    }

    fn refused(&mut self, now: Now, ask: AskId, service: &Name, refusal: Refusal) {
        let Some(at) = self.index(service).filter(|&at| self.slots[at].asking == Some(ask)) else { return };
        let slot = &mut self.slots[at];
        slot.asking = None;
        let attempts = slot.refused.as_ref().map_or(0, |refused| refused.attempts) + 1;
        let on = slot.serving().and_then(|run| run.lease.clone()).or_else(|| slot.held.clone());
        let wait: Duration = patience(&refusal, attempts, on.as_ref(), now, &mut self.jitter);
        let slot = &mut self.slots[at];
        if refusal.lasting {
            slot.refresh = false;
            // No use to wait for a fresh one: what is held is what there is.
            slot.wait_fresh = slot.wait_fresh.map(|_| now.mono);
        }
        let known = slot
            .refused
            .as_ref()
            .is_some_and(|old| old.refusal.code == refusal.code && old.refusal.message == refusal.message);
        slot.refused = Some(Refused { refusal: refusal.clone(), attempts, retry_at: now.mono + wait });
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if !known {
            self.note(service, None, Happening::LeaseRefused { refusal, retry_ms });
        }
    }

    /// The new run is ready and the old one gone: what was asked for is done.
    fn replacement_ended(&mut self, now: Now, service: &Name) {
        let Some(slot) = self.slot_mut(service) else { return };
        let Some(replacing) = slot.replacing.take() else { return };
        slot.cost = Some(now.mono.since(replacing.began));
        let overlapped = slot.entry.replace == Replace::Overlap;
        let number = slot.serving().map(|run| run.number);
        let gap = slot.serving().and_then(|run| run.started).zip(replacing.old_ended);
        let gap_ms =
            gap.filter(|_| !overlapped).map(|(new, old)| u64::try_from(new.since(old).as_millis()).unwrap_or(u64::MAX));
        self.note(service, number, Happening::Replaced { why: replacing.why, gap_ms });
        self.restart_dependents(service);
    }
}

/// Takes over a new meaning. A run born with the old one is outdated now; what is held for another role is forgotten.
fn change_entry(slot: &mut Slot, service: Arc<Service>) -> Option<Effect> {
    let same_role = slot.entry.role == service.role;
    slot.entry = service;
    slot.revision.entry += 1;
    slot.crashes = super::service::Crashes::default();
    slot.ended = None;
    slot.overlap_again = None;
    if same_role {
        return None;
    }
    slot.asking = None;
    slot.refused = None;
    slot.held.take().map(|held| Effect::Forget { lease: held.lease.id })
}

pub(super) fn note_of_project(what: Happening) -> Effect {
    Effect::Note(super::event::Note { service: None, run: None, by: None, what })
}
