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
pub(super) struct Tally(Mutex<Told>);

#[derive(Default)]
struct Told {
    stats: Stats,
    /// When those who wait were accepted.
    since: BTreeMap<u64, Duration>,
    next: u64,
    /// When the worst was taken last: what was waited before is told.
    taken: Duration,
}

impl Tally {
    pub(super) fn now(&self) -> Stats {
        locked(&self.0).stats.clone()
    }

    pub(super) fn take_worst(&self) -> Duration {
        let now = monotonic();
        let mut told = locked(&self.0);
        let oldest = told.since.values().min().map(|since| now.saturating_sub(*since.max(&told.taken)));
        told.taken = now;
        std::mem::take(&mut told.stats.worst).max(oldest.unwrap_or_default())
    }

    pub(super) fn accepted(self: &Arc<Self>) -> Waiting {
        let mut told = locked(&self.0);
        told.stats.accepted += 1;
        told.stats.waiting += 1;
        told.next += 1;
        let number = told.next;
        told.since.insert(number, monotonic());
        Waiting(Arc::clone(self), number)
    }

    pub(super) fn gave_up(&self) {
        locked(&self.0).stats.given_up += 1;
    }
}

/// Counts one who waits, until it is dropped.
pub(super) struct Waiting(Arc<Tally>, u64);

impl Waiting {
    pub(super) fn connected(self, run: u32, waited: Duration) -> Open {
        let mut told = locked(&self.0.0);
        *told.stats.open.entry(run).or_default() += 1;
        let untold = waited.min(monotonic().saturating_sub(told.taken));
        told.stats.worst = told.stats.worst.max(untold);
        Open(Arc::clone(&self.0), run)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut told = locked(&self.0.0);
        told.stats.waiting -= 1;
        told.since.remove(&self.1);
    }
}

/// Counts one that is open, until it is dropped.
pub(super) struct Open(Arc<Tally>, u32);

impl Drop for Open {
    fn drop(&mut self) {
        let stats = &mut locked(&self.0.0).stats;
        if let Some(count) = stats.open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                stats.open.remove(&self.1);
            }
        }
    }
}

/// Numbers stay true when somebody panicked beside them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
