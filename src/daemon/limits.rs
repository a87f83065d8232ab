//! `limits` that this machine cannot keep are said when a person asks for the service, not by a run that fails again and
//! again.

use std::collections::BTreeSet;

use super::world::World;
use crate::control::api::{Failed, FailedKind};
use crate::manifest::{Manifest, Name};

impl World {
    /// Why these services, and what they need, cannot be started here.
    pub(super) fn limits_refused(&mut self, manifest: &Manifest, names: &[Name], no_deps: bool) -> Option<Failed> {
        let mut next: Vec<&Name> = names.iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = next.pop() {
            let Some(service) = manifest.services.get(name).filter(|_| seen.insert(name)) else { continue };
            if let Some(why) = self.cgroups.refuses(&service.limits) {
                let error = format!("service `{name}`: {why}");
                let mend = "take the limit out, or start devsup by a systemd unit with `Delegate=memory pids`";
                return Some(Failed::new(FailedKind::Failed, error).hint(mend));
            }
            if !no_deps {
                next.extend(service.depends_on.keys());
            }
        }
        None
    }
}
