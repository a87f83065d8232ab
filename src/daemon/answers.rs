//! What people ask to see.

use std::rc::Rc;

use axum::body::Bytes;

use super::birth;
use super::clocks::now;
use super::handed::Handing;
use super::world::World;
use crate::aws::{ChildEnvironment, Credentials};
use crate::control::api::{
    Creds, Environment, Failed, FailedKind, IdentityJson, KeeperState, OwnState, Project, Service as Shown, VERSION,
    Variable, Watch,
};
use crate::control::convert::{self, Beside};
use crate::control::peer::{Caller, Standing};
use crate::control::{Answer, Call, Question};
use crate::keeper::protocol::Identity;
use crate::manifest::{Delivery, Name, Role, Service};
use crate::supervisor::{By, Refusal, View};

const MASK: &str = "…";

/// Which environment is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) secrets: bool,
    pub(super) whose: Whose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Run,
    /// Beside the runs, and never renewed: it carries its credentials, however the service gets them.
    Command,
}

impl Wanted {
    /// Are the credentials themselves in it?
    fn carries(self, service: &Service) -> bool {
        let as_variables = |role: &Role| self.whose == Whose::Command || role.delivery == Delivery::Env;
        service.role.as_ref().is_some_and(as_variables) && service.needs_lease()
    }
}

impl World {
    /// An answer nobody waits for any more is dropped, here and below: the client has gone.
    pub(super) fn called(&mut self, call: Call) {
        let by = call.caller.by.clone();
        match call.question {
            Question::Project(answer) => drop(answer.send(Ok(self.project()))),
            Question::OwnState(answer) => drop(answer.send(Ok(self.own_state()))),
            Question::Services(answer) => drop(answer.send(Ok(self.services()))),
            Question::Service(name, answer) => {
                let mut found = self.supervisor.view(now(), &name).map(|view| self.shown(&view));
                if let Some(shown) = &mut found {
                    self.name_listeners(&mut shown.ports);
                }
                let none = || super::commands::no_such(&name, self.manifest.services.keys());
                drop(answer.send(found.ok_or_else(none)));
            }
            Question::Watch(answer) => {
                self.watchers.send_replace(self.watch_line());
                drop(answer.send(Ok(self.watchers.subscribe())));
            }
            Question::Events(answer) => drop(answer.send(Ok(self.journal.read()))),
            Question::Logs(wanted, answer) => drop(answer.send(self.log_lines(&wanted))),
            Question::Reload(request, answer) => {
                let reloaded = self.reload(&by, request);
                drop(answer.send(reloaded));
            }
            Question::Command(request, answer) => {
                let done = self.commanded(&by, request);
                drop(answer.send(done));
            }
            Question::Creds(names, answer) => self.creds(names, answer),
            Question::Credentials(service, answer) => self.issue(Caller { by, ..call.caller }, &service, answer),
            Question::Environment { service, reveal, command, answer } => {
                let wanted = Wanted { secrets: reveal, whose: if command { Whose::Command } else { Whose::Run } };
                self.environment(&by, &service, wanted, answer);
            }
            Question::Mfa(request, answer) => self.mfa(by, request, answer),
            Question::Terminal(service, answer) => drop(answer.send(self.terminal(&service))),
            Question::Attach { service, run, size, connection } => self.attach(&by, &service, run, size, connection),
            Question::Intruded { wanted } => {
                let (whose, who) = match call.caller.standing {
                    Standing::Inside(Some(service)) => (Some(service), "a process of it"),
                    Standing::Elsewhere => (None, "a process of another project's service"),
                    _ => (None, "a process left behind"),
                };
                let sentence = format!("{who} asked devsup for {wanted} and was refused");
                self.journal.tell(now().wall, "refused", whose.as_ref(), Some(&by), sentence);
            }
        }
    }

    fn project(&self) -> Project {
        Project {
            name: self.manifest.name.clone(),
            id: self.brought.folder.id().to_owned(),
            files: self.manifest.files.iter().map(|file| file.display().to_string()).collect(),
            pid: std::process::id(),
            version: VERSION.to_owned(),
            sandbox: self.brought.sandbox,
            since: convert::rfc3339(self.brought.since),
            owner: self.brought.owner.clone(),
            shutting_down: self.supervisor.shutting_down(),
            base: self.base_identity.clone(),
            warnings: self.warnings.iter().cloned().collect(),
        }
    }

