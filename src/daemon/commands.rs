//! What people ask to be changed: checked, said why not, carried out by the supervisor.

use std::rc::Rc;
use std::time::Duration;

use super::clocks::now;
use super::world::{Inherited, World};
use crate::control::CommandRequest;
use crate::control::api::{Done, Failed, FailedKind, Handed, ServicesRequest, UpRequest};
use crate::control::convert::clock_time;
use crate::keeper::protocol::Order;
use crate::manifest::Name;
use crate::supervisor::{By, Command, RunId, State, Want, only_watched};

/// So many answered requests are remembered.
const REMEMBERED: usize = 256;

impl World {
    pub(super) fn commanded(&mut self, by: &By, request: CommandRequest) -> Result<Done, Failed> {
        let id = match &request {
            CommandRequest::Up(up) => up.request.clone(),
            CommandRequest::Start(r)
            | CommandRequest::Stop(r)
            | CommandRequest::Restart(r)
            | CommandRequest::Refresh(r) => r.request.clone(),
            CommandRequest::Down(r) => r.request.clone(),
            CommandRequest::Kill(r) => r.request.clone(),
            CommandRequest::Hold(r) | CommandRequest::Release(r) => r.request.clone(),
            CommandRequest::KillAll => String::new(),
        };
        if let Some((_, done)) = self.answered.iter().find(|(known, _)| *known == id && !id.is_empty()) {
            return Ok(done.clone());
        }
        let done = self.carry(by, request, id.clone())?;
        if self.answered.len() == REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back((id, done.clone()));
        Ok(done)
    }

    fn carry(&mut self, by: &By, request: CommandRequest, id: String) -> Result<Done, Failed> {
        match request {
            CommandRequest::Up(up) => self.up(by, up),
            CommandRequest::Start(wish) => {
                let services = self.named(&wish)?;
                let (running, no_deps) = (self.up_already(&services), wish.no_deps);
                let command = Command::Start { services: services.clone(), no_deps };
                self.accept(by, id, command, wish.environment)?;
                Ok(done(&services, running))
            }
            CommandRequest::Stop(wish) => {
                let services = self.named(&wish)?;
                let timeout = wish.timeout_ms.map(Duration::from_millis);
                let notes = self.in_state(&services, State::Stopped, "is stopped already");
                self.accept(by, id, Command::Stop { services: services.clone(), timeout }, None)?;
                Ok(done(&services, notes))
            }
            CommandRequest::Restart(wish) => {
                let services = self.named(&wish)?;
                let timeout = wish.timeout_ms.map(Duration::from_millis);
                let command =
                    Command::Restart { services: services.clone(), timeout, no_deps: wish.no_deps, force: wish.force };
                self.accept(by, id, command, wish.environment)?;
                Ok(done(&services, Vec::new()))
            }
            CommandRequest::Refresh(wish) => self.refresh(by, id, wish),
            CommandRequest::Down(wish) => {
                let timeout = wish.timeout_ms.map(Duration::from_millis);
                self.accept(by, id, Command::Shutdown { timeout }, None)?;
                Ok(done(&self.all(), Vec::new()))
            }
            CommandRequest::KillAll => {
                let id = format!("kill-all-{}", now().mono.0);
                self.accept(by, id, Command::KillAll, None)?;
                Ok(done(&self.all(), Vec::new()))
            }
            CommandRequest::Kill(wish) => self.signal(by, &wish.service, wish.signal, wish.main),
            CommandRequest::Hold(wish) => {
                let service = self.known(&wish.service)?;
                let lasts = wish.lasts_ms.map(Duration::from_millis);
                self.accept(by, id, Command::Hold { service: service.clone(), lasts }, None)?;
                Ok(done(&[service], Vec::new()))
            }
            CommandRequest::Release(wish) => {
                let service = self.known(&wish.service)?;
                let held = self.supervisor.view(now(), service.as_str()).is_some_and(|view| view.held.is_some());
                let note = (!held).then(|| format!("{service} was not held"));
                self.accept(by, id, Command::Release { service: service.clone() }, None)?;
                Ok(done(&[service], note.into_iter().collect()))
            }
        }
    }

