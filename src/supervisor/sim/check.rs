//! The invariants, seen from outside: from effects and views, never from the supervisor's own state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::World;
use crate::manifest::{Condition, Name, Replace, Role, Service};
use crate::supervisor::{
    Boot, Command, Effect, Event, Lease, LeaseId, Mono, Now, Reason, RunId, State, StopWhy, View, Want,
};

/// What the world remembers in order to judge.
#[derive(Default)]
pub(super) struct Ledger {
    leases: BTreeMap<LeaseId, (Lease, Name, Option<Role>)>,
    /// Granted and not yet forgotten.
    secrets: BTreeMap<Name, BTreeSet<LeaseId>>,
    runs: BTreeMap<RunId, Option<LeaseId>>,
    stops: BTreeSet<RunId>,
    held: BTreeMap<Name, Boot>,
    /// Until then a service has an excuse for living on an expired lease.
    excused: BTreeMap<Name, Boot>,
    asked: BTreeMap<Name, (Mono, u32)>,
    acted: BTreeMap<Name, Mono>,
    pub(super) shut: bool,
    finished: bool,
}

/// Retries are at most two minutes apart, and a rotation may have to wait for others.
const SLACK: Duration = Duration::from_mins(8);

impl Ledger {
    pub(super) fn leased(&mut self, lease: &Lease, service: &Service) {
        self.leases.insert(lease.id, (lease.clone(), service.name.clone(), service.role.clone()));
    }

    pub(super) fn granted(&mut self, service: &Name, lease: LeaseId) {
        self.secrets.entry(service.clone()).or_default().insert(lease);
    }

    pub(super) fn trouble(&mut self, service: &Name, now: Now) {
        self.excuse(service, now.boot + SLACK);
    }

    pub(super) fn excuse(&mut self, service: &Name, until: Boot) {
        let excused = self.excused.entry(service.clone()).or_default();
        *excused = (*excused).max(until + SLACK);
    }

    pub(super) fn everybody(&mut self, now: Now) {
        for name in ["a", "b", "c", "d", "e", "f"] {
            self.trouble(&Name::new(name), now);
        }
    }

    pub(super) fn commanded(&mut self, event: &Event, now: Now) {
        let Event::Commanded { command, .. } = event else { return };
        match command {
            Command::Hold { service, lasts } => {
                let until = now.boot + lasts.unwrap_or(Duration::from_hours(1000));
                self.held.insert(service.clone(), until);
                self.excuse(service, until);
            }
            Command::Release { service } => {
                self.held.remove(service);
                self.trouble(service, now);
            }
            Command::Start { services, .. }
            | Command::Stop { services, .. }
            | Command::Restart { services, .. }
            | Command::Refresh { services } => {
                for service in services {
                    self.acted.insert(service.clone(), now.mono);
                }
            }
            Command::Shutdown { .. } | Command::KillAll => {}
        }
    }
}

impl World {
    /// Each effect, before it is carried out.
    pub(super) fn judge(&mut self, effect: &Effect) {
        match effect {
            Effect::Spawn { run, service, lease, .. } => self.judge_spawn(run, service, *lease),
            Effect::Stop { run, why, .. } => self.judge_stop(run, why),
            Effect::Ask { service, .. } => self.judge_ask(service),
            Effect::Forget { lease } => {
                if let Some((_, name, _)) = self.ledger.leases.get(lease) {
                    self.ledger.secrets.entry(name.clone()).or_default().remove(lease);
                }
            }
            Effect::Finished => {
                assert!(self.ledger.shut && !self.ledger.finished, "finished twice, or without a shutdown");
                self.ledger.finished = true;
            }
            Effect::Kill { .. } | Effect::Look { .. } | Effect::Note(_) => {}
        }
    }

    fn judge_spawn(&mut self, run: &RunId, service: &Service, lease: Option<LeaseId>) {
        let story = || self.story();
        assert!(!self.ledger.shut, "invariant 14: a start after the shutdown: {run}; {}", story());
        // Invariant 4: at most one run, except two during an overlap.
        let alive = self.alive(&run.service);
        let room = usize::from(service.replace == Replace::Overlap);
        assert!(alive.len() <= room, "invariant 4: {run} is started beside {alive:?}; {}", story());
        // Invariant 1: no run on credentials that are expired, of another service, or of another role.
        assert_eq!(lease.is_some(), service.role.is_some(), "a lease exactly when there is a role; {}", story());
        if let Some(id) = lease {
            let (lease, name, role) = &self.ledger.leases[&id];
            assert!(lease.expires > self.now.boot, "invariant 1: {run} starts on an expired lease; {}", story());
            assert_eq!((name, role), (&service.name, &service.role), "invariant 1: another's lease; {}", story());
        }
        // A first start waits for its dependencies.
        let view = self.supervisor.view(self.now, service.name.as_str()).expect("spawned");
        if view.restarts == 0 && alive.is_empty() {
            for (name, edge) in &service.depends_on {
                let other = self.supervisor.view(self.now, name.as_str());
                let met = other.is_none_or(|other| match edge.condition {
                    Condition::Started => other.pid.is_some() || other.state == State::Done,
                    Condition::Ready => other.ready,
                    Condition::Completed => other.state == State::Done,
                });
                assert!(
                    met || self.ledger.acted.contains_key(&service.name),
                    "{run} starts before {name}; {}",
                    story()
                );
            }
        }
        self.ledger.runs.insert(run.clone(), lease);
    }

