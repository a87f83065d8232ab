//! State into sentences: what `ps` shows, why it is so, and what happens next. Derived at every look, never stored.

use std::time::Duration;

use super::Supervisor;
use super::lease::{Held as Credentials, millis};
use super::service::{Ended, Run, Slot};
use super::time::{Mono, Now};
use super::view::{Held, LeaseView, State, View, Want};
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
            }
        }
    }

    fn state(slot: &Slot, now: Now) -> State {
        if let Some(run) = slot.serving() {
            return if run.ready.is_some() { State::Running } else { State::Starting };
        }
        if !slot.runs.is_empty() || slot.occupied.is_some() && slot.active() {
            return State::Stopping;
        }
        match (slot.want, slot.ended) {
            (_, Some(Ended::Done(_))) => State::Done,
            (_, Some(Ended::Failed(_))) => State::Failed,
            (Want::Down, None) => State::Stopped,
            (Want::Up, None) if slot.crashes.until.is_some_and(|until| until > now.mono) => State::Backoff,
            (Want::Up, None) => State::Waiting,
        }
    }

    fn explain(&self, slot: &Slot, now: Now) -> View {
        let state = Self::state(slot, now);
        let newest = slot.serving().or_else(|| slot.runs.last());
        let on = newest.and_then(|run| run.lease.as_ref()).or(slot.held.as_ref());
        View {
            name: slot.name().clone(),
            want: slot.want,
            state,
            ready: state == State::Running,
            status: self.status(slot, state, now),
            why: self.why(slot, state, now),
            next: Self::next(slot, state, now),
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
            said: None,
            external: slot.entry.external(),
            overdue: false,
        }
    }

    fn status(&self, slot: &Slot, state: State, now: Now) -> String {
        let so_far = |since: Mono| Secs(now.mono.since(since));
        match state {
            State::Running => match &slot.hold {
                Some(hold) => format!("running (ready, {})", super::command::held_for(hold, now)),
                None => "running (ready)".into(),
            },
            State::Starting => format!("starting {}", so_far(slot.serving().map_or(slot.seen.2, |run| run.spawned))),
            State::Stopping => stopping(slot, now),
            State::Backoff => {
                let wait = slot.crashes.until.map_or(Duration::ZERO, |until| until.since(now.mono));
                format!("backoff, again in {} (crash {})", round_up(wait), slot.crashes.count)
            }
            State::Waiting => self.waiting(slot, now),
            State::Failed => match slot.ended {
                Some(Ended::Failed(Some(exit))) => format!("failed: {exit}"),
                Some(Ended::Failed(None) | Ended::Done(_)) | None => "failed: did not start".into(),
            },
            State::Done => "done".into(),
            State::Stopped => "stopped".into(),
        }
    }

    fn waiting(&self, slot: &Slot, now: Now) -> String {
        let without_lease = slot.entry.needs_lease() && !slot.held.as_ref().is_some_and(|held| held.startable(now));
        match &slot.refused {
            Some(refused) if without_lease => format!("waiting for credentials: {}", refused.refusal.code),
            Some(_) | None if without_lease || slot.wait_fresh.is_some() => "waiting for credentials".into(),
            Some(_) | None => match self.waits_for(slot) {
                Some(dependency) => format!("waiting for {dependency}"),
                None => "waiting to start".into(),
            },
        }
    }

    fn why(&self, slot: &Slot, state: State, now: Now) -> Option<String> {
        if let Some(run) = slot.runs.iter().find(|run| run.stuck()) {
            return Some(format!("survives SIGKILL: {}", run.survivors.join(", ")));
        }
        match state {
            State::Waiting => match (&slot.refused, self.waits_for(slot)) {
                (Some(refused), _) => Some(refused.refusal.message.clone()),
                (None, Some(dependency)) => {
                    let view = self.slot(dependency).map(|slot| self.status(slot, Self::state(slot, now), now))?;
                    Some(format!("{dependency} is {view}"))
                }
                (None, None) => None,
            },
            State::Backoff | State::Failed => slot
                .last_trouble
                .clone()
                .or_else(|| slot.last_exit.map(|exit| format!("the last run ended with {exit}"))),
            State::Running | State::Starting => Self::deferred(slot, now),
            State::Stopping => slot.occupied.clone(),
            State::Stopped | State::Done => None,
        }
    }

    /// A replacement is due and does not happen: what is in the way.
    fn deferred(slot: &Slot, now: Now) -> Option<String> {
        let run = slot.serving()?;
        if let Some(by) = &run.traced {
            return Some(format!("not replaced while {by} is attached"));
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
            (None, _) => {
                let why = Self::outdated(slot, run, now);
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                let word = if slot.hold.is_some() { "to be replaced once released" } else { "about to be replaced" };
                (!why.is_empty()).then(|| format!("{word}: {}", why.join(", ")))
            }
        }
    }

    fn next(slot: &Slot, state: State, now: Now) -> Option<String> {
        let asks_again = || {
            let refused = slot.refused.as_ref()?;
            let wait = round_up(refused.retry_at.since(now.mono));
            Some(format!("asks again in {wait}, or `devsup creds {} --refresh`", slot.name()))
        };
        match state {
            State::Waiting | State::Starting => asks_again(),
            State::Running => asks_again().or_else(|| {
                let run = slot.serving()?;
                let on = run.lease.as_ref().filter(|_| slot.rotates())?;
                if slot.hold.is_some() {
                    return Some(format!("not replaced until `devsup release {}`", slot.name()));
                }
                Some(format!("replaced with fresh credentials in {}", Secs(on.due(now, &slot.entry).since(now.boot))))
            }),
            State::Backoff => {
                let wait = slot.crashes.until.map_or(Duration::ZERO, |until| until.since(now.mono));
                Some(format!("starts again in {}, or `devsup restart {}`", round_up(wait), slot.name()))
            }
            State::Failed => Some(format!("`devsup restart {}` tries again", slot.name())),
            State::Stopping if slot.active() => Some("starts when the tree is empty".into()),
            State::Stopping | State::Stopped | State::Done => None,
        }
    }

    fn lease_view(slot: &Slot, on: &Credentials, now: Now) -> LeaseView {
        let to_due = slot.rotates().then(|| on.due(now, &slot.entry).since(now.boot));
        LeaseView {
            id: on.lease.id,
            lease: on.lease.clone(),
            rotates: to_due.map(|wait| now.wall + wait),
            left_ms: on.left_ms(now),
        }
    }

    fn credentials(slot: &Slot, on: Option<&Credentials>, now: Now) -> String {
        if !slot.entry.needs_lease() {
            return "–".into();
        }
        let code = slot.refused.as_ref().map(|refused| refused.refusal.code.as_str());
        let Some(on) = on else {
            return match code {
                Some(code) => code.to_owned(),
                None if slot.asking.is_some() => "asking".into(),
                None => "–".into(),
            };
        };
        let left = on.left_ms(now);
        let abs = Secs(Duration::from_millis(left.unsigned_abs()));
        if left <= 0 {
            return match code {
                Some(code) => format!("EXPIRED {abs} ago: {code}"),
                None => format!("EXPIRED {abs} ago"),
            };
        }
        if let Some(code) = code {
            return format!("expires in {abs}: {code}");
        }
        let due = on.due(now, &slot.entry).since(now.boot);
        if !slot.rotates() {
            return format!("{abs} left");
        }
        if due.is_zero() || slot.hold.is_some() {
            return format!("{abs} left");
        }
        format!("{abs} left, rotates in {}", Secs(due))
    }
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
fn round_up(wait: Duration) -> Secs {
    let ms = millis(wait);
    Secs(Duration::from_secs(u64::try_from((ms + 999) / 1000).unwrap_or(0)))
}
