//! Carries moves out on the state and as effects. One move of one service at a time, until nothing is left to be done.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::decide::Move;
use super::event::{AskId, Effect, Happening, LeaseId, Reason, RunId, StopWhy};
use super::service::{Ports, Replacing, Run, Stopping};
use super::time::Now;
use crate::manifest::{Handover, Service};

impl Supervisor {
    pub(super) fn reconcile(&mut self, now: Now) {
        loop {
            let mut quiet = true;
            let mut at = 0;
            while at < self.slots.len() {
                let name = self.slots[at].name().clone();
                while let Some(next) = self.decide(at, now) {
                    quiet = false;
                    let gone = next == Move::Remove;
                    self.carry_out(at, next, now);
                    if gone {
                        break;
                    }
                }
                // A removed service leaves its place to the next one.
                if self.slots.get(at).is_some_and(|slot| *slot.name() == name) {
                    at += 1;
                }
            }
            if quiet {
                break;
            }
        }
        self.finish(now);
    }

    fn carry_out(&mut self, at: usize, next: Move, now: Now) {
        let name = self.slots[at].name().clone();
        let id = |number| RunId { service: name.clone(), number };
        match next {
            Move::Release => {
                self.slots[at].hold = None;
                self.note(&name, None, Happening::Released);
            }
            Move::Ready { run } => self.became_ready(now, &id(run)),
            Move::NoteOverdue { run } => self.not_ready_in_time(&id(run)),
            Move::NoteMissed => self.missed(at),
            Move::BeginAnew => super::files::begin_anew(&mut self.slots[at]),
            Move::Stop { run, why } => self.stop(at, run, why, now),
            Move::Kill { run } => {
                if let Some(stopping) = self.slots[at].run_mut(run).and_then(|run| run.stopping.as_mut()) {
                    stopping.killed = true;
                }
                self.effects.push(Effect::Kill { run: id(run) });
            }
            Move::EndDrain { run } => self.end_drain(at, run, now),
            Move::Claim => self.claim(at),
            Move::Unclaim => self.unclaimed(at),
            Move::Look { run } => {
                if let Some(run) = self.slots[at].run_mut(run) {
                    run.look_asked = Some(now.mono);
                }
                self.effects.push(Effect::Look { run: id(run) });
            }
            Move::Spawn => self.spawn(at, now),
            Move::Ask => {
                self.next_ask += 1;
                let ask = AskId(self.next_ask);
                let slot = &mut self.slots[at];
                slot.asking = Some(ask);
                self.effects.push(Effect::Ask { ask, service: Arc::clone(&slot.entry) });
            }
            Move::SettleForHeld => {
                self.slots[at].wait_fresh = None;
                self.note(&name, None, Happening::SettledForHeld);
            }
            Move::GiveUpOverlap { run } => {
                self.overlap_failed(now, at, "not ready in time");
                self.stop(at, run, StopWhy::Leftover, now);
            }
            Move::NoteExpired => {
                let slot = &mut self.slots[at];
                slot.expiry_noted = slot.lives_on().map(|held| held.lease.id);
                let number = slot.serving().map(|run| run.number);
                self.note(&name, number, Happening::LeaseExpired);
            }
            Move::Forget => {
                let slot = &mut self.slots[at];
                slot.asking = None;
                slot.refused = None;
                if let Some(held) = slot.held.take() {
                    self.effects.push(Effect::Forget { lease: held.lease.id });
                }
            }
            Move::Remove => drop(self.slots.remove(at)),
        }
    }

    fn claim(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.ports = Ports::Asked;
        self.effects.push(Effect::Claim { service: Arc::clone(&slot.entry) });
    }

    fn unclaimed(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.ports = Ports::Unclaimed;
        slot.port_held = None;
        self.effects.push(Effect::Unclaim { service: slot.name().clone() });
    }