    /// Only what is wanted up has credentials to be fresher.
    fn refresh(&mut self, by: &By, id: String, wish: ServicesRequest) -> Result<Done, Failed> {
        let mut services = self.named(&wish)?;
        let wanted = |world: &Self, name: &Name| {
            world.supervisor.view(now(), name.as_str()).is_some_and(|view| view.want == Want::Up)
        };
        if wish.all {
            let has_role = |name: &Name| self.manifest.services.get(name).is_some_and(|entry| entry.needs_lease());
            services.retain(|name| has_role(name) && wanted(self, name));
        } else if let Some(down) = services.iter().find(|name| !wanted(self, name)) {
            let error = format!("service `{down}`: it is not running, so there is nothing to refresh");
            return Err(Failed::new(FailedKind::NotRunning, error).hint(format!("devsup start {down}")));
        }
        self.accept(by, id, Command::Refresh { services: services.clone() }, wish.environment)?;
        Ok(done(&services, Vec::new()))
    }

    pub(super) fn accept(
        &mut self,
        by: &By,
        id: String,
        command: Command,
        handed: Option<Handed>,
    ) -> Result<(), Failed> {
        if let Some(why) = self.supervisor.refuses(by, &command) {
            return Err(Failed::new(FailedKind::Failed, why));
        }
        if let Command::Start { services, no_deps } | Command::Restart { services, no_deps, .. } = &command {
            let manifest = self.manifest.clone();
            if let Some(failed) = self.limits_refused(&manifest, services, *no_deps) {
                return Err(failed);
            }
        }
        self.adopt(by, handed);
        let id = if id.is_empty() { format!("{}-{}", by.uid, now().mono.0) } else { id };
        self.command(id, by.clone(), command);
        Ok(())
    }

    /// Later runs start from this environment; the base identity too, where it came from variables: then it is made anew.
    pub(super) fn adopt(&mut self, by: &By, handed: Option<Handed>) -> bool {
        let Some(handed) = handed else { return false };
        let identity = |env: &[(std::ffi::OsString, std::ffi::OsString)]| -> Vec<_> {
            let of_base = |name: &str| name.starts_with("AWS_") || matches!(name, "HOME" | "PATH");
            env.iter().filter(|(name, _)| name.to_str().is_some_and(of_base)).cloned().collect()
        };
        let changed = identity(&handed.env) != identity(&self.inherited.env);
        let from = format!("{}, {}", by.user, clock_time(now().wall));
        self.inherited = Inherited { env: Rc::new(handed.env), from };
        if changed {
            self.make_base();
            self.ask_refused_again(by);
        }
        changed
    }

    /// Another base identity may be let in where the last one was not.
    fn ask_refused_again(&mut self, by: &By) {
        let refused = |name: &Name| {
            let view = self.supervisor.view(now(), name.as_str());
            view.is_some_and(|view| view.want == Want::Up && view.refusal.is_some())
        };
        let services: Vec<Name> = self.manifest.services.keys().filter(|name| refused(name)).cloned().collect();
        if !services.is_empty() {
            self.command(format!("base-{}", now().mono.0), by.clone(), Command::Refresh { services });
        }
    }

    fn up(&mut self, by: &By, up: UpRequest) -> Result<Done, Failed> {
        self.not_going()?;
        if up.sandbox != self.brought.sandbox {
            let (is, asked) =
                if up.sandbox { ("with real AWS", "in the sandbox") } else { ("in the sandbox", "with real AWS") };
            let error = format!("project `{}` is up {is}: it cannot be brought up {asked} as well", self.manifest.name);
            return Err(Failed::new(FailedKind::Failed, error).hint("devsup down, then devsup up"));
        }
        let inherited = Rc::clone(&self.inherited.env);
        let env = up.environment.as_ref().map_or(&**inherited, |handed| &handed.env);
        let loaded = self.read_again(env)?;
        let unknown = up.services.iter().find(|name| !loaded.manifest.services.contains_key(name.as_str()));
        if let Some(unknown) = unknown {
            return Err(no_such(unknown, loaded.manifest.services.keys()));
        }
        let services: Vec<Name> = if up.services.is_empty() {
            // What is missing, and what failed for good; what has ended well, or is being tried, is left alone.
            let missing = |name: &Name| {
                let view = self.supervisor.view(now(), name.as_str());
                view.is_none_or(|view| view.want == Want::Down || view.state == State::Failed)
            };
            let all = loaded.manifest.services.values().filter(|service| service.autostart);
            all.map(|service| service.name.clone()).filter(missing).collect()
        } else {
            up.services.iter().map(|name| Name::new(name)).collect()
        };
        // What is up and changed is replaced by this as well.
        let is_up = |name: &Name| self.supervisor.view(now(), name.as_str()).is_some_and(|view| view.want == Want::Up);
        let replaced = loaded.manifest.services.keys().filter(|name| is_up(name)).cloned();
        let concerned: Vec<Name> = services.iter().cloned().chain(replaced).collect();
        if let Some(failed) = self.limits_refused(&loaded.manifest, &concerned, up.no_deps) {
            return Err(failed);
        }
        let every: Vec<Name> =
            loaded.manifest.services.values().filter(|service| service.autostart).map(|s| s.name.clone()).collect();
        let warnings: Vec<String> = loaded.warnings.iter().map(|warning| warning.title().to_owned()).collect();
        self.adopt_manifest(by, loaded, up.environment);
        let concerned = if up.services.is_empty() { every } else { services.clone() };
        let mut notes = self.up_already(&concerned);
        notes.extend(warnings);
        notes.extend(self.of_root());
        let command = Command::Start { services: services.clone(), no_deps: up.no_deps };
        self.accept(by, up.request, command, None)?;
        Ok(done(&concerned, notes))
    }