    pub(super) fn services(&self) -> Vec<Shown> {
        self.supervisor.views(now()).iter().map(|view| self.shown(view)).collect()
    }

    fn shown(&self, view: &View) -> Shown {
        convert::service(view, self.entry(view.name.as_str()), self.beside(view))
    }

    fn entry(&self, service: &str) -> Option<&Service> {
        self.manifest.services.get(service).map(|entry| &**entry)
    }

    fn beside(&self, view: &View) -> Beside {
        let lease = view.lease.as_ref().and_then(|lease| self.leases.get(&lease.id));
        let runs = self.runs.iter().filter(|(run, _)| run.service == view.name);
        let of_run = runs.clone().filter_map(|(_, held)| held.issued_key.clone()).next_back();
        Beside {
            access_key_id: lease.map(|lease| lease.credentials.access_key_id.clone()).or(of_run),
            issued: view.lease.as_ref().map(|shown| {
                let life = shown.lease.expires.since(shown.lease.issued);
                lease.map_or(shown.lease.expires_wall - life, |lease| lease.issued)
            }),
            isolation: runs.clone().filter_map(|(_, held)| held.isolation.clone()).next_back(),
            tree: runs.clone().next_back().map_or(self.cgroups.mode(), |(run, _)| self.cgroups.tree_of(run)),
            ports: self.ports.shown(&view.name, self.entry(view.name.as_str())),
            log_dropped: runs.map(|(_, held)| held.log_dropped).sum(),
        }
    }

    pub(super) fn watch_line(&self) -> Bytes {
        let watch = Watch { project: self.project(), services: self.services() };
        let mut line = serde_json::to_vec(&watch).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }

    fn own_state(&self) -> OwnState {
        let count = |folder| std::fs::read_dir(folder).map(Iterator::count).unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
        OwnState {
            pid: std::process::id(),
            // Less the one that reading the folder takes.
            fds: count("/proc/self/fd").saturating_sub(1),
            threads: count("/proc/self/task"),
            rss_kib: rss.unwrap_or_default(),
            keepers: self.runs.iter().map(|(run, held)| KeeperState { run: run.to_string(), pid: held.pid }).collect(),
        }
    }

    fn held_credentials(&self, service: &str) -> Option<Rc<Credentials>> {
        let lease = self.supervisor.held_lease(now(), service)?;
        self.leases.get(&lease).map(|held| Rc::clone(&held.credentials))
    }

    /// Asks STS who each service really is, all at once.
    fn creds(&mut self, names: Vec<String>, answer: Answer<Vec<Creds>>) {
        let names =
            if names.is_empty() { self.manifest.services.keys().map(ToString::to_string).collect() } else { names };
        let mut asked = Vec::new();
        for name in names {
            let Some(view) = self.supervisor.view(now(), &name) else {
                drop(answer.send(Err(super::commands::no_such(&name, self.manifest.services.keys()))));
                return;
            };
            let entry = self.entry(&name);
            let creds = Creds {
                role: entry.and_then(|entry| entry.role.as_ref()).map(|role| role.arn.to_string()),
                identity: None,
                identity_error: None,
                credentials: convert::credentials(&view, entry, self.beside(&view)),
                text: view.credentials.clone(),
                service: name.clone(),
            };
            asked.push((creds, self.held_credentials(&name)));
        }
        let base = self.base.clone();
        drop(tokio::task::spawn_local(async move {
            let mut all = Vec::new();
            let mut asking = Vec::new();
            for (creds, held) in asked {
                let base = base.clone();
                asking.push(tokio::task::spawn_local(async move { identified(creds, held, base).await }));
            }
            for one in asking {
                all.extend(one.await);
            }
            drop(answer.send(Ok(all)));
        }));
    }

