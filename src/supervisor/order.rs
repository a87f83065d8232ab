//! The lane in which credentials are rotated one at a time, in the order of expiry and of dependencies.

use std::time::Duration;

use super::Supervisor;
use super::event::Reason;
use super::lease::millis;
use super::service::Slot;
use super::time::{Boot, Now};

impl Supervisor {
    /// May this service's run, due for a rotation, be replaced now?
    ///
    /// One lane, earliest expiry first; another lane opens when what is ahead would pass a deadline. An expired run waits
    /// for nobody. The two ends of a dependency edge are not replaced together, dependency first, but a deadline beats that.
    pub(super) fn lane_open(&self, at: usize, now: Now) -> bool {
        let slot = &self.slots[at];
        let Some(left) = Self::due_left(slot, now) else { return false };
        if left <= 0 || left <= pressing(slot) {
            return true;
        }
        if self.neighbour_first(slot, now) {
            return false;
        }
        let queue = self.queue(now);
        let first = queue.iter().copied().find(|&(_, other)| !self.neighbour_first(&self.slots[other], now));
        first.is_some_and(|(_, first)| first == at) && self.another_lane(&queue, now) <= 0
    }

    /// When a lane opens by time alone, if the services ahead do not get on.
    pub(super) fn lane_wake(&self, slot: &Slot, now: Now) -> Option<Boot> {
        let left = Self::due_left(slot, now)?;
        let next = [left - pressing(slot), self.another_lane(&self.queue(now), now)];
        let wait = next.into_iter().filter(|&wait| wait > 0).min()?;
        Some(Boot(now.boot.0.saturating_add_signed(wait)))
    }

    /// Milliseconds until the lanes that are open will no longer do; zero or less: open one more.
    fn another_lane(&self, queue: &[(i64, usize)], now: Now) -> i64 {
        let rotating: Vec<i64> = self.slots.iter().filter_map(|slot| remaining(slot, now)).collect();
        let Ok(lanes) = i64::try_from(rotating.len()) else { return 0 };
        if lanes == 0 {
            return 0;
        }
        let mut ahead: i64 = rotating.iter().sum();
        let mut slack = i64::MAX;
        for &(left, at) in queue {
            let cost = millis(self.slots[at].expected_cost());
            slack = slack.min(left - pressing(&self.slots[at]) - cost - ahead / lanes);
            ahead += cost;
        }
        slack
    }

    /// Those due and free to go, earliest expiry first: (milliseconds left, index).
    fn queue(&self, now: Now) -> Vec<(i64, usize)> {
        let mut queue: Vec<(i64, usize)> = (0..self.slots.len())
            .filter_map(|at| Self::due_left(&self.slots[at], now).map(|left| (left, at)))
            .collect();
        queue.sort_unstable();
        queue
    }

    /// What is left of the lease its run lives on, if that run is due for nothing but credentials and nobody forbids it.
    fn due_left(slot: &Slot, now: Now) -> Option<i64> {
        if !slot.active()
            || slot.replacement_under_way().is_some()
            || slot.runs.len() != 1
            || slot.hold.is_some()
            || slot.occupied.is_some()
            || !Self::lease_ready(slot, now)
        {
            return None;
        }
        let run = slot.serving().filter(|run| run.traced.is_none())?;
        (Self::outdated(slot, run, now) == [Reason::Credentials])
            .then(|| run.lease.as_ref().map_or(0, |on| on.left_ms(now)))
    }

    /// The other end of an edge is being replaced, or is a dependency that is due as well.
    fn neighbour_first(&self, slot: &Slot, now: Now) -> bool {
        self.slots.iter().any(|other| {
            let below = slot.entry.depends_on.contains_key(other.name());
            let above = other.entry.depends_on.contains_key(slot.name());
            (below || above) && remaining(other, now).is_some() || below && Self::due_left(other, now).is_some()
        })
    }
}

/// A rotation has this much before its deadline in which it goes whatever else goes on.
fn pressing(slot: &Slot) -> i64 {
    let life = slot.serving().and_then(|run| run.lease.as_ref()).map_or(Duration::ZERO, super::lease::Held::life);
    millis((slot.expected_cost() + slot.entry.stop_timeout).min(life / 8))
}

/// What a replacement under way will still take, by what the last one took; `None`: none is, or none that can be waited for.
fn remaining(slot: &Slot, now: Now) -> Option<i64> {
    let replacing = slot.replacement_under_way()?;
    let stuck = slot.runs.iter().any(super::service::Run::stuck);
    (!stuck).then(|| (millis(slot.expected_cost()) - millis(now.mono.since(replacing.began))).max(0))
}
