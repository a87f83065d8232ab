//! Decides everything: what runs, on which lease, when it is replaced, in which order. Pure: no I/O, clock, randomness
//! or secret; see the crate's page for the picture.

mod event;
mod time;
mod view;

pub use event::{
    AskId, By, Command, Effect, Event, Exit, Happening, Lease, LeaseId, Note, Reason, Refusal, RunId, StopWhy,
};
pub use time::{Boot, Mono, Now, Wake, Wall};
pub use view::{Held, LeaseView, State, View, Want};

/// The whole of devsup's behaviour, as a state that facts are put into and effects come out of.
#[derive(Debug)]
pub struct Supervisor {}

impl Supervisor {
    /// `seed` is the only source of jitter.
    pub fn new(_seed: u64) -> Self {
        Self {}
    }

    /// Records one fact, then reconciles every service. Calling it again at the same instant with [`Event::Woke`] does nothing.
    #[must_use = "effects must be carried out"]
    pub fn step(&mut self, _now: Now, _event: Event) -> Vec<Effect> {
        Vec::new()
    }

    /// The earliest instant at which [`Supervisor::step`] has something to do though nothing happened.
    pub fn next_wake(&self, _now: Now) -> Wake {
        Wake::default()
    }

    /// All services, in name order.
    pub fn views(&self, _now: Now) -> Vec<View> {
        Vec::new()
    }

    pub fn view(&self, _now: Now, _service: &str) -> Option<View> {
        None
    }

    /// The lease the next run of this service would start on: what `exec` and `env` hand out.
    pub fn held_lease(&self, _service: &str) -> Option<LeaseId> {
        None
    }

    /// Shutdown was asked for.
    pub fn shutting_down(&self) -> bool {
        false
    }
}
