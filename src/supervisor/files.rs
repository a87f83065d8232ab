//! Watched files: a change is a wish for a new run, and one more chance for a service that has given up.

use super::Supervisor;
use super::event::Reason;
use super::service::{Crashes, Slot};
use super::view::Want;
use crate::manifest::Name;

/// So many are told apart; a change of all the others is known already.
const TOLD_APART: usize = 1000;

impl Supervisor {
    pub(super) fn file_changed(&mut self, service: &Name, path: String) {
        if self.shutting_down {
            return;
        }
        let Some(slot) = self.slot_mut(service).filter(|slot| slot.want == Want::Up && !slot.entry.external()) else {
            return;
        };
        // What has never run reads its files when it starts.
        if slot.starts == 0 || slot.changed.contains(&path) || slot.changed.len() == TOLD_APART {
            return;
        }
        let known = slot.reasons.iter().find_map(|reason| {
            let Reason::FileChanged { path, more } = reason else { return None };
            Some((path.clone(), more + 1))
        });
        slot.changed.push(path.clone());
        let (path, more) = known.unwrap_or((path, 0));
        slot.ask_replacement(&Reason::FileChanged { path, more });
    }
}

/// A file changed, so that what failed, or was done, may come out otherwise now: it begins anew. A hold forbids it.
pub(super) fn begins_anew(slot: &Slot) -> bool {
    let changed = slot.reasons.iter().any(|reason| matches!(reason, Reason::FileChanged { .. }));
    let given_up = slot.ended.is_some() || slot.crashes.count > 0;
    slot.hold.is_none() && changed && given_up
}

pub(super) fn begin_anew(slot: &mut Slot) {
    slot.crashes = Crashes::default();
    slot.ended = None;
    slot.last_trouble = None;
}
