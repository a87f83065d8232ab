//! State into sentences: what `ps` shows, why it is so, and what happens next. Derived at every look, never stored.

use std::time::Duration;

use super::Supervisor;
use super::conditions::Unmet;
use super::event::{Reason, StopWhy};
use super::external::{self, absence, is_missed};
use super::lease::millis;
use super::readiness::lacks;
use super::service::{Ended, Ports, Run, Slot};
use super::time::Now;
use super::view::{Held, State, View, Want};
use crate::manifest::Secs;

impl Supervisor {
    /// All services, in name order.
    pub fn views(&self, now: Now) -> Vec<View> {
        self.slots.iter().map(|slot| self.explain(slot, now)).collect()
    }

    pub fn view(&self, now: Now, service: &str) -> Option<View> {
        self.slot(service).map(|slot| self.explain(slot, now))
    }

    /// Notes since when each service is in its state.
    pub(super) fn look(&mut self, now: Now) {
        for at in 0..self.slots.len() {
            let state = Self::state(&self.slots[at], now);
            let slot = &mut self.slots[at];
            if slot.seen.0 != state {
                slot.seen = (state, now.wall, now.mono);
                slot.missed = false;
            }
        }
    }

    pub(super) fn state(slot: &Slot, now: Now) -> State {
        if of_external(slot) {
            return external::state(slot);
        }
        if let Some(run) = slot.serving() {
            return if run.ready.is_some() { State::Running } else { State::Starting };
        }
        if !slot.runs.is_empty() || slot.occupied.is_some() && slot.active() {
            return State::Stopping;
        }
        match (slot.want, slot.ended) {
            (_, Some(Ended::Done { .. })) => State::Done,
            (_, Some(Ended::Failed(_))) => State::Failed,
            (Want::Down, None) => State::Stopped,
            (Want::Up, None) if slot.crashes.until.is_some_and(|until| until > now.mono) => State::Backoff,
            (Want::Up, None) => State::Waiting,
        }
    }

    fn explain(&self, slot: &Slot, now: Now) -> View {
        let state = Self::state(slot, now);
        let newest = slot.serving().or_else(|| slot.runs.last());
        let on = slot.lives_on();
        View {
            name: slot.name().clone(),
            want: slot.want,
            state,
            ready: state == State::Running && (of_external(slot) || slot.serving().is_some_and(Run::is_well)),
            status: self.status(slot, state, now),
            why: self.why(slot, state, now),
            next: self.next(slot, state, now),
            run: (slot.last_run > 0 && slot.starts > 0).then_some(slot.last_run),
            pid: newest.filter(|run| run.exited.is_none()).and_then(|run| run.pid),
            since: slot.seen.1,
            uptime: newest.filter(|run| run.exited.is_none()).and_then(|run| run.started).map(|at| now.mono.since(at)),
            crashes: slot.crashes.count,
            rotations: slot.rotations,
            restarts: slot.starts.saturating_sub(1),
            last_exit: slot.last_exit,
            held: slot.hold.as_ref().map(|hold| Held {
                by: hold.by.clone(),
                since: hold.since,
                until: hold.until.map(|(_, wall)| wall),
            }),
            lease: on.map(|on| Self::lease_view(slot, on, now)),
            credentials: Self::credentials(slot, on, now),
            refusal: slot.refused.as_ref().map(|refused| refused.refusal.clone()),
            runs: slot.runs.iter().map(|run| run.number).collect(),
            survivors: slot.runs.iter().flat_map(|run| run.survivors.iter().cloned()).collect(),
            said: slot.serving().and_then(|run| run.said.clone()),
            external: slot.entry.external(),
            overdue: is_missed(slot) || slot.serving().is_some_and(Run::is_overdue),
            exits: slot.past_runs(),
            waits_for: if state == State::Waiting {
                self.unmet(slot).map(|unmet| unmet.on.name().clone()).collect()
            } else {
                Vec::new()
            },
        }
    }

