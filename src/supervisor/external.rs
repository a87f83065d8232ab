//! Services that somebody else runs: asked whether they are there, shown and waited for; never started, stopped or
//! replaced. A check that fails for a while does not say that the service was restarted, so nobody follows its coming back.

use super::Supervisor;
use super::event::Happening;
use super::service::{Slot, There};
use super::time::Mono;
use super::view::{State, Want};
use crate::manifest::Name;

impl Supervisor {
    pub(super) fn external(&mut self, service: &Name, trouble: Option<String>) {
        let Some(slot) = self.slot_mut(service).filter(|slot| slot.entry.external()) else { return };
        let there = trouble.map_or(There::Yes, There::No);
        let wanted = slot.want == Want::Up;
        let before = std::mem::replace(&mut slot.there, there.clone());
        let news = match (before, there) {
            (There::Unknown | There::No(_), There::Yes) => Happening::Ready,
            (There::Yes, There::No(what)) => Happening::Away { what },
            // What was never there is not away; its time to come is counted.
            (There::Yes, There::Yes) | (There::Unknown | There::No(_), There::No(_)) | (_, There::Unknown) => return,
        };
        if wanted {
            self.note(service, None, news);
        }
    }

    /// Said once for each time that it is waited for.
    pub(super) fn missed(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.missed = true;
        let (name, what) = (slot.name().clone(), absence(slot).unwrap_or_default());
        self.note(&name, None, Happening::NotReadyInTime { what });
    }
}

pub(super) fn state(slot: &Slot) -> State {
    match (slot.want, &slot.there) {
        (Want::Down, _) => State::Stopped,
        (Want::Up, There::Yes) => State::Running,
        (Want::Up, There::Unknown | There::No(_)) => State::Waiting,
    }
}

/// Why it is not there; `None`: it is.
pub(super) fn absence(slot: &Slot) -> Option<String> {
    match &slot.there {
        There::Yes => None,
        There::Unknown => Some("its check has not answered yet".to_owned()),
        There::No(what) => Some(what.clone()),
    }
}

/// When it will have to be said that it is not there in time; counted from when it was first waited for.
pub(super) fn missed_at(slot: &Slot) -> Option<Mono> {
    let waits = slot.entry.external() && slot.runs.is_empty() && state(slot) == State::Waiting;
    (waits && slot.seen.0 == State::Waiting && !slot.missed).then(|| slot.seen.2 + slot.entry.ready_timeout())
}

pub(super) fn status(slot: &Slot) -> String {
    match (slot.want, &slot.there) {
        (Want::Down, _) => "not needed".into(),
        (Want::Up, There::Unknown) => "waiting for the first answer".into(),
        (Want::Up, There::Yes) => "there (external)".into(),
        (Want::Up, There::No(what)) => format!("not there: {what}"),
    }
}

/// It was waited for as long as it may take.
pub(super) fn is_missed(slot: &Slot) -> bool {
    slot.entry.external() && slot.missed && slot.runs.is_empty() && state(slot) == State::Waiting
}
