//! What has become of a service, judged from one look at it: has it started, is it ready, or is there a lasting reason
//! why not. Pure, so that what `up`, `start`, `restart` and `wait` wait for is tested without a daemon.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{Failure, Kind};
use super::render::list;
use super::render::table::{next, status};
use crate::control::api::{RefusalJson, Service};
use crate::supervisor::{State, Want};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Something will come of it by itself.
    Pending,
    /// A process is there, ready or not.
    Started,
    Ready,
    /// A one-shot that ended well: as good as ready.
    Done,
    Stopped,
    /// It ended, or did not start, and the reason lasts.
    Failed(String),
    /// AWS refuses its role, and asking again soon will not help.
    Refused(Box<RefusalJson>),
    /// Waits for a service of which nothing will come by itself.
    Blocked {
        on: String,
    },
    /// Its process is there, or somebody else's should be, but it is not ready in time: it may still come.
    Overdue(String),
    /// Somebody else runs it, and it is not there yet.
    Away,
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Started,
    Ready,
}

/// A crash or two at first is common where services race each other; this many are a reason.
const CRASHES_THAT_LAST: u32 = 3;

pub(crate) fn standing(service: &Service, all: &[Service]) -> Standing {
    looked_into(service, all, &mut BTreeMap::new())
}

/// `lasting`: of those that were looked into on the way; of many that wait for many there are too many ways.
fn looked_into<'a>(service: &'a Service, all: &'a [Service], lasting: &mut BTreeMap<&'a str, bool>) -> Standing {
    let refusal = service.credentials.as_ref().and_then(|held| held.error.as_ref());
    match service.state {
        State::Running if service.ready => Standing::Ready,
        State::Running => Standing::Started,
        State::Starting | State::Waiting if service.overdue => Standing::Overdue(late(service)),
        State::Starting if service.pid.is_some() => Standing::Started,
        State::Done => Standing::Done,
        State::Stopped => Standing::Stopped,
        State::Failed => Standing::Failed(reason(service)),
        State::Backoff if service.crashes >= CRASHES_THAT_LAST => Standing::Failed(reason(service)),
        State::Waiting if service.external => Standing::Away,
        State::Waiting => match refusal {
            Some(refusal) if refusal.lasting => Standing::Refused(Box::new(refusal.clone())),
            Some(_) => Standing::Pending,
            None => blocked(service, all, lasting),
        },
        State::Backoff | State::Starting | State::Stopping => Standing::Pending,
    }
}

/// Dependencies have no cycle, so this ends.
fn blocked<'a>(service: &'a Service, all: &'a [Service], lasting: &mut BTreeMap<&'a str, bool>) -> Standing {
    // Stopped or done, and waited for all the same: by a person, or before it was ready.
    let lasts = |standing| match standing {
        Standing::Failed(_)
        | Standing::Refused(_)
        | Standing::Blocked { .. }
        | Standing::Overdue(_)
        | Standing::Stopped
        | Standing::Done => true,
        Standing::Pending | Standing::Started | Standing::Ready | Standing::Away => false,
    };
    for name in &service.waits_for {
        if !lasting.contains_key(name.as_str()) {
            let other = all.iter().find(|other| other.name == *name);
            let found = other.is_some_and(|other| lasts(looked_into(other, all, lasting)));
            lasting.insert(name, found);
        }
        if lasting.get(name.as_str()) == Some(&true) {
            return Standing::Blocked { on: name.clone() };
        }
    }
    Standing::Pending
}

/// Is it for credentials, in the end, that it waits for this one?
fn refused_at_root(name: &str, all: &[Service]) -> bool {
    match all.iter().find(|other| other.name == name).map(|other| standing(other, all)) {
        Some(Standing::Refused(_)) => true,
        Some(Standing::Blocked { on }) => refused_at_root(&on, all),
        Some(_) | None => false,
    }
}

/// `not ready after 90s: connection refused`
fn late(service: &Service) -> String {
    service.why.clone().unwrap_or_else(|| service.status.clone())
}

fn reason(service: &Service) -> String {
    match &service.why {
        Some(why) => format!("{}: {why}", service.status),
        None => service.status.clone(),
    }
}

/// The refusals this command has explained: of several services it is often the same one.
#[derive(Debug, Default)]
pub(crate) struct Explained(BTreeSet<String>);

impl Explained {
    /// `  AccessDenied: …` and below it the mend; nothing the second time.
    pub(crate) fn of(&mut self, refusal: &RefusalJson) -> Vec<String> {
        let mut lines = vec![format!("  {}: {}", refusal.code, refusal.message)];
        lines.extend(refusal.hint.iter().flat_map(|hint| hint.lines()).map(|line| format!("  {line}")));
        if self.0.insert(lines.concat()) { lines } else { Vec::new() }
    }
}

/// Nothing more is to be waited for.
pub(crate) fn reached(standing: &Standing, goal: Goal) -> bool {
    match standing {
        Standing::Pending => false,
        Standing::Started | Standing::Away => goal == Goal::Started,
        _ => true,
    }
}

