//! What people ask for, as wishes: a command changes what is wanted, never a process. Reconcile does the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Supervisor;
use super::event::{By, Command, Effect, Happening, Note, Reason, RunId};
use super::record::note_of_project;
use super::service::{Hold, Slot};
use super::time::Now;
use super::view::Want;
use crate::manifest::{Name, Secs};

/// A `restart` waits so long for fresh credentials, then takes the held ones and says so.
const FRESH_WITHIN: Duration = Duration::from_secs(5);

/// Why nothing can be asked of an external service.
pub fn only_watched(name: &Name) -> String {
    format!("service `{name}`: devsup does not run it, it only watches it")
}

impl Supervisor {
    /// Why a command is not carried out, for the person who gave it; `None`: it will be. Nothing is changed by asking.
    pub fn refuses(&self, by: &By, command: &Command) -> Option<String> {
        let named: &[Name] = match command {
            Command::Start { services, .. }
            | Command::Stop { services, .. }
            | Command::Restart { services, .. }
            | Command::Refresh { services } => services,
            Command::Hold { service, .. } | Command::Release { service } => std::slice::from_ref(service),
            Command::Shutdown { .. } | Command::KillAll => &[],
        };
        if let Some(unknown) = named.iter().find(|name| self.slot(name).is_none_or(|slot| slot.removed)) {
            return Some(format!("no service `{unknown}` in the manifest"));
        }
        if self.shutting_down() && !matches!(command, Command::Shutdown { .. } | Command::KillAll) {
            return Some("devsup is shutting down".into());
        }
        let watched = |name: &&Name| self.slot(name).is_some_and(|slot| slot.entry.external());
        if !matches!(command, Command::Start { .. })
            && let Some(name) = named.iter().find(watched)
        {
            return Some(only_watched(name));
        }
        if let Command::Restart { services, force: false, .. } = command {
            let held = services.iter().filter_map(|name| self.slot(name)).find_map(|slot| {
                let hold = slot.hold.as_ref().filter(|hold| hold.uid != by.uid)?;
                Some((slot.name(), &hold.by))
            });
            if let Some((name, holder)) = held {
                return Some(format!("service `{name}`: held by {holder}; restart it all the same with --force"));
            }
        }
        if let Command::Refresh { services } = command {
            let bare = services.iter().filter_map(|name| self.slot(name)).find(|slot| slot.entry.role.is_none());
            return bare
                .map(|slot| format!("service `{}`: has no role, so there are no credentials to refresh", slot.name()));
        }
        None
    }

