//! The invariants, seen from outside: from effects and views, never from the supervisor's own state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use crate::manifest::{Condition, Name, Replace, Role, Service};
use crate::supervisor::{
    AskId, Boot, Command, Effect, Event, Happening, Lease, LeaseId, Mono, Note, Now, Reason, RunId, State, StopWhy,
    View, Want,
};

/// What the world remembers in order to judge.
#[derive(Default)]
pub(super) struct Ledger {
    leases: BTreeMap<LeaseId, (Lease, Name, Option<Role>)>,
    /// Granted and not yet forgotten.
    secrets: BTreeMap<Name, BTreeSet<LeaseId>>,
    runs: BTreeMap<RunId, Option<LeaseId>>,
    stops: BTreeSet<RunId>,
    drains: BTreeSet<RunId>,
    /// Those whose ports were found free since they were last asked for.
    pub(super) free: BTreeSet<Name>,
    held: BTreeMap<Name, Boot>,
    /// Until then a service has an excuse for living on an expired lease.
    excused: BTreeMap<Name, Boot>,
    asked: BTreeMap<Name, (Mono, u32)>,
    /// Asked and not answered.
    open: BTreeMap<Name, AskId>,
    acted: BTreeMap<Name, Mono>,
    /// Those that have run, those that were started without their dependencies, when each was started last.
    ever: BTreeSet<Name>,
    alone: BTreeSet<Name>,
    spawned: BTreeMap<Name, Mono>,
    /// One-shots that ended well; were they ready before?
    done: BTreeMap<Name, bool>,
    late: BTreeSet<RunId>,
    changed: BTreeMap<Name, Mono>,
    pub(super) occupied: BTreeSet<Name>,
    pub(super) shut: bool,
    finished: bool,
}

/// Retries are at most two minutes apart, and a rotation may have to wait for others.
const SLACK: Duration = Duration::from_mins(8);

impl Ledger {
    pub(super) fn leased(&mut self, lease: &Lease, service: &Service) {
        self.leases.insert(lease.id, (lease.clone(), service.name.clone(), service.role.clone()));
    }

    pub(super) fn answered(&mut self, service: &Name, ask: AskId) {
        if self.open.get(service) == Some(&ask) {
            self.open.remove(service);
        }
    }

    pub(super) fn granted(&mut self, service: &Name, lease: LeaseId) {
        self.secrets.entry(service.clone()).or_default().insert(lease);
    }

    pub(super) fn done(&mut self, service: &Name, was_ready: bool) {
        self.done.insert(service.clone(), was_ready);
    }

