//! Decides everything: what runs, on which lease, when it is replaced, in which order. Pure: no I/O, clock, randomness
//! or secret; the daemon calls it with facts and carries its effects out.
//!
//! A run is current or it is replaced. A service has a revision; a run remembers the one it was born
//! with and is *outdated* when that is no longer the service's, or when it lives on an `env` lease that is due and a
//! fresher one is held. So `restart`, a rotation and an edited manifest take one road.
//!
//! [`Supervisor::step`]: `record` a fact, then `reconcile`: ask `decide` for each service's next move until there is none.
//! What is shown to people is derived by `explain`, never stored.
//!
//! Must never happen here: an effect that is awaited, a deadline that is polled for, a `_` arm over events or states.

mod command;
mod conditions;
mod debugger;
mod decide;
mod ends;
mod event;
mod explain;
mod explain_lease;
mod explain_next;
mod external;
mod files;
mod history;
mod jitter;
mod lease;
mod order;
mod readiness;
mod reconcile;
mod record;
mod service;
#[cfg(test)]
mod sim;
mod tenure;
#[cfg(test)]
mod tests;
mod time;
mod view;
mod wake;

use std::collections::VecDeque;
use std::time::Duration;

pub use command::only_watched;
pub use event::{
    AskId, By, Command, Effect, Event, Exit, Happening, Lease, LeaseId, Note, Reason, Refusal, RunId, StopWhy,
};
use jitter::Jitter;
use service::{Run, Slot};
pub use tenure::{Tenure, Term};
pub use time::{Boot, Mono, Now, Wake, Wall};
pub use view::{Held, LeaseView, PastRun, State, View, Want};

use crate::manifest::Name;

/// How long a shutdown waits for what SIGKILL did not end.
const SURVIVORS_WAIT: Duration = Duration::from_secs(5);

/// The whole of devsup's behaviour, as a state that facts are put into and effects come out of.
#[derive(Debug)]
pub struct Supervisor {
    /// In name order.
    slots: Vec<Slot>,
    next_ask: u64,
    /// The newest request ids: the same one twice is once.
    requests: VecDeque<String>,
    shutting_down: bool,
    finished: bool,
    jitter: Jitter,
    /// What this step has said so far.
    effects: Vec<Effect>,
}

impl Supervisor {
    /// `seed` is the only source of jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            next_ask: 0,
            requests: VecDeque::new(),
            shutting_down: false,
            finished: false,
            jitter: Jitter::new(seed),
            effects: Vec::new(),
        }
    }

    /// Records one fact, then reconciles every service. Calling it again at the same instant with [`Event::Woke`] does nothing.
    #[must_use = "effects must be carried out"]
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.record(now, event);
        self.reconcile(now);
        self.look(now);
        std::mem::take(&mut self.effects)
    }

    /// The lease a run of this service could start on now: what `exec` and `env` hand out.
    pub fn held_lease(&self, now: Now, service: &str) -> Option<LeaseId> {
        self.slot(service)?.held.as_ref().filter(|held| held.startable(now)).map(|held| held.lease.id)
    }

    /// The lease that is held while anything of it is left, though no run would be started on it any more: what those are
    /// served who ask again by themselves.
    pub fn unexpired_lease(&self, now: Now, service: &str) -> Option<LeaseId> {
        self.slot(service)?.held.as_ref().filter(|held| !held.expired(now)).map(|held| held.lease.id)
    }

    /// Is it, or was it once, in the manifest?
    pub fn knows(&self, service: &str) -> bool {
        self.slot(service).is_some()
    }

    /// Shutdown was asked for.
    pub fn shutting_down(&self) -> bool {
        self.shutting_down
    }

    fn index(&self, service: impl AsRef<str>) -> Option<usize> {
        let service = service.as_ref();
        self.slots.binary_search_by(|slot| slot.name().as_str().cmp(service)).ok()
    }

    fn slot(&self, service: impl AsRef<str>) -> Option<&Slot> {
        self.index(service).map(|at| &self.slots[at])
    }

    fn slot_mut(&mut self, service: impl AsRef<str>) -> Option<&mut Slot> {
        self.index(service).map(|at| &mut self.slots[at])
    }

    fn run_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.slot_mut(&id.service)?.run_mut(id.number)
    }

    fn note(&mut self, service: &Name, run: Option<u32>, what: Happening) {
        self.effects.push(Effect::Note(Note { service: Some(service.clone()), run, by: None, what }));
    }
}
