//! What those may be told who ask for a service's credentials while it runs.

use std::time::Duration;

use super::Supervisor;
use super::event::{LeaseId, Refusal, RunId};
use super::service::Former;
use super::time::{Boot, Now, Wall};

/// What is held for a service now, its secret aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The newest lease, expired or not.
    pub lease: Option<Term>,
    /// The newest question was refused.
    pub refusal: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub id: LeaseId,
    /// From then on nobody is given it.
    pub ends: Boot,
    /// The same as AWS said it.
    pub ends_wall: Wall,
}

impl Supervisor {
    /// What this run may be given. `None`: there is no such run. Holds until the next step, or until the lease ends.
    pub fn tenure(&self, now: Now, id: &RunId) -> Option<Tenure> {
        let slot = self.slot(&id.service)?;
        let run = slot.runs.iter().find(|run| run.number == id.number)?;
        let (held, refused) = match &run.former {
            Some(Former(held)) => (held.as_ref(), None),
            None => (slot.held.as_ref(), slot.refused.as_ref()),
        };
        let lease = held.map(|held| Term {
            id: held.lease.id,
            ends: held.when_left(now, Duration::ZERO),
            ends_wall: held.lease.expires_wall,
        });
        Some(Tenure { lease, refusal: refused.map(|refused| refused.refusal.clone()) })
    }
}
