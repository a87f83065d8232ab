//! What happens next, and when: for every state a sentence, or a command that changes it.

use std::time::Duration;

use super::Supervisor;
use super::decide::overlap_patience;
use super::event::Reason;
use super::explain::{Waits, of_external, round_up};
use super::external;
use super::service::{Ports, Run, Slot};
use super::time::Now;
use super::view::{State, Want};
use crate::manifest::{Secs, Service};

impl Supervisor {
    pub(super) fn next(&self, slot: &Slot, state: State, now: Now) -> Option<String> {
        if of_external(slot) {
            return next_of_external(slot);
        }
        let name = slot.name();
        match state {
            State::Waiting => match self.waits(slot, now) {
                Waits::Credentials => Some(credentials(slot, now)),
                Waits::Dependency(unmet) => Some(unmet.next()),
                Waits::Port(_) => Some("starts when it is free".into()),
                Waits::Nothing => None,
            },
            State::Starting => asks_again(slot, now).or_else(|| Some(starting(slot, slot.serving()?, now))),
            State::Running => asks_again(slot, now).or_else(|| running(slot, now)),
            State::Backoff => {
                let wait = slot.crashes.until.map_or(Duration::ZERO, |until| until.since(now.mono));
                Some(format!("starts again in {}, or `devsup restart {name}`", round_up(wait)))
            }
            State::Failed if changed_and_held(slot) => {
                Some(format!("starts again once released: `devsup release {name}`"))
            }
            State::Failed if slot.entry.watch.is_empty() => Some(format!("`devsup restart {name}` tries again")),
            State::Failed => {
                Some(format!("`devsup restart {name}` tries again, and so does a change of a watched file"))
            }
            State::Stopping if slot.runs.is_empty() => Some("starts when that keeper has ended".into()),
            State::Stopping if slot.runs.iter().any(draining) => {
                Some("told to stop when its connections have ended, or are at rest".into())
            }
            State::Stopping if slot.active() => Some("starts when the tree is empty".into()),
            State::Stopping => Some("over when the tree is empty".into()),
            State::Done if changed_and_held(slot) => Some(format!("runs again once released: `devsup release {name}`")),
            State::Done => Some(format!("`devsup restart {name}` runs it again")),
            State::Stopped => Some(format!("`devsup start {name}`")),
        }
    }
}

fn draining(run: &Run) -> bool {
    run.stopping.as_ref().is_some_and(|stopping| stopping.draining)
}

fn changed_and_held(slot: &Slot) -> bool {
    slot.hold.is_some() && slot.reasons.iter().any(|reason| matches!(reason, Reason::FileChanged { .. }))
}

fn next_of_external(slot: &Slot) -> Option<String> {
    match (slot.want, external::absence(slot)) {
        (Want::Down, _) => {
            Some(format!("watched when something that is wanted needs it, or after `devsup start {}`", slot.name()))
        }
        (Want::Up, Some(_)) => Some("asked again and again; devsup does not run it, it only watches it".into()),
        (Want::Up, None) => None,
    }
}

fn credentials(slot: &Slot, now: Now) -> String {
    if let Some(again) = asks_again(slot, now) {
        return again;
    }
    let startable = slot.held.as_ref().is_some_and(|held| held.startable(now));
    match slot.wait_fresh.filter(|_| startable) {
        Some(until) => {
            format!("starts on the held ones if no fresh ones come within {}", round_up(until.since(now.mono)))
        }
        None => "starts when AWS has answered".into(),
    }
}

fn asks_again(slot: &Slot, now: Now) -> Option<String> {
    let refused = slot.refused.as_ref()?;
    if refused.refusal.wants_code() {
        return Some("asks again as soon as `devsup creds --mfa` has taken a code".into());
    }
    let wait = round_up(refused.retry_at.since(now.mono));
    Some(format!("asks again in {wait}, or `devsup creds {} --refresh`", slot.name()))
}

fn starting(slot: &Slot, run: &Run, now: Now) -> String {
    let so_far = now.mono.since(run.spawned);
    match run.ready_within {
        None => format!("ready when it has lived for {}", Secs(Service::ALIVE)),
        Some(_) if run.is_overdue() => {
            format!("it is left running and its check goes on; or `devsup restart {}`", slot.name())
        }
        Some(within) => {
            format!("ready when its check succeeds; {} left for that", round_up(within.saturating_sub(so_far)))
        }
    }
}

fn running(slot: &Slot, now: Now) -> Option<String> {
    let run = slot.serving()?;
    if let Some(new) = slot.successor() {
        let left = overlap_patience(&slot.entry).saturating_sub(now.mono.since(new.spawned));
        return Some(format!("it serves until run {} is ready; {} left for that", new.number, round_up(left)));
    }
    let due = !Supervisor::outdated(slot, run, now).is_empty();
    if slot.hold.is_some() && (due || slot.rotates()) {
        return Some(format!("not replaced until `devsup release {}`", slot.name()));
    }
    if due && run.traced.is_some() {
        return Some(format!("replaced when the debugger is gone, or by `devsup restart {}`", slot.name()));
    }
    if due && matches!(slot.ports, Ports::Held(_)) {
        return Some("replaced when it is free".into());
    }
    if let Some(again) = slot.overlap_again.filter(|&again| due && again > now.mono) {
        return Some(format!("tried again in {}", round_up(again.since(now.mono))));
    }
    if !slot.rotates() {
        let renewed = slot.held.as_ref()?.ask_at(now, &slot.entry).since(now.boot);
        return (!renewed.is_zero()).then(|| format!("fresh credentials in {}, without a restart", Secs(renewed)));
    }
    let on = run.lease.as_ref()?;
    Some(format!("replaced with fresh credentials in {}", Secs(on.due(now, &slot.entry).since(now.boot))))
}