    fn signal(&mut self, by: &By, service: &str, signal: i32, main: bool) -> Result<Done, Failed> {
        let service = self.run_here(service)?;
        let runs: Vec<RunId> = self.runs.keys().filter(|run| run.service == service).cloned().collect();
        if runs.is_empty() {
            return Err(Failed::new(FailedKind::NotRunning, format!("service `{service}`: it is not running")));
        }
        if !(1..=64).contains(&signal) {
            return Err(Failed::new(FailedKind::Usage, format!("`{signal}` is no signal")));
        }
        for run in &runs {
            let Some(held) = self.runs.get(run) else { continue };
            held.link.borrow_mut().order(&Order::Signal { signal, main }).map_err(|error| {
                Failed::new(FailedKind::Failed, format!("service `{service}`: its keeper is gone")).cause(error)
            })?;
        }
        let whom = if main { "main process" } else { "tree" };
        let sentence = format!("signal {signal} was sent to its {whom}");
        self.journal.tell(now().wall, "signalled", Some(&service), Some(by), sentence);
        Ok(done(&[service], Vec::new()))
    }

    fn all(&self) -> Vec<Name> {
        self.manifest.services.keys().cloned().collect()
    }

    fn external(&self, name: &Name) -> bool {
        self.manifest.services.get(name).is_some_and(|entry| entry.external())
    }

    fn named(&self, wish: &ServicesRequest) -> Result<Vec<Name>, Failed> {
        match (wish.all, wish.services.is_empty()) {
            (true, false) => {
                Err(Failed::new(FailedKind::Usage, "either name services or ask for all of them, not both"))
            }
            (false, true) => {
                Err(Failed::new(FailedKind::Usage, "no service is named").hint("name one or more, or say --all"))
            }
            // What somebody else runs is meant only by name, and then refused.
            (true, true) => Ok(self.all().into_iter().filter(|name| !self.external(name)).collect()),
            (false, false) => wish.services.iter().map(|name| self.known(name)).collect(),
        }
    }

    pub(super) fn known(&self, name: &str) -> Result<Name, Failed> {
        if self.supervisor.view(now(), name).is_some() {
            return Ok(Name::new(name));
        }
        Err(no_such(name, self.manifest.services.keys()))
    }

    /// One that devsup runs itself.
    pub(super) fn run_here(&self, name: &str) -> Result<Name, Failed> {
        let known = self.known(name)?;
        let external = self.manifest.services.get(&known).is_some_and(|service| service.external());
        if external { Err(Failed::new(FailedKind::Failed, only_watched(&known))) } else { Ok(known) }
    }

    fn up_already(&self, services: &[Name]) -> Vec<String> {
        let views = self.supervisor.views(now());
        let up =
            views.iter().filter(|view| view.pid.is_some() && view.want == Want::Up && services.contains(&view.name));
        up.map(|view| format!("{} is up already", view.name)).collect()
    }

    fn in_state(&self, services: &[Name], state: State, words: &str) -> Vec<String> {
        let views = self.supervisor.views(now());
        let found = views.iter().filter(|view| view.state == state && services.contains(&view.name));
        found.map(|view| format!("{} {words}", view.name)).collect()
    }
}

fn done(services: &[Name], notes: Vec<String>) -> Done {
    Done { services: services.iter().map(ToString::to_string).collect(), notes }
}

pub(super) fn no_such<'a>(name: &str, known: impl Iterator<Item = &'a Name>) -> Failed {
    let failed = Failed::new(FailedKind::NoSuchService, format!("no service `{name}` in the manifest"));
    let known: Vec<&Name> = known.collect();
    let near = known.iter().min_by_key(|other| strsim::damerau_levenshtein(name, other.as_str()));
    if let Some(near) = near.filter(|other| strsim::damerau_levenshtein(name, other.as_str()) <= 2) {
        return failed.hint(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    failed.hint(format!("there are: {}", all.join(", ")))
}
