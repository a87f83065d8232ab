//! What a service needs done next: one move, derived from the state as a whole. Level-triggered: the same state gives the
//! same move, however it came about; no move means nothing is to be done until a fact or a deadline comes.

use std::time::Duration;

use super::Supervisor;
use super::debugger::{Look, by_person, look, look_again};
use super::event::{Reason, StopWhy};
use super::external::missed_at;
use super::files::begins_anew;
use super::readiness::{overdue_at, ready_at};
use super::service::{Ports, Run, Slot};
use super::time::{Mono, Now};
use super::view::Want;
use crate::manifest::{Handover, Replace, Service};

/// A keeper that has not answered so long after its own deadline is helped from outside.
pub(super) const KEEPER_LATE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The hold has run out.
    Release,
    /// No check is configured and it has lived long enough.
    Ready {
        run: u32,
    },
    /// Its check has not succeeded in time: that is said.
    NoteOverdue {
        run: u32,
    },
    /// An external service is not there in time: that is said.
    NoteMissed,
    /// A watched file changed: what had given up has another chance.
    BeginAnew,
    Stop {
        run: u32,
        why: StopWhy,
    },
    Kill {
        run: u32,
    },
    /// Connections are handed over, or long enough was waited for that: now it is told to stop.
    EndDrain {
        run: u32,
    },
    /// Are the ports free that a start needs?
    Claim,
    /// Nothing will be started: its ports are let go.
    Unclaim,
    /// Before a run is replaced by itself: is a debugger attached?
    Look {
        run: u32,
    },
    Spawn,
    Ask,
    /// No fresh credentials came in time: the held ones must do.
    SettleForHeld,
    /// A newer run beside a serving one took too long.
    GiveUpOverlap {
        run: u32,
    },
    NoteExpired,
    /// Nothing will start here: the secret is of no use.
    Forget,
    /// No longer in the manifest, and nothing is left of it.
    Remove,
}

impl Supervisor {
    pub(super) fn decide(&self, at: usize, now: Now) -> Option<Move> {
        let slot = &self.slots[at];
        if slot.hold.as_ref().and_then(|hold| hold.until).is_some_and(|(boot, _)| boot <= now.boot) {
            return Some(Move::Release);
        }
        slot.runs
            .iter()
            .find_map(|run| run_deadline(slot, run, now))
            .or_else(|| missed_at(slot).filter(|&at| at <= now.mono).map(|_| Move::NoteMissed))
            .or_else(|| begins_anew(slot).then_some(Move::BeginAnew))
            .or_else(|| self.unwanted(at))
            .or_else(|| self.replace(at, now))
            .or_else(|| self.unclaim(at))
            .or_else(|| self.begin_run(at, now))
            .or_else(|| self.lease_move(at, now))
            .or_else(|| (slot.removed && slot.runs.is_empty()).then_some(Move::Remove))
    }

    /// What must not run any more: newest first, and not before what depends on it.
    fn unwanted(&self, at: usize) -> Option<Move> {
        let slot = &self.slots[at];
        if slot.want == Want::Up {
            return None;
        }
        let run = slot.runs.iter().rev().find(|run| run.stopping.is_none())?;
        let waits = self.slots.iter().any(|other| {
            other.want == Want::Down
                && other.entry.depends_on.contains_key(slot.name())
                && other.runs.iter().any(|run| !run.stuck())
        });
        (!waits).then_some(Move::Stop { run: run.number, why: StopWhy::Asked })
    }