    pub(super) fn commanded(&mut self, now: Now, request: String, by: &By, command: Command) {
        if self.requests.contains(&request) || self.refuses(by, &command).is_some() {
            return;
        }
        if self.requests.len() == 1000 {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        match command {
            Command::Start { services, no_deps } => self.start(&services, no_deps, by),
            Command::Stop { services, timeout } => {
                for name in services {
                    self.by_person(&name, by, "stop");
                    let Some(slot) = self.slot_mut(&name) else { continue };
                    want_down(slot, timeout);
                    self.shorten(now, &name, timeout);
                }
            }
            Command::Restart { services, timeout, no_deps, force: _ } => {
                for name in &services {
                    self.restart(now, name, by, timeout);
                    self.shorten(now, name, timeout);
                }
                if !no_deps {
                    self.want_dependencies(&services);
                }
            }
            Command::Hold { service, lasts } => self.hold(now, &service, by, lasts),
            Command::Release { service } => {
                if self.slot_mut(&service).and_then(|slot| slot.hold.take()).is_some() {
                    self.by_person(&service, by, "release");
                    self.note(&service, None, Happening::Released);
                }
            }
            Command::Refresh { services } => {
                for name in services {
                    self.refresh(&name, by);
                }
            }
            Command::Shutdown { timeout } => self.shut_down(now, by, timeout),
            Command::KillAll => self.kill_all(now, by),
        }
    }

    fn start(&mut self, services: &[Name], no_deps: bool, by: &By) {
        for name in services {
            self.by_person(name, by, "start");
            let Some(slot) = self.slot_mut(name) else { continue };
            slot.want = Want::Up;
            slot.alone = no_deps;
            slot.clear_way();
            forgive(slot);
        }
        if !no_deps {
            self.want_dependencies(services);
        }
    }

    /// Everything these need, and what that needs, is wanted too.
    fn want_dependencies(&mut self, services: &[Name]) {
        let mut seen: BTreeSet<Name> = services.iter().cloned().collect();
        let mut next: Vec<Name> = services.to_vec();
        while let Some(name) = next.pop() {
            let Some(slot) = self.slot(&name) else { continue };
            for dependency in slot.entry.depends_on.keys().cloned().collect::<Vec<_>>() {
                if !seen.insert(dependency.clone()) {
                    continue;
                }
                if let Some(slot) = self.slot_mut(&dependency) {
                    if slot.want == Want::Down {
                        slot.clear_way();
                        slot.want = Want::Up;
                        slot.alone = false;
                    }
                    next.push(dependency);
                }
            }
        }
    }

    fn restart(&mut self, now: Now, name: &Name, by: &By, timeout: Option<Duration>) {
        self.by_person(name, by, "restart");
        let Some(slot) = self.slot_mut(name) else { return };
        if slot.want == Want::Down {
            slot.alone = false;
        }
        slot.want = Want::Up;
        slot.stop_timeout = timeout;
        slot.clear_way();
        slot.ask_replacement(&Reason::Restart { by: by.user.clone() });
        forgive(slot);
        let unused = !slot.used && slot.held.as_ref().is_some_and(|held| held.fresh(now));
        if slot.rotates() && !unused && slot.wait_fresh.is_none() {
            slot.wait_fresh = Some(now.mono + FRESH_WITHIN);
        }
    }

    fn refresh(&mut self, name: &Name, by: &By) {
        self.by_person(name, by, "creds --refresh");
        let Some(slot) = self.slot_mut(name) else { return };
        forgive(slot);
        slot.refresh = true;
    }

    fn hold(&mut self, now: Now, name: &Name, by: &By, lasts: Option<Duration>) {
        self.by_person(name, by, "hold");
        let Some(slot) = self.slot_mut(name) else { return };
        let until = lasts.map(|lasts| (now.boot + lasts, now.wall + lasts));
        slot.hold = Some(Hold { by: by.user.clone(), uid: by.uid, since: now.wall, until });
        let lasts_ms = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        self.note(name, None, Happening::Held { lasts_ms });
    }

    /// What is being stopped already is not given longer than this.
    fn shorten(&mut self, now: Now, name: &Name, timeout: Option<Duration>) {
        let (Some(timeout), Some(at)) = (timeout, self.index(name)) else { return };
        let slot = &mut self.slots[at];
        let service = slot.entry.name.clone();
        for run in &mut slot.runs {
            let number = run.number;
            let Some(stopping) = run.stopping.as_mut().filter(|stopping| now.mono + timeout < stopping.deadline) else {
                continue;
            };
            stopping.deadline = now.mono + timeout;
            if stopping.draining {
                // It has not been told yet; when it is, it is told this.
                continue;
            }
            let run = RunId { service: service.clone(), number };
            self.effects.push(Effect::Stop { run, timeout, why: stopping.why.clone() });
        }
    }

    fn shut_down(&mut self, now: Now, by: &By, timeout: Option<Duration>) {
        if !self.shutting_down {
            self.shutting_down = true;
            let what = Happening::ShuttingDown;
            self.effects.push(Effect::Note(Note { service: None, run: None, by: Some(by.clone()), what }));
        }
        for slot in &mut self.slots {
            want_down(slot, timeout);
        }
        for name in self.slots.iter().map(|slot| slot.name().clone()).collect::<Vec<_>>() {
            self.shorten(now, &name, timeout);
        }
    }

    fn kill_all(&mut self, now: Now, by: &By) {
        self.shut_down(now, by, None);
        for slot in &mut self.slots {
            for run in &mut slot.runs {
                if let Some(stopping) = &mut run.stopping {
                    stopping.killed = true;
                    stopping.draining = false;
                }
                let run = RunId { service: slot.entry.name.clone(), number: run.number };
                self.effects.push(Effect::Kill { run });
            }
        }
        self.effects.push(note_of_project(Happening::Killed));
    }

    /// A dependency was replaced: those that asked to follow it are asked for a replacement.
    pub(super) fn restart_dependents(&mut self, dependency: &Name) {
        for slot in &mut self.slots {
            if slot.entry.depends_on.get(dependency).is_some_and(|edge| edge.restart) && slot.serving().is_some() {
                slot.ask_replacement(&Reason::Dependency { on: dependency.clone() });
            }
        }
    }

    fn by_person(&mut self, service: &Name, by: &By, command: &str) {
        let what = Happening::Commanded { command: command.to_owned() };
        self.effects.push(Effect::Note(Note { service: Some(service.clone()), run: None, by: Some(by.clone()), what }));
    }
}

fn want_down(slot: &mut Slot, timeout: Option<Duration>) {
    slot.want = Want::Down;
    slot.stop_timeout = timeout.or(slot.stop_timeout);
    slot.reasons.clear();
    slot.replacing = None;
    slot.wait_fresh = None;
    slot.refresh = false;
    slot.clear_way();
}

/// A person asked: a refusal does not have to be waited out.
fn forgive(slot: &mut Slot) {
    if let Some(refused) = &mut slot.refused {
        refused.retry_at = super::time::Mono(0);
    }
}

/// `held by alice 12m`
pub(super) fn held_for(hold: &Hold, now: Now) -> String {
    format!("held by {} {}", hold.by, Secs(now.wall.since(hold.since)))
}
