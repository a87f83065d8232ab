//! What a start waits for: the conditions of its dependencies, and in words why one does not hold. Level-triggered: a
//! condition holds now or it does not, however that came about.

use super::Supervisor;
use super::external;
use super::service::{Ended, Run, Slot};
use super::time::Now;
use super::view::{State, Want};
use crate::manifest::Condition;

/// A dependency whose condition does not hold.
#[derive(Clone, Copy)]
pub(super) struct Unmet<'a> {
    pub(super) on: &'a Slot,
    pub(super) condition: Condition,
}

impl Supervisor {
    /// The dependencies whose conditions do not hold, those first that nothing will come of by itself; none: it may start.
    ///
    /// One that a person stopped, or that has ended, does not hold up what has run before: only a first start insists on it.
    pub(super) fn waits_for<'a>(&'a self, slot: &'a Slot) -> Vec<Unmet<'a>> {
        let mut unmet: Vec<Unmet<'a>> = self.unmet(slot).collect();
        unmet.sort_by_key(|unmet| !unmet.lasts());
        unmet
    }

    /// In name order.
    pub(super) fn unmet<'a>(&'a self, slot: &'a Slot) -> impl Iterator<Item = Unmet<'a>> {
        let edges = slot.entry.depends_on.iter().filter(|_| !slot.alone);
        edges
            .filter_map(|(name, edge)| Some(Unmet { on: self.slot(name)?, condition: edge.condition }))
            .filter(|unmet| !(slot.starts > 0 && (unmet.on.want == Want::Down || unmet.on.ended.is_some())))
            .filter(|unmet| !holds(unmet.on, unmet.condition))
    }

    /// `db is starting 4s: not ready yet: connection refused`
    pub(super) fn unmet_why(&self, unmet: Unmet<'_>, now: Now) -> String {
        let (name, state) = (unmet.on.name(), Self::state(unmet.on, now));
        match (unmet.on.ended, unmet.condition) {
            (Some(Ended::Done { exit, .. }), Condition::Ready) => {
                return format!("{name} ended with {exit} before it was ready");
            }
            (None, _) if unmet.on.want == Want::Down => {
                return format!("{name} is {}, and nothing starts it by itself", self.status(unmet.on, state, now));
            }
            (Some(_) | None, _) => {}
        }
        let more = self.why(unmet.on, state, now).map(|why| format!(": {why}")).unwrap_or_default();
        let status = self.status(unmet.on, state, now);
        match state {
            State::Failed => format!("{name} {status}{more}"),
            State::Backoff => format!("{name} is in {status}{more}"),
            State::Waiting if unmet.on.entry.external() => format!("{name} is {status}"),
            State::Waiting | State::Starting | State::Running | State::Stopping | State::Stopped | State::Done => {
                format!("{name} is {status}{more}")
            }
        }
    }
}

impl Unmet<'_> {
    /// Nothing will come of waiting, unless a person does something.
    fn lasts(&self) -> bool {
        self.on.ended.is_some() || self.on.want == Want::Down
    }

    /// `waiting for db`, `waiting for migrate to complete`, `waiting for migrate, which failed: exit 1`
    pub(super) fn status(&self) -> String {
        let name = self.on.name();
        match (self.on.ended, self.condition) {
            (Some(Ended::Failed(Some(exit))), _) => format!("waiting for {name}, which failed: {exit}"),
            (Some(Ended::Failed(None)), _) => format!("waiting for {name}, which did not start"),
            (Some(Ended::Done { .. }), _) => format!("waiting for {name}, which is done and was never ready"),
            (None, _) if self.on.want == Want::Down => format!("waiting for {name}, which is stopped"),
            (None, Condition::Completed) => format!("waiting for {name} to complete"),
            (None, Condition::Started | Condition::Ready) => format!("waiting for {name}"),
        }
    }

    /// What has to happen first.
    pub(super) fn next(&self) -> String {
        let name = self.on.name();
        match (self.on.ended, self.condition) {
            (Some(Ended::Failed(_)), _) => format!("`devsup restart {name}` tries again"),
            (Some(Ended::Done { .. }), _) => {
                format!("`devsup restart {name}` tries again; for a one-shot \"completed\" is the condition")
            }
            (None, _) if self.on.want == Want::Down => format!("`devsup start {name}`"),
            (None, _) if self.on.entry.external() => format!("starts when {name} is there"),
            (None, Condition::Completed) => format!("starts when {name} has ended with exit 0"),
            (None, Condition::Started) => format!("starts when {name} has started"),
            (None, Condition::Ready) => format!("starts when {name} is ready"),
        }
    }
}

fn holds(dependency: &Slot, condition: Condition) -> bool {
    if dependency.entry.external() && dependency.runs.is_empty() {
        // What devsup does not run it never sees complete.
        return condition != Condition::Completed && external::state(dependency) == State::Running;
    }
    // Of two runs in an overlap either will do.
    let any = |is: fn(&Run) -> bool| dependency.runs.iter().any(is);
    match condition {
        Condition::Started => any(Run::is_started) || matches!(dependency.ended, Some(Ended::Done { .. })),
        Condition::Ready => any(Run::is_well) || matches!(dependency.ended, Some(Ended::Done { was_ready: true, .. })),
        Condition::Completed => matches!(dependency.ended, Some(Ended::Done { .. })),
    }
}
