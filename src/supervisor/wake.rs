//! When time alone will bring something: the earliest deadline of all. A deadline that has passed is not one: either it was
//! acted upon, or something else is in the way, and that has its own.

use std::time::Duration;

use super::Supervisor;
use super::debugger::{LOOK_WITHIN, look_again_at};
use super::decide::{KEEPER_LATE, overlap_patience};
use super::external::missed_at;
use super::readiness::{overdue_at, ready_at};
use super::service::Slot;
use super::time::{Boot, Mono, Now, Wake};

impl Supervisor {
    /// The earliest instant at which [`Supervisor::step`] has something to do though nothing happened.
    pub fn next_wake(&self, now: Now) -> Wake {
        let (mut mono, mut boot) = (Vec::new(), Vec::new());
        for slot in &self.slots {
            run_deadlines(slot, &mut mono);
            self.lease_deadlines(slot, now, &mut mono, &mut boot);
            mono.extend(missed_at(slot));
            mono.extend(slot.crashes.until);
            mono.extend(slot.overlap_again);
            boot.extend(slot.hold.as_ref().and_then(|hold| hold.until).map(|(boot, _)| boot));
            boot.extend(self.lane_wake(slot, now));
        }
        Wake {
            mono: mono.into_iter().filter(|&at| at > now.mono).min(),
            boot: boot.into_iter().filter(|&at| at > now.boot).min(),
        }
    }

    fn lease_deadlines(&self, slot: &Slot, now: Now, mono: &mut Vec<Mono>, boot: &mut Vec<Boot>) {
        if !slot.active() || self.shutting_down || !slot.entry.needs_lease() {
            return;
        }
        mono.extend(slot.wait_fresh);
        if slot.asking.is_none() {
            mono.extend(slot.refused.as_ref().map(|refused| refused.retry_at));
        }
        if let Some(held) = &slot.held {
            boot.push(held.ask_at(now, &slot.entry));
            boot.push(held.when_left(now, (held.life() / 10).min(Duration::from_mins(2))));
        }
        if let Some(on) = slot.lives_on().filter(|_| slot.serving().is_some()) {
            if slot.rotates() {
                boot.push(on.due(now, &slot.entry));
            }
            boot.push(on.when_left(now, Duration::ZERO));
        }
    }
}

fn run_deadlines(slot: &Slot, mono: &mut Vec<Mono>) {
    for run in &slot.runs {
        let stopping = run.stopping.as_ref().filter(|stopping| !stopping.killed);
        let grace = |draining: bool| if draining { Duration::ZERO } else { KEEPER_LATE };
        mono.extend(stopping.map(|stopping| stopping.deadline + grace(stopping.draining)));
        mono.extend(ready_at(run));
        mono.extend(overdue_at(slot, run));
        mono.extend(run.look_asked.map(|at| at + LOOK_WITHIN));
        mono.extend(look_again_at(run));
        mono.extend(run.survived_at.map(|at| at + super::SURVIVORS_WAIT));
    }
    if let [_, new] = &slot.runs[..] {
        mono.push(new.spawned + overlap_patience(&slot.entry));
    }
}