    fn stop(&mut self, at: usize, number: u32, why: StopWhy, now: Now) {
        let slot = &mut self.slots[at];
        let timeout = slot.stop_timeout.take().unwrap_or(slot.entry.stop_timeout);
        if let StopWhy::Replaced(reasons) = &why {
            slot.count_unwell(number, reasons, now);
            if slot.replacement_under_way().is_none() {
                slot.replacing = None;
            }
            let refused = slot.refuses(number);
            slot.replacing.get_or_insert_with(|| Replacing {
                why: reasons.clone(),
                began: now.mono,
                old_ended: None,
                beside: false,
                refused,
            });
        }
        if why == StopWhy::Leftover {
            slot.give_back(number);
        }
        let name = slot.name().clone();
        let beside = slot.runs.iter().any(|other| other.number != number && other.live());
        let drained_within = if beside { timeout } else { timeout.min(half_of_wait(&slot.entry)) };
        let Some(run) = slot.run_mut(number) else { return };
        // Only one that was ready has callers, and for one that is unhealthy those who come wait in vain.
        let draining = match &why {
            StopWhy::Replaced(reasons) => {
                run.has(Handover::Forward) && run.is_ready() && (beside || !reasons.contains(&Reason::Unhealthy))
            }
            StopWhy::Asked | StopWhy::Leftover => false,
        };
        let deadline = now.mono + if draining { drained_within } else { timeout };
        run.stopping =
            Some(Stopping { since: now.mono, deadline, why: why.clone(), timeout, beside, killed: false, draining });
        let run = RunId { service: name, number };
        self.effects.push(if draining { Effect::Drain { run } } else { Effect::Stop { run, timeout, why } });
    }

    fn end_drain(&mut self, at: usize, number: u32, now: Now) {
        let slot = &mut self.slots[at];
        let shorter = slot.stop_timeout.take();
        let name = slot.name().clone();
        let Some(stopping) = slot.run_mut(number).and_then(|run| run.stopping.as_mut()) else { return };
        let timeout = shorter.unwrap_or(stopping.timeout);
        stopping.draining = false;
        stopping.deadline = now.mono + timeout;
        let why = stopping.why.clone();
        self.effects.push(Effect::Stop { run: RunId { service: name, number }, timeout, why });
    }

    fn spawn(&mut self, at: usize, now: Now) {
        let beside = self.slots[at].serving().cloned();
        let mut why = match &beside {
            Some(old) => Self::outdated(&self.slots[at], old, now),
            None => self.slots[at].replacing.as_ref().map(|replacing| replacing.why.clone()).unwrap_or_default(),
        };
        let slot = &mut self.slots[at];
        for reason in slot.reasons.drain(..) {
            super::service::join(&mut why, &reason);
        }
        slot.changed.clear();
        if beside.is_some() || slot.replacing.is_some() {
            let before = slot.replacing.as_ref();
            slot.replacing = Some(Replacing {
                why: why.clone(),
                began: before.map_or(now.mono, |replacing| replacing.began),
                old_ended: before.and_then(|replacing| replacing.old_ended),
                beside: beside.is_some(),
                refused: before.is_some_and(|replacing| replacing.refused),
            });
        }
        slot.last_run += 1;
        slot.starts += 1;
        slot.rotations += u32::from(why.contains(&Reason::Credentials));
        slot.crashes.until = None;
        slot.stop_timeout = None;
        let lease = slot.held.clone().filter(|_| slot.entry.needs_lease());
        slot.used |= lease.is_some();
        let number = slot.last_run;
        slot.runs.push(Run::new(number, slot, lease.clone(), why.clone(), now));
        let run = RunId { service: slot.name().clone(), number };
        let (service, lease): (_, Option<LeaseId>) = (Arc::clone(&slot.entry), lease.map(|held| held.lease.id));
        let name = run.service.clone();
        self.note(&name, Some(number), Happening::Starting { why: why.clone() });
        self.effects.push(Effect::Spawn { run, service, lease, why });
    }

    /// Everything is over once no run is left but those that nothing can end.
    fn finish(&mut self, now: Now) {
        let over = self
            .slots
            .iter()
            .flat_map(|slot| &slot.runs)
            .all(|run| run.survived_at.is_some_and(|at| now.mono.since(at) >= super::SURVIVORS_WAIT));
        if self.shutting_down && !self.finished && over {
            self.finished = true;
            self.effects.push(Effect::Finished);
        }
    }
}

/// Until the next run is ready new callers wait, and no longer than their port says: half of that is for those who are connected to
/// finish, the rest for the old run to end and the new one to start.
fn half_of_wait(service: &Service) -> Duration {
    let forwarded = service.ports.values().filter(|port| port.handover == Handover::Forward);
    forwarded.map(|port| port.wait / 2).min().unwrap_or(Duration::MAX)
}
