//! What is told of each port. Written by the forwarder's thread, read by others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::PortId;
use crate::sys::clock::monotonic;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections of each run, without those that were told the end at rest.
    pub open: BTreeMap<u32, usize>,
    /// Accepted, and not connected to a run.
    pub waiting: usize,
    /// Since the port was opened.
    pub accepted: u64,
    /// Closed because no run took them within `wait`.
    pub given_up: u64,
    /// See `take_worst`.
    pub worst: Duration,
}

/// The tallies of the ports that are open.
#[derive(Default)]
pub(super) struct Board(Mutex<BTreeMap<PortId, Arc<Tally>>>);

impl Board {
    pub(super) fn begin(&self, port: &PortId) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        locked(&self.0).insert(port.clone(), Arc::clone(&tally));
        tally
    }

    pub(super) fn end(&self, port: &PortId) {
        locked(&self.0).remove(port);
    }

    pub(super) fn of(&self, port: &PortId) -> Option<Arc<Tally>> {
        locked(&self.0).get(port).cloned()
    }
}

/// Of one port, from its opening to the end of its last connection.
#[derive(Default)]
pub(super) struct Tally(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    stats: Stats,
    /// Since when those wait who found nowhere to go, by their number.
    since: BTreeMap<u64, Duration>,
}

impl Tally {
    pub(super) fn now(&self) -> Stats {
        locked(&self.0).stats.clone()
    }

    /// Also of those who wait still: a run that has just become ready is told of before its first caller reaches it. What they
    /// wait from now on is for the next to take.
    pub(super) fn take_worst(&self) -> Duration {
        let (mut noted, now) = (locked(&self.0), monotonic());
        let waits = noted.since.values_mut().map(|since| now.saturating_sub(std::mem::replace(since, now)));
        let longest = waits.max().unwrap_or_default();
        std::mem::take(&mut noted.stats.worst).max(longest)
    }

    pub(super) fn accepted(self: &Arc<Self>) -> Waiting {
        let mut noted = locked(&self.0);
        noted.stats.accepted += 1;
        noted.stats.waiting += 1;
        Waiting { tally: Arc::clone(self), number: noted.stats.accepted, accepted: monotonic() }
    }

    /// `waited`: in vain.
    pub(super) fn gave_up(&self, waited: Duration) {
        let stats = &mut locked(&self.0).stats;
        stats.given_up += 1;
        stats.worst = stats.worst.max(waited);
    }
}

/// Counts one who waits, until it is dropped.
pub(super) struct Waiting {
    tally: Arc<Tally>,
    number: u64,
    accepted: Duration,
}

impl Waiting {
    /// There was nowhere to go at once.
    pub(super) fn must_wait(&self) {
        locked(&self.tally.0).since.entry(self.number).or_insert(self.accepted);
    }

    pub(super) fn connected(self, run: u32) -> Open {
        let mut noted = locked(&self.tally.0);
        *noted.stats.open.entry(run).or_default() += 1;
        if let Some(since) = noted.since.get(&self.number) {
            noted.stats.worst = noted.stats.worst.max(monotonic().saturating_sub(*since));
        }
        Open(Arc::clone(&self.tally), run)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut noted = locked(&self.tally.0);
        noted.since.remove(&self.number);
        noted.stats.waiting -= 1;
    }
}

/// Counts one that is open, until it is dropped.
pub(super) struct Open(Arc<Tally>, u32);

impl Drop for Open {
    fn drop(&mut self) {
        let open = &mut locked(&self.0.0).stats.open;
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

/// Numbers stay true when somebody panicked beside them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
