//! The manifest read again while the project is up: what that changes, and how it is put in force. `reload` and a second
//! `up` take this one road.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use super::begin;
use super::clocks::now;
use super::system;
use super::world::{Inherited, World};
use crate::control::api::{Failed, FailedKind, Handed, ReloadRequest, Reloaded};
use crate::manifest::{Loaded, Name, Service};
use crate::supervisor::{By, Command, RunId, State};

type Services = BTreeMap<Name, Arc<Service>>;

impl World {
    pub(super) fn reload(&mut self, by: &By, request: ReloadRequest) -> Result<Reloaded, Failed> {
        self.not_going()?;
        let env = request.environment.as_ref().map_or(&**self.inherited.env, |handed| &handed.env);
        let loaded = self.read_again(env)?;
        let mut reloaded = compare(&self.manifest.services, &loaded.manifest.services);
        if loaded.manifest.aws != self.manifest.aws {
            reloaded.notes.push("`[aws]` has changed".to_owned());
        }
        if loaded.manifest.access != self.manifest.access {
            reloaded.notes.push("`[access]` has changed".to_owned());
        }
        reloaded.notes.extend(loaded.warnings.iter().map(|warning| warning.title().to_owned()));
        if request.dry_run {
            return Ok(reloaded);
        }
        let services = self.to_start(&reloaded, &loaded);
        self.adopt_manifest(by, loaded, request.environment);
        if !services.is_empty() {
            self.accept(by, request.request, Command::Start { services, no_deps: false }, None)?;
        }
        Ok(reloaded)
    }

    /// What is new is started as it would be by `up`, and what had failed for good has a new meaning to try. What a person
    /// has stopped stays so.
    fn to_start(&self, reloaded: &Reloaded, loaded: &Loaded) -> Vec<Name> {
        let autostart = |name: &&String| loaded.manifest.services.get(name.as_str()).is_some_and(|s| s.autostart);
        let failed = |name: &&String| self.supervisor.view(now(), name).is_some_and(|view| view.state == State::Failed);
        let added = reloaded.added.iter().filter(autostart);
        added.chain(reloaded.changed.iter().filter(failed)).map(|name| Name::new(name)).collect()
    }

    pub(super) fn not_going(&self) -> Result<(), Failed> {
        if self.supervisor.shutting_down() {
            return Err(Failed::new(FailedKind::Failed, "devsup is shutting down").hint("devsup up, when it has ended"));
        }
        Ok(())
    }

    /// Changes nothing: a manifest with an error is only said.
    pub(super) fn read_again(&self, env: &[(OsString, OsString)]) -> Result<Loaded, Failed> {
        let loaded = begin::load(&self.brought.manifest, env, self.brought.insecure)?;
        if self.brought.system {
            system::check(&loaded)?;
        }
        Ok(loaded)
    }

    /// From now on this is the manifest, and the environment that was handed over is what runs start from.
    pub(super) fn adopt_manifest(&mut self, by: &By, loaded: Loaded, handed: Option<Handed>) {
        let before = self.aws();
        let env = handed.as_ref().map_or(&**self.inherited.env, |handed| &handed.env);
        for (given, own) in [("DEVSUP_PROFILE", &mut self.brought.profile), ("DEVSUP_REGION", &mut self.brought.region)]
        {
            if let Some(given) = Inherited::lookup(env, given).filter(|given| !given.is_empty()) {
                *own = Some(given);
            }
        }
        self.manifest = loaded.manifest;
        self.open_to_groups();
        self.renew_sandbox();
        let aws_changed = self.aws() != before;
        if aws_changed {
            self.region = self.aws().region;
        }
        let adopted = self.adopt(by, handed);
        if aws_changed && !adopted {
            self.make_base();
        }
        self.loaded();
        self.bound_logs();
    }

    /// Who besides the owner may come in.
    pub(super) fn open_to_groups(&self) {
        if self.brought.system {
            self.rules.set(system::groups(&self.manifest.access));
        }
    }

    /// Tells the supervisor the manifest, with the numbers of the runs found on disk.
    pub(super) fn loaded(&mut self) {
        self.keep_numbers();
        let known = |name: &Name| RunId {
            service: name.clone(),
            number: crate::logs::last_run(&self.brought.folder.service_logs(name.as_str())),
        };
        self.lent.keep(&self.manifest.services);
        // Of the others the supervisor counts the runs itself.
        let new = self.manifest.services.keys().filter(|name| !self.supervisor.knows(name.as_str()));
        let known = new.map(known).collect();
        let services = self.manifest.services.values().cloned().collect();
        self.step(crate::supervisor::Event::Loaded { services, known });
        self.look_for_occupiers();
        self.ask_externals();
        self.look_at_files();
    }
}

/// By meaning: comments and the order of keys are none.
fn compare(before: &Services, after: &Services) -> Reloaded {
    let mut reloaded = Reloaded::default();
    for (name, service) in after {
        let list = match before.get(name) {
            None => &mut reloaded.added,
            Some(old) if old != service => &mut reloaded.changed,
            Some(_) => &mut reloaded.untouched,
        };
        list.push(name.to_string());
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    reloaded.removed = gone.map(ToString::to_string).collect();
    reloaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_in_one_list() {
        let services = |all: &[(&str, bool)]| -> Services {
            let service = |(name, autostart): &(&str, bool)| {
                let service = Service { autostart: *autostart, ..Service::of(*name, None, "/") };
                (Name::new(name), Arc::new(service))
            };
            all.iter().map(service).collect()
        };
        let found = compare(
            &services(&[("a", true), ("b", true), ("c", true)]),
            &services(&[("b", false), ("c", true), ("d", true)]),
        );
        let lists = [found.added, found.changed, found.removed, found.untouched];
        assert_eq!(lists, [["d"], ["b"], ["a"], ["c"]]);
    }
}
