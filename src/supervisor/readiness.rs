//! Ready, in time or not; well or not; and what a run says of itself. A run is ready once and for all; whether it still is
//! well is asked by its `live` check.
//!
//! ```text
//!  starting ──▶ ready ──▶ unwell ──▶ replaced (unless it is well again before that begins)
//!     └──▶ overdue: said once, left running, asked on ──▶ ready
//! ```

use super::Supervisor;
use super::event::{Happening, Reason, RunId};
use super::service::{Run, Slot};
use super::time::{Mono, Now};
use crate::manifest::Service;

impl Supervisor {
    /// Also called by reconcile for a run without a check that has lived long enough.
    pub(super) fn became_ready(&mut self, now: Now, id: &RunId) {
        let Some(slot) = self.slot_mut(&id.service) else { return };
        let Some(run) = slot.run_mut(id.number) else { return };
        if !run.live() || run.ready.is_some() {
            return;
        }
        // The word that it has started may still be on its way.
        run.started.get_or_insert(now.mono);
        run.ready = Some(now.mono);
        run.not_ready = None;
        let alone = slot.runs.len() == 1;
        if alone {
            slot.forget_overlaps();
        }
        self.note(&id.service, Some(id.number), Happening::Ready);
        if alone {
            self.replacement_ended(now, &id.service);
        }
    }

    pub(super) fn not_ready(&mut self, id: &RunId, what: String) {
        if let Some(run) = self.run_mut(id).filter(|run| run.live()) {
            run.not_ready = Some(what);
        }
    }

    /// Said once a run; it is left running, and its check goes on.
    pub(super) fn not_ready_in_time(&mut self, id: &RunId) {
        let Some(run) = self.run_mut(id) else { return };
        run.overdue = true;
        let what = lacks(run);
        self.note(&id.service, Some(id.number), Happening::NotReadyInTime { what });
    }

    pub(super) fn health(&mut self, id: &RunId, trouble: Option<String>) {
        let Some(run) = self.run_mut(id).filter(|run| run.live()) else { return };
        let before = std::mem::replace(&mut run.unwell, trouble.clone());
        match (before, trouble) {
            (None, Some(what)) => self.note(&id.service, Some(id.number), Happening::Unhealthy { what }),
            (Some(_), None) => self.note(&id.service, Some(id.number), Happening::Healthy),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    pub(super) fn says(&mut self, id: &RunId, status: String) {
        if let Some(run) = self.run_mut(id) {
            run.said = Some(status).filter(|status| !status.is_empty());
        }
    }
}

impl Slot {
    /// A run is told to go because it is unhealthy: how many in a row is that? One that was well for long begins anew.
    pub(super) fn count_unwell(&mut self, number: u32, why: &[Reason], now: Now) {
        let Some(run) = self.runs.iter().find(|run| run.number == number && why.contains(&Reason::Unhealthy)) else {
            return;
        };
        let long = run.ready.is_some_and(|at| now.mono.since(at) >= self.entry.backoff.reset_after);
        let before = self.unwell.take().filter(|_| !long);
        let what = run.unwell.clone().or_else(|| before.as_ref().map(|(_, what)| what.clone()));
        self.unwell = Some((before.map_or(0, |(count, _)| count) + 1, what.unwrap_or_default()));
    }

    /// The run beside which no other serves: whose readiness people wait for.
    fn awaited(&self) -> Option<&Run> {
        let mut live = self.runs.iter().filter(|run| run.live());
        live.next().filter(|_| live.next().is_none())
    }
}

/// What a run that is not ready lacks, as far as is known.
pub(super) fn lacks(run: &Run) -> String {
    match &run.not_ready {
        Some(what) => what.clone(),
        None if run.started.is_none() => "it has not started yet".to_owned(),
        None => "its check has not succeeded yet".to_owned(),
    }
}

/// With no readiness check, being alive for a second is being ready.
pub(super) fn ready_at(run: &Run) -> Option<Mono> {
    let due = run.ready_within.is_none() && run.is_started() && run.ready.is_none();
    due.then(|| run.started.unwrap_or(run.spawned) + Service::ALIVE)
}

/// When it will have to be said that a run is not ready in time. A new run beside a serving one is given up instead.
pub(super) fn overdue_at(slot: &Slot, run: &Run) -> Option<Mono> {
    let awaited = slot.awaited().is_some_and(|awaited| awaited.number == run.number);
    let due = awaited && run.ready.is_none() && !run.overdue;
    run.ready_within.filter(|_| due).map(|within| run.spawned + within)
}