/// The services in trouble, as one failure: 1 if any failed or, where that is the goal, is not ready in time; 7 if all of
/// them were refused their roles.
pub(crate) fn troubles(services: &[&Service], all: &[Service], goal: Goal) -> Option<Failure> {
    let mut bad = Vec::new();
    let mut refusals: Vec<(Vec<&str>, String)> = Vec::new();
    let (mut kind, mut causes, mut hints) = (Kind::CredentialsRefused, Vec::new(), Vec::new());
    let (mut verb, mut late_ones) = ("cannot start", 0);
    for service in services {
        let name = &service.name;
        match standing(service, all) {
            Standing::Failed(why) => {
                (kind, verb) = (Kind::Failed, "failed");
                causes.push(format!("`{name}`: {why}"));
                hints.push(format!("devsup logs -n 20 {name}"));
            }
            Standing::Refused(refusal) => {
                let why = format!("waiting for credentials: {}: {}", refusal.code, refusal.message);
                // Where AWS says the same to several, it is said once.
                match refusals.iter_mut().find(|(_, known)| *known == why) {
                    Some((names, _)) => names.push(name.as_str()),
                    None => refusals.push((vec![name.as_str()], why)),
                }
                let new = refusal.hint.clone().filter(|hint| !hints.contains(hint));
                hints.extend(new);
            }
            Standing::Blocked { on } => {
                if !refused_at_root(&on, all) {
                    kind = Kind::Failed;
                }
                let why = service.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                causes.push(format!("`{name}`: waits for `{on}`{why}"));
            }
            Standing::Overdue(why) if goal == Goal::Ready => {
                kind = Kind::Failed;
                late_ones += 1;
                causes.push(format!("`{name}`: {why}"));
                hints.push(if service.external {
                    format!("devsup ps {name}")
                } else {
                    format!("devsup logs -n 20 {name}")
                });
            }
            Standing::Pending
            | Standing::Started
            | Standing::Ready
            | Standing::Done
            | Standing::Stopped
            | Standing::Overdue(_)
            | Standing::Away => continue,
        }
        bad.push(name.as_str());
    }
    let causes = refusals.iter().map(|(names, why)| format!("{}: {why}", list(names))).chain(causes).collect();
    let noun = if bad.len() == 1 { "service" } else { "services" };
    if late_ones > 0 && verb != "failed" {
        verb = if bad.len() == 1 { "is not ready" } else { "are not ready" };
    }
    (!bad.is_empty()).then(|| Failure { kind, error: format!("{noun} {} {verb}", list(&bad)), causes, hints })
}

/// SIGKILL was sent and something lives on: nobody can say for how long, so nobody is kept waiting for it.
pub(crate) fn survivor(service: &Service) -> Option<String> {
    let who = service.survivors.join(", ");
    (!who.is_empty()).then(|| format!("`{}`: {who} survives SIGKILL", service.name))
}

/// `stopping  b (pid 4121, 3s, SIGKILL in 7s)`.
pub(crate) fn waiting_line(service: &Service, elapsed: &str) -> String {
    let verb = match service.state {
        State::Stopping => "stopping ",
        // Its end is what is waited for.
        State::Running if service.ready => "running  ",
        State::Starting | State::Running => "starting ",
        _ => "waiting  ",
    };
    let mut aside: Vec<String> = Vec::new();
    aside.extend(service.pid.map(|pid| format!("pid {pid}")));
    match service.status.strip_prefix("stopping ") {
        // The daemon counts better: it knows when force follows.
        Some(told) if service.state == State::Stopping => aside.push(told.trim_matches(['(', ')']).to_owned()),
        _ => aside.extend(Some(elapsed.to_owned()).filter(|elapsed| !elapsed.is_empty())),
    }
    match service.state {
        State::Stopping | State::Starting | State::Running => {}
        _ => aside.push(status(service)),
    }
    let refused = service.credentials.as_ref().is_some_and(|held| held.error.is_some());
    aside.extend(match service.state {
        // Of a run that is up already, what happens next is a rotation some day: not what is waited for.
        // And the daemon has told of SIGKILL.
        State::Running | State::Stopping => None,
        State::Starting | State::Waiting if !refused => service.why.clone().or_else(|| next(service)),
        _ => next(service),
    });
    format!("{verb} {} ({})", service.name, aside.join(", "))
}

/// The services an `up` is about: those named (else all that start by themselves or are wanted), with what they depend on.
pub(crate) fn concerned(names: &[String], no_deps: bool, all: &[Service]) -> Vec<String> {
    let chosen = |service: &&Service| {
        if names.is_empty() { service.autostart || service.want == Want::Up } else { names.contains(&service.name) }
    };
    let mut found: Vec<String> = all.iter().filter(chosen).map(|service| service.name.clone()).collect();
    let mut next = 0;
    while !no_deps && next < found.len() {
        let needs = all.iter().find(|service| service.name == found[next]).map(|service| service.depends_on.as_slice());
        for name in needs.unwrap_or_default() {
            if !found.contains(name) {
                found.push(name.clone());
            }
        }
        next += 1;
    }
    found
}
