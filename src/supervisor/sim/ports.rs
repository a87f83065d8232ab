//! Ports that somebody else has, callers that stay; and effects in words.

use super::world::World;
use crate::manifest::Name;
use crate::supervisor::{Effect, Event, RunId};

impl World {
    /// One port in ten is somebody else's for a while.
    pub(super) fn claim(&mut self, service: &Name) {
        let told = self.rng.next() % 3;
        let held = self.rng.next().is_multiple_of(10);
        if held {
            self.ledger.trouble(service, self.now);
            let trouble = Some("127.0.0.1:8001 is held by pid 812 (python3) of bob".to_owned());
            self.later_once(told, Event::Ports { service: service.clone(), trouble });
        }
        let free = if held { told + self.rng.next() % 60_000 } else { told };
        let service = service.clone();
        let again = held && self.rng.next().is_multiple_of(2);
        let event = if again { Event::PortsAgain { service } } else { Event::Ports { service, trouble: None } };
        self.later_once(free, event);
    }

    /// Some callers never leave.
    pub(super) fn drain(&mut self, run: RunId) {
        if let Some(tree) = self.trees.get_mut(&run) {
            tree.stop_sent = true;
        }
        if !self.rng.next().is_multiple_of(5) {
            let left = self.rng.next() % 12_000;
            self.later(left, Event::Drained { run });
        }
    }
}

pub(super) fn words(effect: &Effect) -> String {
    match effect {
        Effect::Ask { ask, service } => format!("ask {} for {}", ask.0, service.name),
        Effect::Spawn { run, lease, why, service } => {
            format!("spawn {run} on {lease:?} {why:?} {:?} ready {:?}", service.replace, service.ready)
        }
        Effect::Note(note) => format!("note {:?} {:?}", note.service, note.what),
        Effect::Claim { service } => format!("claim {}", service.name),
        Effect::Forget { .. }
        | Effect::Look { .. }
        | Effect::Unclaim { .. }
        | Effect::Drain { .. }
        | Effect::Stop { .. }
        | Effect::Kill { .. }
        | Effect::Finished => format!("{effect:?}"),
    }
}