    pub(super) fn changed(&mut self, service: &Name, now: Now) {
        self.changed.insert(service.clone(), now.mono);
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

    /// A person, or another meaning of the service, may make a question one of yesterday: then another is put.
    pub(super) fn outdates_questions(&mut self, event: &Event) {
        match event {
            Event::Loaded { .. } => self.open.clear(),
            Event::FileChanged { service, .. } => drop(self.open.remove(service)),
            Event::Commanded { command: Command::Start { services, .. } | Command::Stop { services, .. }, .. }
            | Event::Commanded { command: Command::Restart { services, .. }, .. } => {
                self.open.retain(|name, _| !services.contains(name));
            }
            _ => {}
        }
    }

    pub(super) fn commanded(&mut self, event: &Event, now: Now) {
        let Event::Commanded { command, .. } = event else { return };
        if let Command::Start { services, no_deps: true } = command {
            self.alone.extend(services.iter().cloned());
        }
        match command {
            Command::Hold { service, lasts } => {
                let until = now.boot + lasts.unwrap_or(Duration::from_hours(1000));
                self.held.insert(service.clone(), until);
                self.excuse(service, until);
            }
            Command::Release { service } => {
                self.held.insert(service.clone(), now.boot);
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
            Effect::Spawn { run, service, lease, why } => self.judge_spawn(run, service, *lease, why),
            Effect::Stop { run, why, .. } => self.judge_stop(run, why),
            Effect::Ask { ask, service } => self.judge_ask(*ask, service),
            Effect::Forget { lease } => {
                if let Some((_, name, _)) = self.ledger.leases.get(lease) {
                    self.ledger.secrets.entry(name.clone()).or_default().remove(lease);
                }
            }
            Effect::Finished => {
                assert!(self.ledger.shut && !self.ledger.finished, "finished twice, or without a shutdown");
                self.ledger.finished = true;
            }
            Effect::Note(note) => self.judge_note(note),
            Effect::Claim { service } => drop(self.ledger.free.remove(&service.name)),
            Effect::Drain { run } => {
                let first = self.ledger.drains.insert(run.clone());
                assert!(first && self.trees.contains_key(run), "drained twice, or not there: {run}; {}", self.story());
            }
            Effect::Kill { .. } | Effect::Look { .. } | Effect::Unclaim { .. } => {}
        }
    }

    fn judge_spawn(&mut self, run: &RunId, service: &Service, lease: Option<LeaseId>, why: &[Reason]) {
        let story = || self.story();
        assert!(!service.external(), "{run} is started, which is not ours; {}", story());
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
        let free = service.ports.is_empty() || self.ledger.free.contains(&service.name);
        assert!(free, "{run} is started before its ports are free; {}", story());
        self.judge_order(run, service, why);
        self.ledger.runs.insert(run.clone(), lease);
    }

    fn judge_order(&mut self, run: &RunId, service: &Service, why: &[Reason]) {
        let first = self.ledger.ever.insert(service.name.clone());
        let alone = self.ledger.alone.contains(&service.name) || !self.alive(&service.name).is_empty();
        self.ledger.spawned.insert(service.name.clone(), self.now.mono);
        self.ledger.done.remove(&service.name);
        if alone || !first && !why.is_empty() {
            return;
        }
        for (name, edge) in &service.depends_on {
            let view = self.supervisor.view(self.now, name.as_str());
            let waived = view.is_none_or(|view| {
                let over = view.next.as_deref() == Some("over when the tree is empty");
                !first && (over || view.want == Want::Down || matches!(view.state, State::Done | State::Failed))
            });
            let met = waived || self.met(name, edge.condition);
            assert!(met, "{run} starts before {name} is {:?}; {}", edge.condition, self.story());
        }
    }

    /// Does the condition hold, as far as facts were told?
    fn met(&self, name: &Name, condition: Condition) -> bool {
        // One that was ours until an edit still may have a run.
        let external = self.services.iter().any(|service| service.name == *name && service.external());
        if external && self.alive(name).is_empty() {
            return condition != Condition::Completed && self.outside.get(name).copied().unwrap_or_default();
        }
        let done = self.ledger.done.get(name);
        let mut trees = self.trees.iter().filter(|(id, _)| id.service == *name).map(|(_, tree)| tree);
        match condition {
            Condition::Started => done.is_some() || trees.any(|tree| tree.live() && tree.started.is_some()),
            Condition::Ready => {
                done == Some(&true) || trees.any(|tree| tree.is_ready(self.now) && tree.unwell.is_none())
            }
            Condition::Completed => done.is_some(),
        }
    }

    fn judge_note(&mut self, note: &Note) {
        if let (Happening::Released, Some(service)) = (&note.what, &note.service) {
            self.begin_promptness_anew(service);
        }
        if let (Happening::NotReadyInTime { .. }, Some(service), Some(number)) = (&note.what, &note.service, note.run) {
            let run = RunId { service: service.clone(), number };
            let tree = &self.trees[&run];
            let due = tree.within.is_some_and(|within| tree.spawned + within <= self.now.mono);
            assert!(due && !tree.is_ready(self.now), "{run} is called late and is not; {}", self.story());
            let first = self.ledger.late.insert(run.clone());
            assert!(first, "{run} is called late twice; {}", self.story());
        }
    }

    /// What stood in the way of a replacement is gone.
    pub(super) fn begin_promptness_anew(&mut self, service: &Name) {
        for (_, tree) in self.trees.iter_mut().filter(|(run, _)| run.service == *service) {
            tree.unwell = tree.unwell.map(|_| self.now.mono);
        }
    }

    /// What nobody asked for has a cause that is true now, and respects holds and debuggers.
    fn judge_automatic(&self, run: &RunId, reasons: &[Reason]) {
        if reasons.iter().any(|reason| matches!(reason, Reason::Restart { .. })) {
            return;
        }
        let held = self.ledger.held.get(&run.service).is_some_and(|&until| until > self.now.boot);
        // In an overlap it was begun before.
        let overlaps = self.alive(&run.service).len() > 1;
        assert!(!held || overlaps, "{run} is replaced while held: {reasons:?}; {}", self.story());
        let traced = self.debuggers.contains(run);
        assert!(!traced || overlaps, "{run} is replaced under a debugger: {reasons:?}; {}", self.story());
        let tree = &self.trees[run];
        if reasons.contains(&Reason::Unhealthy) {
            assert!(tree.unwell.is_some() || overlaps, "{run} is well and replaced as unhealthy; {}", self.story());
        }
        if reasons.iter().any(|reason| matches!(reason, Reason::FileChanged { .. })) {
            let changed = self.ledger.changed.get(&run.service).copied().unwrap_or_default();
            assert!(changed >= tree.spawned, "{run} is newer than the files that changed; {}", self.story());
        }
    }

    fn judge_stop(&mut self, run: &RunId, why: &StopWhy) {
        let first = self.ledger.stops.insert(run.clone());
        let story = || self.story();
        assert!(self.trees.contains_key(run), "a run is stopped that is not there: {run}; {}", story());
        assert!(first, "stopped twice: {run}; {}", story());
        // That was decided when its callers were sent away.
        let drained = self.ledger.drains.contains(run);
        if let StopWhy::Replaced(reasons) = why
            && !drained
        {
            self.judge_automatic(run, reasons);
        }
        match why {
            StopWhy::Replaced(_) if drained => {}
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
    fn judge_ask(&mut self, ask: AskId, service: &Service) {
        assert!(!self.ledger.shut, "an ask after the shutdown; {}", self.story());
        let open = self.ledger.open.insert(service.name.clone(), ask);
        assert_eq!(open, None, "two questions at once for {}; {}", service.name, self.story());
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

    /// Invariant 10, in words: who is wanted and does not run says what comes next, and who waits for others names them.
    fn check_words(&self, view: &View) {
        if view.want == Want::Down {
            return;
        }
        let told = view.state == State::Running || view.next.is_some();
        assert!(told, "invariant 10: {} does not say what comes next: {view:#?}; {}", view.name, self.story());
        let credentials = view.status.starts_with("waiting for credentials");
        if view.state == State::Waiting && !view.external && !credentials {
            let port = view.status == "waiting for its port";
            let named = port || view.waits_for.iter().any(|name| view.status.contains(name.as_str()));
            assert!(named && view.why.is_some(), "invariant 10: {view:#?}; {}", self.story());
        }
    }

    /// Late is told when it is late, unwell is replaced, and a changed file is one more chance: all of it promptly.
    fn check_checks(&self, view: &View) {
        let prompt = Duration::from_secs(6);
        let held = self.ledger.held.get(&view.name).is_some_and(|&until| until > self.now.boot);
        let mut live = self.trees.iter().filter(|(run, tree)| run.service == view.name && tree.live());
        let only = live.next().filter(|_| live.next().is_none());
        if let Some((run, tree)) = only.filter(|_| view.want == Want::Up) {
            let late = tree.within.is_some_and(|within| tree.spawned + within <= self.now.mono) && !tree.ready;
            let told = self.ledger.late.contains(run);
            assert!(!late || told, "{run} is late and nobody says so; {}", self.story());
            assert!(view.overdue == late, "{run} is late: {late}, and shown otherwise; {}", self.story());
            let ill = tree.unwell.is_some_and(|at| self.now.mono.since(at) > prompt);
            // With a role it may have to wait for a lease, in an overlap for its next try.
            let plain = |service: &&Arc<Service>| service.role.is_none() && service.replace == Replace::Restart;
            let plain = self.services.iter().find(|service| service.name == view.name).is_some_and(|it| plain(&it));
            let alone = self.alive(&view.name).len() == 1;
            let port = view.why.as_ref().is_some_and(|why| why.starts_with("not replaced: 127.0.0.1"));
            let hindered = held || port || self.debuggers.contains(run) || self.ledger.occupied.contains(&view.name);
            let free = plain && alone && !hindered;
            assert!(!(ill && free), "{run} is unwell and not replaced: {view:#?}; {}", self.story());
        }
        let changed = self.ledger.changed.get(&view.name).copied().unwrap_or_default();
        let unseen = self.ledger.spawned.get(&view.name).is_some_and(|&spawned| spawned < changed);
        let given_up = matches!(view.state, State::Failed | State::Done | State::Backoff);
        let idle = unseen && given_up && view.want == Want::Up && view.held.is_none();
        assert!(!idle, "{} does not begin anew: {view:#?}; {}", view.name, self.story());
    }

    fn check_view(&self, view: &View) {
        let secrets = self.ledger.secrets.get(&view.name).map_or(0, BTreeSet::len);
        // One, and for each run that was born as another role at most its own.
        let most = 1 + self.alive(&view.name).len();
        assert!(secrets <= most, "secrets of {} pile up: {secrets}; {}", view.name, self.story());
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
        self.check_words(view);
        self.check_checks(view);
        // Promptness: nobody lives on an expired lease for more than a start and a look take, without an excuse.
        let expired = view.lease.as_ref().is_some_and(|lease| lease.left_ms < -6_000);
        let lives_expired = (view.state == State::Running || view.overdue && !view.external) && expired;
        let service = self.services.iter().find(|service| service.name == view.name);
        let rotates = service
            .and_then(|service| service.role.as_ref())
            .is_some_and(|role| role.delivery == crate::manifest::Delivery::Env);
        let overlaps = service.is_some_and(|service| service.replace == Replace::Overlap);
        if service.is_some_and(|service| service.needs_lease()) && !rotates {
            self.check_served(view);
        }
        if lives_expired && rotates && !overlaps && view.want == Want::Up {
            let excused = self.ledger.excused.get(&view.name).is_some_and(|&until| until > self.now.boot);
            assert!(excused, "promptness: {} lives on an expired lease: {view:#?}; {}", view.name, self.story());
        }
        // A crash is only what we did not do: see `tests` for the counter itself.
        if view.state == State::Backoff {
            assert!(view.crashes > 0, "backoff without a crash: {view:?}");
        }
    }

    /// Promptness where no restart is needed: no less than half of a life is left of what is served, but for what an answer
    /// takes; and what is served is what is held.
    fn check_served(&self, view: &View) {
        let Some(lease) = view.lease.as_ref().filter(|_| view.state == State::Running && view.want == Want::Up) else {
            return;
        };
        let held = self.ledger.secrets.get(&view.name).is_some_and(|held| held.contains(&lease.id));
        assert!(held, "{} is served what is not held: {view:#?}; {}", view.name, self.story());
        assert_eq!(lease.rotates, None, "nothing of it is replaced; {}", self.story());
        let excused = self.ledger.excused.get(&view.name).is_some_and(|&until| until > self.now.boot);
        let slow = i64::try_from(self.life / 3).expect("small") + 1_000;
        let half = i64::try_from(self.life / 2).expect("small");
        assert!(
            excused || lease.left_ms >= half - slow.min(15_000),
            "promptness: {} is served {} of {} ms; {}",
            view.name,
            lease.left_ms,
            self.life,
            self.story()
        );
    }
}
