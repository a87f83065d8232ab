//! Facts into state. Nothing is decided here but what a fact *is*: a crash, an end, the answer to an old question.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::event::{AskId, Effect, Event, Happening, Lease, Reason, Refusal, RunId};
use super::lease::{Held, Refused, patience};
use super::service::{Former, Ports, Run, Slot, There};
use super::time::{Mono, Now};
use super::view::Want;
use crate::manifest::{Handover, Name, Service};

impl Supervisor {
    pub(super) fn record(&mut self, now: Now, event: Event) {
        match event {
            Event::Loaded { services, known } => self.loaded(now, services, &known),
            Event::Commanded { request, by, command } => self.commanded(now, request, &by, command),
            Event::Started { run, pid } => self.started(now, &run, pid),
            Event::StartFailed { run, what } => self.broke(now, &run, &what, false),
            Event::BecameReady { run } => self.became_ready(now, &run),
            Event::NotReady { run, what } => self.not_ready(&run, what),
            Event::Health { run, trouble } => self.health(&run, trouble),
            Event::Said { run, status } => self.says(&run, status),
            Event::External { service, trouble } => self.external(&service, trouble),
            Event::FileChanged { service, path } => self.file_changed(&service, path),
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
            Event::Ports { service, trouble } => self.ports(&service, trouble),
            Event::PortsAgain { service } => {
                if let Some(slot) = self.slot_mut(&service).filter(|slot| matches!(slot.ports, Ports::Held(_))) {
                    slot.ports = Ports::Stale;
                }
            }
            Event::PortsOwn { service } => {
                if let Some(slot) = self.slot_mut(&service).filter(|slot| slot.ports != Ports::Unclaimed) {
                    slot.ports = Ports::Own;
                }
            }
            Event::Drained { run } => {
                let stopping = self.run_mut(&run).and_then(|run| run.stopping.as_mut());
                if let Some(stopping) = stopping.filter(|stopping| stopping.draining) {
                    stopping.deadline = stopping.deadline.min(now.mono);
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
        if run.pid.is_some() || run.broken.is_some() || run.exited.is_some() {
            return;
        }
        run.started.get_or_insert(now.mono);
        run.pid = Some(pid);
        self.note(&id.service, Some(id.number), Happening::Started { pid });
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

    fn ports(&mut self, service: &Name, trouble: Option<String>) {
        let Some(slot) = self.slot_mut(service).filter(|slot| slot.ports != Ports::Unclaimed) else { return };
        slot.ports = trouble.clone().map_or(Ports::Free, Ports::Held);
        let before = std::mem::replace(&mut slot.port_held, trouble.clone());
        if let Some(what) = trouble.filter(|what| before.as_ref() != Some(what)) {
            self.note(service, None, Happening::PortHeld { what });
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
        let on = slot.lives_on().cloned();
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
    pub(super) fn replacement_ended(&mut self, now: Now, service: &Name) {
        let Some(slot) = self.slot_mut(service) else { return };
        let Some(replacing) = slot.replacing.take() else { return };
        slot.cost = Some(now.mono.since(replacing.began));
        slot.forget_overlaps();
        let handed_over = !slot.entry.ports.is_empty() && !slot.entry.hands_over(Handover::None) && !replacing.refused;
        let number = slot.serving().map(|run| run.number);
        let serves = |run: &Run| if run.ready_within.is_some() { run.ready } else { run.started };
        let serves = slot.serving().and_then(serves).filter(|_| !replacing.beside);
        let until = |from: Mono, new: Mono| u64::try_from(new.since(from).as_millis()).unwrap_or(u64::MAX);
        let gap_ms = serves.zip(replacing.old_ended).map(|(new, old)| until(old, new));
        // One who is told to stop may take nobody from then on, and yet need a while to end.
        let passed = serves.filter(|_| slot.entry.hands_over(Handover::Socket));
        let waited_ms = handed_over.then(|| passed.map_or(0, |new| until(replacing.began, new)));
        self.note(service, number, Happening::Replaced { why: replacing.why, gap_ms, waited_ms, given_up: None });
        self.restart_dependents(service);
    }
}

/// Takes over a new meaning. A run born with the old one is outdated now; what is held for another role is forgotten, unless
/// a run may still ask for it.
fn change_entry(slot: &mut Slot, service: Arc<Service>) -> Option<Effect> {
    let same_role = slot.entry.role == service.role;
    let asked_for = slot.entry.needs_lease() && !slot.rotates();
    let same_check = (slot.entry.external(), &slot.entry.ready) == (service.external(), &service.ready);
    slot.entry = service;
    slot.revision.entry += 1;
    slot.crashes = super::service::Crashes::default();
    slot.ended = None;
    slot.forget_overlaps();
    slot.unwell = None;
    slot.see_ports_again();
    if slot.entry.external() {
        slot.replacing = None;
    }
    if !same_check {
        slot.there = There::Unknown;
        slot.missed = false;
    }
    if same_role {
        return None;
    }
    slot.asking = None;
    slot.refused = None;
    let held = slot.held.take();
    let mut asking = slot.runs.iter_mut().filter(|run| asked_for && run.former.is_none()).peekable();
    if asking.peek().is_some() {
        asking.for_each(|run| run.former = Some(Former(held.clone())));
        return None;
    }
    held.map(|held| Effect::Forget { lease: held.lease.id })
}

pub(super) fn note_of_project(what: Happening) -> Effect {
    Effect::Note(super::event::Note { service: None, run: None, by: None, what })
}
