//! The bounds of the logs, kept beside the loop: to look into the folders and to delete takes as long as the disk does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::world::World;
use crate::logs::{Bounds, Retention};
use crate::manifest::{Logs, Name};
use crate::sys::files;

const LOGS_IN_ALL: u64 = 2 * 1024 * 1024 * 1024;
/// However many files are begun in it, the folders are looked into once.
const PAUSE: Duration = Duration::from_millis(100);

/// Which services are looked into; `None` is all.
type Which = Option<Name>;

/// Ends with the daemon, or before it: what is left over then goes at the next start.
pub(super) struct Retaining(Sender<(Which, Bounds)>);

impl Retaining {
    pub(super) fn begin(retention: Retention) -> std::io::Result<Self> {
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("retain".into()).spawn(move || keep(retention, &told))?;
        Ok(Self(tell))
    }
}

fn keep(mut retention: Retention, told: &Receiver<(Which, Bounds)>) {
    let mut last = None;
    while let Ok(first) = told.recv() {
        let mut bounds = Bounds::default();
        let mut services = Some(BTreeSet::new());
        for (which, newer) in std::iter::once(first).chain(told.try_iter()) {
            bounds = newer;
            services = services.zip(which).map(|(mut services, one)| {
                services.insert(one);
                services
            });
        }
        let kept = match services {
            Some(services) => retention.bound_some(&services, &bounds),
            None => retention.bound_all(&bounds),
        };
        let trouble = kept.err().map(|error| error.to_string());
        if let Some(error) = trouble.as_ref().filter(|_| trouble != last) {
            tracing::warn!(error, "old logs could not be removed");
        }
        last = trouble;
        thread::sleep(PAUSE);
    }
}

impl World {
    /// After this service began or ended a file; of all, after the manifest was read.
    pub(super) fn retain(&self, which: Option<&Name>) {
        let mut live: BTreeMap<Name, BTreeSet<u32>> = BTreeMap::new();
        for run in self.runs.keys() {
            live.entry(run.service.clone()).or_default().insert(run.number);
        }
        let in_all = self.manifest.logs_max_total.unwrap_or_else(|| {
            let disk = files::disk_size(&self.brought.folder.logs());
            LOGS_IN_ALL.min(disk.map_or(u64::MAX, |disk| disk / 10))
        });
        let services = self.manifest.services.values().map(|one| (one.name.clone(), one.logs.total)).collect();
        // Of a service that is no longer in the manifest the logs are kept as of any other.
        let bounds = Bounds { live, services, others: Logs::default().total, in_all };
        // It is there as long as we are, unless it panicked; the logs grow then, and nothing else suffers.
        drop(self.retaining.0.send((which.cloned(), bounds)));
    }
}
