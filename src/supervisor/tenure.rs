//! What those may be told who ask for a service's credentials while it runs.

use std::time::Duration;

use super::Supervisor;
use super::event::{LeaseId, Refusal};
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
    /// `None`: there is no such service. Holds until the next step, or until the lease ends.
    pub fn tenure(&self, now: Now, service: &str) -> Option<Tenure> {
        let slot = self.slot(service)?;
        let lease = slot.held.as_ref().map(|held| Term {
            id: held.lease.id,
            ends: held.when_left(now, Duration::ZERO),
            ends_wall: held.lease.expires_wall,
        });
        Some(Tenure { lease, refusal: slot.refused.as_ref().map(|refused| refused.refusal.clone()) })
    }
}