    pub(super) fn status(&self, slot: &Slot, state: State, now: Now) -> String {
        if of_external(slot) {
            return external::status(slot);
        }
        match state {
            State::Running => running(slot, now),
            State::Starting => {
                let run = slot.serving();
                let so_far = Secs(now.mono.since(run.map_or(slot.seen.2, |run| run.spawned)));
                let late = if run.is_some_and(Run::is_overdue) { ", not ready in time" } else { "" };
                format!("starting {so_far}{late}")
            }
            State::Stopping => stopping(slot, now),
            State::Backoff => {
                let wait = slot.crashes.until.map_or(Duration::ZERO, |until| until.since(now.mono));
                format!("backoff, again in {} (crash {})", round_up(wait), slot.crashes.count)
            }
            State::Waiting => match self.waits(slot, now) {
                Waits::Dependency(unmet) => unmet.status(),
                Waits::Credentials => match &slot.refused {
                    Some(refused) if !startable(slot, now) && refused.refusal.wants_code() => {
                        "waiting for an MFA code: devsup creds --mfa".into()
                    }
                    Some(refused) if !startable(slot, now) => {
                        format!("waiting for credentials: {}", refused.refusal.code)
                    }
                    Some(_) | None => "waiting for credentials".into(),
                },
                Waits::Port(_) => "waiting for its port".into(),
                Waits::Nothing => "waiting to start".into(),
            },
            State::Failed => match slot.ended {
                Some(Ended::Failed(Some(exit))) => format!("failed: {exit}"),
                Some(Ended::Failed(None) | Ended::Done { .. }) | None => "failed: did not start".into(),
            },
            State::Done => "done".into(),
            State::Stopped => "stopped".into(),
        }
    }

    /// What a service that is wanted and has no run waits for.
    pub(super) fn waits<'a>(&'a self, slot: &'a Slot, now: Now) -> Waits<'a> {
        if slot.entry.needs_lease() && (!startable(slot, now) || slot.wait_fresh.is_some()) {
            return Waits::Credentials;
        }
        if let Some(&unmet) = self.waits_for(slot).first() {
            return Waits::Dependency(unmet);
        }
        match &slot.ports {
            Ports::Held(what) => Waits::Port(Some(what.as_str())),
            Ports::Asked => Waits::Port(None),
            Ports::Unclaimed | Ports::Stale | Ports::Own | Ports::Free => Waits::Nothing,
        }
    }

    pub(super) fn why(&self, slot: &Slot, state: State, now: Now) -> Option<String> {
        if let Some(run) = slot.runs.iter().find(|run| run.stuck()) {
            return Some(format!("survives SIGKILL: {}", run.survivors.join(", ")));
        }
        if of_external(slot) {
            let within = Secs(slot.entry.ready_timeout());
            return absence(slot).filter(|_| is_missed(slot)).map(|what| format!("not there after {within}: {what}"));
        }
        match state {
            State::Waiting => match self.waits(slot, now) {
                Waits::Credentials => slot.refused.as_ref().map(|refused| refused.refusal.message.clone()),
                Waits::Dependency(unmet) => Some(self.unmet_why(unmet, now)),
                Waits::Port(held) => Some(held.unwrap_or("it is being seen whether they are free").to_owned()),
                Waits::Nothing => None,
            },
            State::Backoff => trouble(slot),
            State::Failed => both(failed(slot), changed_while_held(slot, now)),
            State::Starting => {
                let run = slot.serving()?;
                let late = run.ready_within.filter(|_| run.is_overdue());
                late.map(|within| format!("not ready after {}: {}", Secs(within), lacks(run)))
                    .or_else(|| Self::deferred(slot, now))
                    .or_else(|| run.not_ready.as_ref().map(|what| format!("not ready yet: {what}")))
                    .or_else(|| unwell_before(slot, run))
            }
            State::Running => {
                beginning(slot).or_else(|| Self::deferred(slot, now)).or_else(|| unwell_before(slot, slot.serving()?))
            }
            State::Stopping => slot.occupied.clone().or_else(|| being_replaced(slot)),
            State::Done => changed_while_held(slot, now),
            State::Stopped => None,
        }
    }

    /// A replacement is due and does not happen: what is in the way.
    fn deferred(slot: &Slot, now: Now) -> Option<String> {
        let run = slot.serving()?;
        let why = Self::outdated(slot, run, now);
        let due = (!why.is_empty()).then(|| reasons(&why, run.unwell.as_ref()));
        if let Some(by) = &run.traced {
            let due = due.map(|due| format!(": {due}")).unwrap_or_default();
            return Some(format!("not replaced while {by} is attached{due}"));
        }
        if let Ports::Held(what) = &slot.ports {
            return Some(format!("not replaced: {what}"));
        }
        if let Some(what) = &slot.overlap_why {
            return Some(format!("new run not ready: {what}"));
        }
        let expired = run.lease.as_ref().is_some_and(|on| slot.rotates() && on.expired(now));
        match (&slot.refused, &slot.hold) {
            (_, Some(hold)) if expired => {
                Some(format!("{}; credentials expired; release to renew", super::command::held_for(hold, now)))
            }
            (Some(refused), _) => Some(refused.refusal.message.clone()),
            (None, Some(_)) => due.map(|due| format!("to be replaced once released: {due}")),
            (None, None) => due.map(|due| format!("about to be replaced: {due}")),
        }
    }
}

