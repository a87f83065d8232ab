//! The bounds of the logs, kept beside the loop: to look into the folders and to delete takes as long as the disk does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::world::World;
use crate::logs::{Bounds, retain};
use crate::manifest::{Logs, Name};
use crate::supervisor::RunId;
use crate::sys::clock::monotonic;
use crate::sys::files;

/// Unless the manifest says so.
const LOGS_IN_ALL: u64 = 2 * 1024 * 1024 * 1024;
/// However many files are begun meanwhile, the folders are looked into once: after a pause of twice the time it took, within these.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Ends with the daemon, without being waited for: what is left over then goes at the next start.
pub(super) struct Retaining(Arc<Desk>);

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// There is something to look at.
    wanted: bool,
    /// `logs.total` of each service, and `[logs] max_total`.
    totals: BTreeMap<Name, u64>,
    max_total: Option<u64>,
    /// Whose keepers may write.
    live: BTreeMap<Name, BTreeSet<u32>>,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be kept, as soon as there is something to look at.
    fn next(&self, logs: &Path) -> Bounds {
        let mut state = self.state();
        while !state.wanted {
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = false;
        let (services, max_total) = (state.totals.clone(), state.max_total);
        drop(state);
        let disk = || LOGS_IN_ALL.min(files::disk_size(logs).map_or(u64::MAX, |disk| disk / 10));
        // Of a service that is no longer in the manifest the logs are kept as of any other.
        Bounds { services, others: Logs::default().total, in_all: max_total.unwrap_or_else(disk) }
    }

    fn live(&self, service: &str) -> BTreeSet<u32> {
        self.state().live.get(service).cloned().unwrap_or_default()
    }
}

impl Retaining {
    pub(super) fn begin(logs: PathBuf) -> std::io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let theirs = Arc::clone(&desk);
        thread::Builder::new().name("retain".into()).spawn(move || keep(&logs, &theirs))?;
        Ok(Self(desk))
    }

    /// A file was begun, or one that was kept for its run need not be any more.
    pub(super) fn look(&self) {
        self.0.state().wanted = true;
        self.0.told.notify_one();
    }

    /// Before its first file is there.
    pub(super) fn begins(&self, run: &RunId) {
        self.0.state().live.entry(run.service.clone()).or_default().insert(run.number);
    }

    pub(super) fn ended(&self, run: &RunId) {
        if let Some(live) = self.0.state().live.get_mut(&run.service) {
            live.remove(&run.number);
        }
        self.look();
    }
}

fn keep(logs: &Path, desk: &Desk) {
    let mut last = None;
    loop {
        let bounds = desk.next(logs);
        let begun = monotonic();
        let trouble = retain(logs, &bounds, &|service| desk.live(service)).err().map(|error| error.to_string());
        if let Some(error) = trouble.as_ref().filter(|_| trouble != last) {
            tracing::warn!(error, "old logs could not be removed");
        }
        last = trouble;
        thread::sleep((2 * monotonic().saturating_sub(begun)).clamp(PAUSE.0, PAUSE.1));
    }
}

impl World {
    /// As the manifest says it now.
    pub(super) fn bound_logs(&self) {
        let totals = self.manifest.services.values().map(|one| (one.name.clone(), one.logs.total)).collect();
        let mut state = self.retaining.0.state();
        (state.totals, state.max_total) = (totals, self.manifest.logs_max_total);
        drop(state);
        self.retaining.look();
    }
}