    /// Why the run is not what it should be; empty: it is current.
    pub(super) fn outdated(slot: &Slot, run: &Run, now: Now) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if run.revision.entry != slot.revision.entry {
            reasons.push(Reason::ManifestChanged);
        }
        if run.revision.asked != slot.revision.asked {
            reasons.extend(slot.reasons.iter().filter(|&reason| *reason != Reason::ManifestChanged).cloned());
        }
        if run.unwell.is_some() {
            reasons.push(Reason::Unhealthy);
        }
        if Self::lease_due(slot, run, now) && !reasons.contains(&Reason::Credentials) {
            reasons.push(Reason::Credentials);
        }
        reasons
    }

    /// The run lives on a lease that is due, and a fresher one is held.
    fn lease_due(slot: &Slot, run: &Run, now: Now) -> bool {
        let (Some(on), Some(held)) = (&run.lease, &slot.held) else { return false };
        slot.rotates()
            && on.lease.id != held.lease.id
            && held.left_ms(now) > on.left_ms(now)
            && held.startable(now)
            && on.due(now, &slot.entry) <= now.boot
    }

    fn replace(&self, at: usize, now: Now) -> Option<Move> {
        let slot = &self.slots[at];
        if !slot.active() {
            return None;
        }
        let live: Vec<&Run> = slot.runs.iter().filter(|run| run.live()).collect();
        match live[..] {
            [old, new] => Self::end_overlap(slot, old, new, now),
            [run] if slot.runs.len() == 1 => {
                let why = Self::outdated(slot, run, now);
                if why.is_empty() || !self.may_replace(at, run, &why, now) {
                    return look_again(run, &why, now).then_some(Move::Look { run: run.number });
                }
                match claimed_before_stop(slot, run) {
                    Claimed::Ask => return Some(Move::Claim),
                    Claimed::Wait => return None,
                    Claimed::Done => {}
                }
                match look(run, &why, now) {
                    Look::Ask => return Some(Move::Look { run: run.number }),
                    Look::Wait => return None,
                    Look::Done => {}
                }
                match slot.entry.replace {
                    // Somebody else runs it from now on.
                    _ if slot.entry.external() => Some(Move::Stop { run: run.number, why: StopWhy::Asked }),
                    Replace::Overlap if slot.ports != Ports::Own && !run.keeps_ports_from(&slot.entry) => {
                        Self::overlap_free(slot, &why, now).then_some(Move::Spawn)
                    }
                    Replace::Restart | Replace::Overlap => {
                        Some(Move::Stop { run: run.number, why: StopWhy::Replaced(why) })
                    }
                }
            }
            _ => None,
        }
    }

    /// Two runs serve. The old one goes when the new one is ready; a new one that is outdated itself, or that a hold came
    /// too late for, goes first.
    fn end_overlap(slot: &Slot, old: &Run, new: &Run, now: Now) -> Option<Move> {
        if new.revision != slot.revision || slot.hold.is_some() && !by_person(&new.why) {
            return Some(Move::Stop { run: new.number, why: StopWhy::Leftover });
        }
        if new.is_ready() {
            return Some(Move::Stop { run: old.number, why: StopWhy::Replaced(new.why.clone()) });
        }
        let late = new.spawned + overlap_patience(&slot.entry) <= now.mono;
        late.then_some(Move::GiveUpOverlap { run: new.number })
    }

    fn overlap_free(slot: &Slot, why: &[Reason], now: Now) -> bool {
        slot.overlap_again.is_none_or(|again| again <= now.mono)
            // After a failure the next try for credentials wants a lease worth the trouble.
            && (slot.overlap_failures == 0 || *why != [Reason::Credentials] || slot.held.as_ref().is_none_or(|held| held.fresh(now) || !slot.rotates()))
    }

    /// Is what the new run needs there, and is nobody in the way?
    fn may_replace(&self, at: usize, run: &Run, why: &[Reason], now: Now) -> bool {
        let slot = &self.slots[at];
        if slot.occupied.is_some() || !Self::lease_ready(slot, now) {
            return false;
        }
        if by_person(why) {
            return true;
        }
        if slot.hold.is_some() || run.traced.is_some() {
            return false;
        }
        *why != [Reason::Credentials] || self.lane_open(at, now)
    }

    /// A lease a run may be born with is held (or none is needed), and nobody waits for a fresher one.
    pub(super) fn lease_ready(slot: &Slot, now: Now) -> bool {
        !slot.entry.needs_lease()
            || (slot.held.as_ref().is_some_and(|held| held.startable(now)) && slot.wait_fresh.is_none())
    }

    /// Nothing but its ports may still be in the way.
    fn begin_run(&self, at: usize, now: Now) -> Option<Move> {
        if !self.may_spawn(at, now) {
            return None;
        }
        match ports_of(&self.slots[at]) {
            Claimed::Ask => Some(Move::Claim),
            Claimed::Wait => None,
            Claimed::Done => Some(Move::Spawn),
        }
    }

    fn unclaim(&self, at: usize) -> Option<Move> {
        let slot = &self.slots[at];
        // Some may have been started with more.
        let unused = slot.entry.ports.is_empty() && slot.runs.iter().all(|run| run.ports.is_empty());
        let over = unused || slot.runs.is_empty() && (!slot.active() || self.shutting_down);
        (over && slot.ports != Ports::Unclaimed).then_some(Move::Unclaim)
    }

    fn may_spawn(&self, at: usize, now: Now) -> bool {
        let slot = &self.slots[at];
        slot.active()
            && !self.shutting_down
            && !slot.entry.external()
            && slot.runs.is_empty()
            && slot.occupied.is_none()
            && slot.crashes.until.is_none_or(|until| until <= now.mono)
            && Self::lease_ready(slot, now)
            // A replacement was running before: what it depends on does not hold it up.
            && (slot.replacing.is_some() || self.unmet(slot).next().is_none())
    }

    fn lease_move(&self, at: usize, now: Now) -> Option<Move> {
        let slot = &self.slots[at];
        if !slot.entry.needs_lease() {
            return slot.held.is_some().then_some(Move::Forget);
        }
        let idle = !slot.active() || self.shutting_down;
        if idle {
            return (slot.held.is_some() && slot.runs.is_empty()).then_some(Move::Forget);
        }
        if slot.wait_fresh.is_some_and(|until| until <= now.mono)
            && slot.held.as_ref().is_some_and(|held| held.startable(now))
        {
            return Some(Move::SettleForHeld);
        }
        if slot.serving().is_some()
            && let Some(on) = slot.lives_on().filter(|on| on.expired(now))
            && slot.expiry_noted != Some(on.lease.id)
        {
            return Some(Move::NoteExpired);
        }
        Self::asks(slot, now).then_some(Move::Ask)
    }

    fn asks(slot: &Slot, now: Now) -> bool {
        slot.asking.is_none()
            && Self::wants_lease(slot, now)
            && slot.refused.as_ref().is_none_or(|refused| refused.retry_at <= now.mono)
    }

    /// Is a fresher lease than the held one wanted?
    pub(super) fn wants_lease(slot: &Slot, now: Now) -> bool {
        slot.refresh
            || slot.wait_fresh.is_some()
            // A question that was refused stands until it is answered.
            || slot.refused.is_some()
            || slot.held.as_ref().is_none_or(|held| !held.startable(now) || held.ask_at(now, &slot.entry) <= now.boot)
    }
}