/// What a service that is wanted and has no run waits for.
#[derive(Clone, Copy)]
pub(super) enum Waits<'a> {
    Credentials,
    Dependency(Unmet<'a>),
    /// Somebody else has it: the sentence; `None`: that is being asked.
    Port(Option<&'a str>),
    /// It starts now.
    Nothing,
}

/// Somebody else runs it, and nothing is left of a run from before that was so.
pub(super) fn of_external(slot: &Slot) -> bool {
    slot.entry.external() && slot.runs.is_empty()
}

fn startable(slot: &Slot, now: Now) -> bool {
    slot.held.as_ref().is_some_and(|held| held.startable(now))
}

fn running(slot: &Slot, now: Now) -> String {
    let mut parts = vec![match slot.serving() {
        Some(run) if run.unwell.is_some() => "unhealthy".to_owned(),
        Some(_) | None => "ready".to_owned(),
    }];
    parts.extend(slot.hold.as_ref().map(|hold| super::command::held_for(hold, now)));
    format!("running ({})", parts.join(", "))
}

/// `credentials, unhealthy: connection refused`
fn reasons(why: &[Reason], unwell: Option<&String>) -> String {
    let words = |reason: &Reason| match (reason, unwell) {
        (Reason::Unhealthy, Some(what)) => format!("unhealthy: {what}"),
        (reason, _) => reason.to_string(),
    };
    why.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn unwell_before(slot: &Slot, run: &Run) -> Option<String> {
    let (count, what) = slot.unwell.as_ref().filter(|_| run.why.contains(&Reason::Unhealthy))?;
    Some(match count {
        1 => format!("the run before was unhealthy: {what}"),
        _ => format!("the last {count} runs were unhealthy: {what}"),
    })
}

fn being_replaced(slot: &Slot) -> Option<String> {
    let stopping = slot.runs.iter().find_map(|run| run.stopping.as_ref())?;
    match &stopping.why {
        StopWhy::Replaced(why) => Some(format!("to be replaced: {}", reasons(why, None))),
        StopWhy::Asked | StopWhy::Leftover => None,
    }
}

/// What would start it again, if it were not held.
fn changed_while_held(slot: &Slot, now: Now) -> Option<String> {
    let hold = slot.hold.as_ref().filter(|_| !slot.reasons.is_empty())?;
    Some(format!("{}: {}", super::command::held_for(hold, now), reasons(&slot.reasons, None)))
}

/// `run 7 is starting: 127.0.0.1:23711: connection refused`
fn beginning(slot: &Slot) -> Option<String> {
    let run = slot.successor()?;
    let lacks = run.not_ready.as_ref().map(|what| format!(": {what}")).unwrap_or_default();
    Some(format!("run {} is starting{lacks}", run.number))
}

fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

fn trouble(slot: &Slot) -> Option<String> {
    slot.last_trouble.clone().or_else(|| slot.last_exit.map(|exit| format!("the last run ended with {exit}")))
}

/// What it failed of, and why it is not tried again.
fn failed(slot: &Slot) -> Option<String> {
    let gave_up = slot.entry.max_restarts.filter(|&max| slot.crashes.count > max);
    let gave_up = gave_up.map(|max| format!("gave up after {} crashes (max_restarts = {max})", slot.crashes.count));
    both(slot.last_trouble.clone(), gave_up).or_else(|| trouble(slot))
}

fn stopping(slot: &Slot, now: Now) -> String {
    if let Some(by) = slot.occupied.as_ref().filter(|_| slot.runs.is_empty()) {
        return format!("stopping ({by})");
    }
    let run: Option<&Run> = slot.runs.iter().find(|run| run.stopping.is_some());
    let Some((run, stopping)) = run.and_then(|run| run.stopping.as_ref().map(|stopping| (run, stopping))) else {
        return "stopping (what it left behind)".into();
    };
    let since = Secs(now.mono.since(stopping.since));
    if stopping.draining {
        return format!("draining {since}, {} at most", Secs(stopping.deadline.since(stopping.since)));
    }
    if run.stuck() {
        return format!("stopping {since}, survives SIGKILL");
    }
    match stopping.deadline.since(now.mono) {
        Duration::ZERO => format!("stopping {since}, SIGKILL sent"),
        left if now.mono.since(stopping.since) >= Duration::from_secs(1) => {
            format!("stopping {since}, SIGKILL in {}", round_up(left))
        }
        _ => format!("stopping {since}"),
    }
}

/// A wait is told in whole seconds, never as zero while it lasts.
pub(super) fn round_up(wait: Duration) -> Secs {
    let ms = millis(wait);
    Secs(Duration::from_secs(u64::try_from((ms + 999) / 1000).unwrap_or(0)))
}