    /// What a new run would get, or a command. Credentials that are not held are asked for, and kept by nobody.
    fn environment(&mut self, by: &By, name: &str, wanted: Wanted, answer: Answer<Environment>) {
        let found = self.run_here(name).map(|name| self.manifest.services.get(&name).cloned());
        let service = match found {
            Ok(Some(service)) => service,
            Ok(None) => return drop(answer.send(Err(super::commands::no_such(name, self.manifest.services.keys())))),
            Err(failed) => return drop(answer.send(Err(failed))),
        };
        if wanted.secrets {
            let sentence = "its environment was revealed".to_owned();
            self.journal.tell(now().wall, "revealed", Some(&service.name), Some(by), sentence);
        }
        let held = self.held_credentials(name).filter(|_| wanted.carries(&service));
        let asks = wanted.secrets && wanted.carries(&service) && held.is_none();
        let (Some(role), true, Some(base)) = (service.role.clone(), asks, self.base.clone()) else {
            drop(answer.send(self.described(&service, held.as_deref(), wanted)));
            return;
        };
        let (facts, who) = (self.facts.clone(), self.who());
        drop(tokio::task::spawn_local(async move {
            let asked = base.assume(&service, &role, &who).await;
            drop(facts.send(super::world::Fact::Lent { service, wanted, asked: Box::new(asked), answer }));
        }));
    }

    /// The credentials that `environment` asked for came, or did not.
    pub(super) fn lent(
        &mut self,
        service: &Service,
        wanted: Wanted,
        asked: Result<crate::aws::Grant, Refusal>,
        answer: Answer<Environment>,
    ) {
        let described = match asked {
            Ok(grant) => self.described(service, Some(&grant.credentials), wanted),
            Err(refusal) => Err(refused(&service.name, refusal)),
        };
        drop(answer.send(described));
    }

    fn described(
        &mut self,
        service: &Service,
        held: Option<&Credentials>,
        wanted: Wanted,
    ) -> Result<Environment, Failed> {
        if wanted.secrets && wanted.carries(service) && held.is_none() {
            return Err(refused(&service.name, super::asks::no_sandbox()));
        }
        let run = self.supervisor.view(now(), service.name.as_str()).and_then(|view| view.run).unwrap_or_default() + 1;
        let failed = |error| Failed::new(FailedKind::Failed, format!("service `{}`: {error}", service.name));
        let filled = self.fill_for_look(service, run).map_err(failed)?;
        let service = &*filled.service;
        let who = birth::who(service).map_err(failed)?;
        let handing = match wanted.whose {
            Whose::Command => held.map(Handing::Env),
            Whose::Run => self.hand(service, &who, held).map_err(failed)?,
        };
        let handed = handing.as_ref().map(Handing::as_handed);
        let child =
            self.child_environment(service, run, &filled.variables, handed, who.login.as_ref()).map_err(failed)?;
        let identity = who.identity.map(|Identity { uid, gid, groups }| IdentityJson { uid, gid, groups });
        Ok(Environment { identity, ..environment(service, child, wanted.secrets, self.inherited.from.clone()) })
    }
}

fn environment(service: &Service, child: ChildEnvironment, reveal: bool, from: String) -> Environment {
    let shown = child.variables.into_iter().map(|variable| Variable {
        value: if variable.secret && !reveal { MASK.into() } else { variable.value },
        name: variable.name,
        source: variable.source,
        secret: variable.secret,
    });
    Environment {
        service: service.name.to_string(),
        argv: service.argv(),
        working_dir: service.working_dir.display().to_string(),
        env: shown.collect(),
        scrubbed: child.scrubbed,
        from,
        identity: None,
    }
}

pub(super) fn refused(service: &Name, refusal: Refusal) -> Failed {
    let error = format!("service `{service}`: no credentials: {}", refusal.code);
    let mut failed = Failed::new(FailedKind::CredentialsRefused, error).cause(refusal.message);
    failed.hints.extend(refusal.hint);
    failed
}

async fn identified(mut creds: Creds, held: Option<Rc<Credentials>>, base: Option<crate::aws::Base>) -> Creds {
    match (held, base) {
        (Some(held), Some(base)) => match base.identity_of(&held).await {
            Ok(arn) => creds.identity = Some(arn),
            Err(refusal) => creds.identity_error = Some(format!("{}: {}", refusal.code, refusal.message)),
        },
        (None, _) if creds.role.is_some() => creds.identity_error = Some("no credentials are held".to_owned()),
        (None, _) => {}
        (Some(_), None) => creds.identity_error = Some("the sandbox is not up".to_owned()),
    }
    creds
}
