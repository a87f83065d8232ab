//! What a foreground `up` says of its services on stderr: each change of a state once, in one line, and what to try next
//! when all are there. Pure: states in, lines out. What the logs' own marks say (started, exited) is not said again.

use std::collections::BTreeMap;

use super::foreground::Hold;
use super::outcome::{Explained, Goal, Standing, reached, standing};
use super::paint::Paint;
use super::render::short_role;
use super::render::table::{colour, status};
use crate::control::api::{RefusalJson, Service, Watch};
use crate::supervisor::State;

pub(crate) struct News {
    names: Vec<String>,
    paint: Paint,
    said: BTreeMap<String, Key>,
    /// The rotations of those that were ready when last spoken of.
    ready: BTreeMap<String, u32>,
    pub explained: Explained,
    awaited: Vec<String>,
    invited: bool,
    shutting_down: bool,
    warnings: Vec<String>,
}

/// Two looks with the same key are no news, though their sentences count seconds.
#[derive(PartialEq, Eq)]
struct Key {
    state: State,
    ready: bool,
    run: Option<u32>,
    crashes: u32,
    refusal: Option<String>,
    held: bool,
    blocked: bool,
    overdue: bool,
}

impl News {
    pub(crate) fn new(names: Vec<String>, hold: Hold, paint: Paint) -> Self {
        Self {
            awaited: names.clone(),
            names,
            paint,
            said: BTreeMap::new(),
            ready: BTreeMap::new(),
            explained: Explained::default(),
            // Who comes later finds others at work, and knows the way.
            invited: hold == Hold::Attached,
            shutting_down: false,
            warnings: Vec::new(),
        }
    }

    /// These warnings were said before.
    pub(crate) fn knows(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }

    pub(crate) fn all_there(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Those that are neither ready nor have a lasting reason not to be.
    pub(crate) fn awaited(&self) -> Vec<String> {
        self.awaited.clone()
    }

    pub(crate) fn of(&mut self, watch: &Watch) -> Vec<String> {
        let mut lines = self.of_project(watch);
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        let mut awaited = Vec::new();
        let names = self.names.clone();
        for service in watch.services.iter().filter(|service| names.contains(&service.name)) {
            let now = standing(service, &watch.services);
            if !reached(&now, Goal::Ready) {
                awaited.push(service.name.clone());
            }
            let key = key(service, &now);
            if self.said.get(&service.name) != Some(&key) && worth_a_line(service, &now) && !self.rotated(service) {
                lines.push(self.line(service, width));
                lines.extend(self.hint(service, &now));
            }
            self.said.insert(service.name.clone(), key);
        }
        self.awaited = awaited;
        let lives = |service: &Service| matches!(service.state, State::Running | State::Waiting | State::Backoff);
        let any = watch.services.iter().any(lives);
        if self.awaited.is_empty() && any && !self.invited && !watch.project.shutting_down {
            self.invited = true;
            lines.extend(invitation(&self.names, watch));
        }
        lines
    }

    /// Ready again with fresh credentials, and nothing befell it between: the logs' marks say so. Remembers.
    fn rotated(&mut self, service: &Service) -> bool {
        if service.state != State::Running {
            self.ready.remove(&service.name);
            return false;
        }
        let before = self.ready.insert(service.name.clone(), service.rotations);
        before.is_some_and(|before| before < service.rotations)
    }

    fn hint(&mut self, service: &Service, now: &Standing) -> Vec<String> {
        if let Some(refusal) = refusal(service).filter(|_| matches!(service.state, State::Waiting | State::Running)) {
            return self.explained.of(refusal);
        }
        match now {
            Standing::Failed(_) | Standing::Overdue(_) => vec![format!("  devsup ps {} says more", service.name)],
            _ => Vec::new(),
        }
    }

    fn of_project(&mut self, watch: &Watch) -> Vec<String> {
        let mut lines = Vec::new();
        for warning in &watch.project.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
                lines.push(format!("{} {warning}", self.paint.yellow("warning:")));
            }
        }
        if watch.project.shutting_down && !self.shutting_down {
            self.shutting_down = true;
            lines.push(format!("{} is being brought down", watch.project.name));
        }
        lines
    }

    fn line(&self, service: &Service, width: usize) -> String {
        let mut aside = Vec::new();
        if service.state == State::Running {
            aside.extend(service.pid.map(|pid| format!("pid {pid}")));
            aside.extend(service.role.as_ref().map(|role| format!("role {}", short_role(role))));
            aside.extend(refusal(service).map(|_| service.credentials_text.clone()));
            aside.extend(service.inherit_aws.then(|| "the base identity".to_owned()));
        } else if refusal(service).is_none() || service.state != State::Waiting {
            aside.extend(service.why.clone());
        }
        let name = format!("{:<width$}", service.name);
        let words = (colour(service))(self.paint, &status(service));
        if aside.is_empty() { format!("{name}  {words}") } else { format!("{name}  {words} · {}", aside.join(" · ")) }
    }
}

fn key(service: &Service, now: &Standing) -> Key {
    Key {
        state: service.state,
        ready: service.ready,
        run: service.run,
        crashes: service.crashes,
        refusal: refusal(service).map(|refusal| refusal.code.clone()),
        held: service.held.is_some(),
        blocked: matches!(now, Standing::Blocked { .. }),
        overdue: service.overdue,
    }
}

fn refusal(service: &Service) -> Option<&RefusalJson> {
    service.credentials.as_ref()?.error.as_ref()
}

/// On the way down or up, and while a wait is short, there is nothing to say yet that the logs' marks, or the counting,
/// do not.
fn worth_a_line(service: &Service, now: &Standing) -> bool {
    match service.state {
        State::Stopping | State::Stopped => false,
        State::Starting => service.overdue,
        State::Running => service.ready,
        State::Waiting => service.overdue || refusal(service).is_some() || matches!(now, Standing::Blocked { .. }),
        State::Backoff | State::Failed | State::Done => true,
    }
}

/// What to try next, once all are there.
fn invitation(names: &[String], watch: &Watch) -> Vec<String> {
    let mut lines = Vec::new();
    if watch.project.sandbox {
        lines.push(
            "this is the SANDBOX: its AWS is devsup's own, on this machine; nothing reaches a real account".to_owned(),
        );
    }
    let ours = |name: &&String| !watch.services.iter().any(|other| other.name == **name && other.external);
    let names: Vec<&String> = names.iter().filter(ours).collect();
    if let Some(&first) = names.first() {
        let another = names.get(1).unwrap_or(&first);
        lines.push("in another terminal, try".to_owned());
        lines.push("  devsup ps                what runs, as which role, until when".to_owned());
        lines.push(format!("  {:<24} its log, over restarts and rotations", format!("devsup logs -f {first}")));
        lines.push(format!(
            "  {:<24} a fresh run with fresh credentials; the others keep theirs",
            format!("devsup restart {another}")
        ));
    }
    lines
}