enum Claimed {
    Ask,
    Wait,
    Done,
}

fn ports_of(slot: &Slot) -> Claimed {
    match slot.ports {
        _ if slot.entry.ports.is_empty() => Claimed::Done,
        Ports::Unclaimed | Ports::Stale => Claimed::Ask,
        // Of its own run: seen again when that is gone.
        Ports::Asked | Ports::Held(_) | Ports::Own => Claimed::Wait,
        Ports::Free => Claimed::Done,
    }
}

/// What devsup binds itself it can bind while the old run lives; what the service binds is free only when that is gone.
fn claimed_before_stop(slot: &Slot, run: &Run) -> Claimed {
    let after = slot.entry.hands_over(Handover::None)
        || slot.entry.external()
        || slot.ports == Ports::Own
        || run.keeps_ports_from(&slot.entry);
    if after { Claimed::Done } else { ports_of(slot) }
}

/// What time alone brings to a run.
fn run_deadline(slot: &Slot, run: &Run, now: Now) -> Option<Move> {
    if let Some(stopping) = &run.stopping {
        if stopping.draining {
            // Whoever wants it down does not wait for callers, nor does who has lost the run that was to serve them.
            let alone = stopping.beside && !slot.runs.iter().any(Run::live);
            let over = stopping.deadline <= now.mono || slot.want == Want::Down || alone;
            return over.then_some(Move::EndDrain { run: run.number });
        }
        let late = stopping.deadline + KEEPER_LATE <= now.mono;
        return (late && !stopping.killed).then_some(Move::Kill { run: run.number });
    }
    let over = |at: &Mono| *at <= now.mono;
    let ready = ready_at(run).filter(over).map(|_| Move::Ready { run: run.number });
    ready.or_else(|| overdue_at(slot, run).filter(over).map(|_| Move::NoteOverdue { run: run.number }))
}

/// How long a new run may take beside a serving one.
pub(super) fn overlap_patience(service: &Service) -> Duration {
    service.ready.as_ref().map_or(Service::ALIVE + Duration::from_secs(10), |ready| ready.timeout)
}