    fn judge_stop(&mut self, run: &RunId, why: &StopWhy) {
        let first = self.ledger.stops.insert(run.clone());
        let story = || self.story();
        assert!(self.trees.contains_key(run), "a run is stopped that is not there: {run}; {}", story());
        assert!(first, "stopped twice: {run}; {}", story());
        match why {
            StopWhy::Replaced(reasons) if *reasons == [Reason::Credentials] => {
                // Invariant 2: the fresh lease first, and never while held.
                let on = self.ledger.runs[run];
                let freshest = self.ledger.secrets.get(&run.service).and_then(|held| held.last()).copied();
                assert!(
                    freshest > on,
                    "invariant 2: {run} is stopped on {on:?} before a fresher lease is held; {}",
                    story()
                );
                let held = self.ledger.held.get(&run.service).is_some_and(|&until| until > self.now.boot);
                assert!(!held, "invariant 2: {run} is stopped while held; {}", story());
            }
            StopWhy::Asked if self.ledger.shut => {
                let above = self.services.iter().filter(|other| other.depends_on.contains_key(&run.service));
                for other in above {
                    let alive = self.trees.iter().any(|(id, _)| id.service == other.name && !self.stuck(id));
                    assert!(!alive, "{run} is stopped before {}, which depends on it; {}", other.name, story());
                }
            }
            StopWhy::Asked | StopWhy::Replaced(_) | StopWhy::Leftover => {}
        }
    }

    fn stuck(&self, run: &RunId) -> bool {
        self.supervisor
            .view(self.now, run.service.as_str())
            .is_some_and(|view| view.why.is_some_and(|why| why.starts_with("survives")))
    }

    /// No storm: people aside, asks are a fifth of a second apart, and not endless.
    fn judge_ask(&mut self, service: &Service) {
        assert!(!self.ledger.shut, "an ask after the shutdown; {}", self.story());
        let acted = self.ledger.acted.get(&service.name).copied().unwrap_or_default();
        let (last, count) = self.ledger.asked.get(&service.name).copied().unwrap_or_default();
        let close = self.now.mono.since(last) < Duration::from_millis(200) && acted < last;
        let count = if close { count + 1 } else { 0 };
        assert!(count < 4, "a storm of questions for {}; {}", service.name, self.story());
        self.ledger.asked.insert(service.name.clone(), (self.now.mono, count));
    }

    /// The whole, after every step.
    pub(super) fn check(&mut self) {
        for view in self.supervisor.views(self.now) {
            self.check_view(&view);
        }
        let wake = self.supervisor.next_wake(self.now);
        assert!(wake.mono.is_none_or(|at| at > self.now.mono) && wake.boot.is_none_or(|at| at > self.now.boot));
        if self.over {
            let left: Vec<_> = self.trees.keys().filter(|run| !self.stuck(run)).collect();
            assert!(left.is_empty(), "invariant 5: finished while {left:?} live; {}", self.story());
        }
    }

    fn check_view(&self, view: &View) {
        let secrets = self.ledger.secrets.get(&view.name).map_or(0, BTreeSet::len);
        assert!(secrets <= 1, "secrets of {} pile up: {secrets}; {}", view.name, self.story());
        // Invariant 10: wanted and not running has a reason, and something that will wake it.
        if view.want == Want::Up && view.state == State::Waiting {
            assert_ne!(
                view.status,
                "waiting to start",
                "invariant 10: {} waits for nothing; {}",
                view.name,
                self.story()
            );
        }
        // Promptness: nobody lives on an expired lease for more than a start and a look take, without an excuse.
        let expired = view.lease.as_ref().is_some_and(|lease| lease.left_ms < -6_000);
        let lives_expired = view.state == State::Running && expired;
        let service = self.services.iter().find(|service| service.name == view.name);
        let rotates = service
            .and_then(|service| service.role.as_ref())
            .is_some_and(|role| role.delivery == crate::manifest::Delivery::Env);
        let overlaps = service.is_some_and(|service| service.replace == Replace::Overlap);
        if lives_expired && rotates && !overlaps && view.want == Want::Up {
            let excused = self.ledger.excused.get(&view.name).is_some_and(|&until| until > self.now.boot);
            assert!(excused, "promptness: {} lives on an expired lease: {view:#?}; {}", view.name, self.story());
        }
        // A crash is only what we did not do: see `tests` for the counter itself.
        if view.state == State::Backoff {
            assert!(view.crashes > 0, "backoff without a crash: {view:?}");
        }
    }
}
