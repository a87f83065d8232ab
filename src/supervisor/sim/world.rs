//! Processes, STS and clocks, as far as the supervisor can tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::check::Ledger;
use super::ports::words;
use super::services::{Temper, random_service, random_temper};
use crate::manifest::{Name, Service};
use crate::supervisor::jitter::Jitter;
use crate::supervisor::{
    AskId, Boot, Effect, Event, Exit, Lease, LeaseId, Mono, Now, Refusal, RunId, Supervisor, Wall,
};

const HOUR: u64 = 3_600_000;

/// A process tree in the world.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) stop_sent: bool,
    pub(super) exited: bool,
    pub(super) spawned: Mono,
    pub(super) started: Option<Mono>,
    pub(super) ready: bool,
    /// Since when it fails its `live` check.
    pub(super) unwell: Option<Mono>,
    /// How long its check may take; `None`: it has none.
    pub(super) within: Option<Duration>,
}

impl Tree {
    pub(super) fn live(&self) -> bool {
        !self.stop_sent && !self.exited
    }

    pub(super) fn is_ready(&self, now: Now) -> bool {
        let alive = |at: Mono| self.within.is_none() && now.mono.since(at) >= Service::ALIVE;
        self.live() && (self.ready || self.started.is_some_and(alive))
    }
}

pub(super) struct World {
    pub(super) rng: Jitter,
    pub(super) supervisor: Supervisor,
    pub(super) now: Now,
    end: Mono,
    /// (when, order, fact)
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub(super) services: Vec<Arc<Service>>,
    tempers: BTreeMap<Name, Temper>,
    pub(super) trees: BTreeMap<RunId, Tree>,
    /// STS refuses everybody until then; some services are refused for their own fault until then.
    pub(super) outage: u64,
    pub(super) denied: BTreeMap<Name, u64>,
    pub(super) debuggers: BTreeSet<RunId>,
    /// Is what somebody else runs there? As last told.
    pub(super) outside: BTreeMap<Name, bool>,
    pub(super) life: u64,
    pub(super) ledger: Ledger,
    pub(super) steps: u64,
    next_person: u64,
    recent: VecDeque<String>,
    same_instant: (u64, u32),
    pub(super) over: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Jitter::new(seed ^ 0x5eed);
        let count = 1 + rng.next() % 6;
        let life = [6_000, 60_000, 60_000, 15 * 60_000, 15 * 60_000, HOUR][(rng.next() % 6) as usize];
        let mut tempers = BTreeMap::new();
        let services: Vec<Arc<Service>> = (0..count)
            .map(|at| {
                let service = random_service(&mut rng, at, life);
                tempers.insert(service.name.clone(), random_temper(&mut rng, &service, life));
                Arc::new(service)
            })
            .collect();
        // A day for hour-long leases; for short ones a day is a dozen lives.
        let end = Mono(life * if life == HOUR { 24 } else { 12 });
        let start = Now { mono: Mono(1_000_000), boot: Boot(1_500_000), wall: Wall(1_790_000_000_000) };
        let mut world = Self {
            supervisor: Supervisor::new(rng.next()),
            now: start,
            end: end + Duration::from_millis(start.mono.0),
            queue: BTreeMap::new(),
            order: 0,
            services,
            tempers,
            trees: BTreeMap::new(),
            outage: 0,
            denied: BTreeMap::new(),
            debuggers: BTreeSet::new(),
            outside: BTreeMap::new(),
            life,
            ledger: Ledger::default(),
            steps: 0,
            next_person: start.mono.0 + 1,
            recent: VecDeque::new(),
            same_instant: (0, 0),
            over: false,
            rng,
        };
        let services = world.services.clone();
        world.step(Event::Loaded { services, known: Vec::new() });
        world.ask_outside();
        world.start_all();
        world
    }

    /// To the next thing that happens; false once the shutdown at the end of the day is complete.
    pub(super) fn advance(&mut self) -> bool {
        let wake = self.supervisor.next_wake(self.now);
        let boot_wake = wake.boot.map(|at| self.now.mono.0 + (at.0 - self.now.boot.0));
        let queued = self.queue.first_key_value().map(|(&(at, _), _)| at);
        let dusk = (self.now.mono < self.end).then_some(self.end.0);
        let person = (self.now.mono < self.end).then_some(self.next_person);
        let next = [wake.mono.map(|at| at.0), boot_wake, queued, person, dusk].into_iter().flatten().min();
        let Some(next) = next else {
            assert!(
                self.over,
                "nothing will ever happen again, and it is not over: {:#?}",
                self.supervisor.views(self.now)
            );
            return false;
        };
        self.pass(next.saturating_sub(self.now.mono.0));
        if self.now.mono >= self.end && !self.supervisor.shutting_down() {
            self.shut_down();
        } else if queued == Some(next) {
            let (_, event) = self.queue.pop_first().expect("just seen");
            self.step(event);
        } else if person == Some(next) {
            self.next_person = next + 1 + self.rng.next() % self.life;
            self.somebody_does_something();
        } else {
            self.step(Event::Woke);
        }
        !self.over
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.mono.0 += ms;
        self.now.boot.0 += ms;
        self.now.wall.0 += ms.cast_signed();
    }

    pub(super) fn step(&mut self, event: Event) {
        self.steps += 1;
        // A hot loop: time does not pass any more.
        self.same_instant = if self.same_instant.0 == self.now.mono.0 {
            (self.now.mono.0, self.same_instant.1 + 1)
        } else {
            (self.now.mono.0, 0)
        };
        assert!(self.same_instant.1 < 200, "two hundred steps at one instant: {event:?}");
        if tracing() {
            let words = if matches!(event, Event::Loaded { .. }) { "Loaded".to_owned() } else { format!("{event:?}") };
            self.recent.push_back(format!("{}: {words}", self.now.mono.0));
            self.recent.drain(..self.recent.len().saturating_sub(60));
        }
        self.learn(&event);
        let effects = self.supervisor.step(self.now, event);
        // Views are costly; a look at every eighth quiet step finds what is wrong soon enough.
        let look = !effects.is_empty() || self.steps.is_multiple_of(8);
        for effect in effects {
            if tracing() {
                self.recent.push_back(format!("    {}", words(&effect)));
            }
            self.judge(&effect);
            self.carry_out(effect);
        }
        if look {
            self.check();
            let again = self.supervisor.step(self.now, Event::Woke);
            assert!(again.is_empty(), "a second look does something: {again:?}");
        }
    }

    pub(super) fn story(&self) -> String {
        let recent: Vec<_> = self.recent.iter().map(String::as_str).collect();
        format!("at {:?}; {}", self.now, recent.join("\n"))
    }

    /// A report that is never doubled.
    pub(super) fn later_once(&mut self, ms: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now.mono.0 + ms, self.order), event);
    }

    pub(super) fn later(&mut self, ms: u64, event: Event) {
        self.order += 1;
        // One report in ten comes twice, the second time late.
        if self.rng.next().is_multiple_of(10) && !matches!(event, Event::Granted { .. }) {
            let late = self.now.mono.0 + ms + self.rng.next() % 5_000;
            self.queue.insert((late, self.order + (1 << 40)), event.clone());
        }
        self.queue.insert((self.now.mono.0 + ms, self.order), event);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { ask, service } => self.answer(ask, &service),
            Effect::Forget { .. } | Effect::Unclaim { .. } | Effect::Note(_) => {}
            Effect::Look { run } => self.look(run),
            Effect::Claim { service } => self.claim(&service.name),
            Effect::Drain { run } => self.drain(run),
            Effect::Spawn { run, service, .. } => self.spawn(run, &service),
            Effect::Stop { run, timeout, .. } => self.stop(&run, timeout),
            Effect::Kill { run } => self.kill(&run),
            Effect::Finished => self.over = true,
        }
    }

    fn answer(&mut self, ask: AskId, service: &Service) {
        let delay = 5 + self.rng.next() % 400;
        let slow = if self.rng.next().is_multiple_of(30) { 14_000.min(self.life / 3) } else { 0 };
        let name = service.name.clone();
        let down = self.now.mono.0 < self.outage;
        let denied = self.denied.get(&name).is_some_and(|&until| self.now.mono.0 < until);
        let event = if down || denied || self.rng.next().is_multiple_of(50) {
            Event::Refused { ask, service: name, refusal: refusal(denied) }
        } else {
            let issued = self.now.boot + Duration::from_millis(delay + slow);
            let life = Duration::from_millis(self.life);
            let lease =
                Lease { id: LeaseId(ask.0), issued, expires: issued + life, expires_wall: self.now.wall + life };
            self.ledger.leased(&lease, service);
            Event::Granted { ask, service: name, lease }
        };
        self.later(delay + slow, event);
    }

    fn spawn(&mut self, run: RunId, service: &Service) {
        let within = service.ready.as_ref().map(|ready| ready.timeout);
        let spawned = self.now.mono;
        let tree = Tree { stop_sent: false, exited: false, spawned, started: None, ready: false, unwell: None, within };
        self.trees.insert(run.clone(), tree);
        let temper = self.tempers[&run.service].clone();
        let quick = 1 + self.rng.next() % 20;
        if temper.start_fails > 0 && self.rng.next().is_multiple_of(temper.start_fails) {
            self.later(quick, Event::StartFailed { run: run.clone(), what: "no such file".into() });
            self.later(quick + 1, Event::Gone { run });
            return;
        }
        self.later(quick, Event::Started { run: run.clone(), pid: run.number });
        if within.is_some() {
            self.later(quick + 1, Event::NotReady { run: run.clone(), what: "connection refused".into() });
        }
        if let Some(ready) = temper.ready {
            self.later(quick + ready, Event::BecameReady { run: run.clone() });
        }
        if temper.crashes > 0 {
            // Sometimes before `started` is told.
            let at = self.rng.next() % (2 * temper.crashes);
            let exit = [Exit::Code(1), Exit::Code(0), Exit::Signal(11)][(self.rng.next() % 3) as usize];
            self.later(at, Event::Exited { run: run.clone(), exit });
            let linger = self.rng.next() % 50;
            self.later(at + 1 + linger, Event::Gone { run });
        }
    }

    /// The keeper looks; one in twenty hangs.
    fn look(&mut self, run: RunId) {
        if self.rng.next().is_multiple_of(20) {
            self.ledger.trouble(&run.service, self.now);
        } else {
            let by = self.debuggers.contains(&run).then(|| "gdb (pid 812)".to_owned());
            self.later(1, Event::Traced { run, by });
        }
    }

    fn stop(&mut self, run: &RunId, timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).expect("small");
        let temper = self.tempers[&run.service].clone();
        let Some(tree) = self.trees.get_mut(run) else { return };
        tree.stop_sent = true;
        if let Some(ms) = temper.polite.filter(|&ms| ms < timeout) {
            self.end(run, ms, Exit::Code(0));
        } else {
            self.force(run, timeout);
        }
    }

    fn kill(&mut self, run: &RunId) {
        if self.trees.contains_key(run) {
            self.force(run, 0);
        }
    }

    /// The keeper's SIGKILL after `ms`.
    fn force(&mut self, run: &RunId, ms: u64) {
        let unkillable = self.tempers[&run.service].unkillable;
        if unkillable > 0 && self.rng.next().is_multiple_of(unkillable) {
            let who = vec!["pid 812 (D state)".to_owned()];
            self.later(ms + 2_000, Event::Survived { run: run.clone(), who });
            let stuck = self.rng.next() % 600_000;
            self.end(run, ms + 2_000 + stuck, Exit::Signal(9));
        } else {
            self.end(run, ms + 1, Exit::Signal(9));
        }
    }

    fn end(&mut self, run: &RunId, ms: u64, exit: Exit) {
        self.later(ms, Event::Exited { run: run.clone(), exit });
        let linger = self.rng.next() % 30;
        self.later(ms + 1 + linger, Event::Gone { run: run.clone() });
    }

    /// What the world itself knows from a fact that is delivered.
    fn learn(&mut self, event: &Event) {
        self.ledger.outdates_questions(event);
        match event {
            Event::Gone { run } => {
                self.trees.remove(run);
                self.begin_promptness_anew(&run.service);
            }
            Event::Exited { run, .. } | Event::StartFailed { run, .. } | Event::KeeperLost { run, .. } => {
                self.learn_end(run, matches!(event, Event::Exited { exit: Exit::Code(0), .. }));
            }
            Event::Started { run, .. } => {
                if let Some(tree) = self.trees.get_mut(run) {
                    tree.started.get_or_insert(self.now.mono);
                }
            }
            Event::BecameReady { run } => self.learn_ready(run),
            Event::Health { run, trouble } => {
                if let Some(tree) = self.trees.get_mut(run).filter(|tree| tree.live()) {
                    tree.unwell = trouble.as_ref().map(|_| tree.unwell.unwrap_or(self.now.mono));
                }
            }
            Event::External { service, trouble } => {
                self.outside.insert(service.clone(), trouble.is_none());
            }
            Event::FileChanged { service, .. } => self.ledger.changed(service, self.now),
            Event::Traced { run, by: None } => {
                self.debuggers.remove(run);
                self.begin_promptness_anew(&run.service);
            }
            Event::Granted { ask, service, lease } => {
                self.ledger.answered(service, *ask);
                self.ledger.granted(service, lease.id);
            }
            Event::Refused { ask, service, .. } => {
                self.ledger.answered(service, *ask);
                self.ledger.trouble(service, self.now);
            }
            Event::Ports { service, trouble } => {
                if trouble.is_none() {
                    self.ledger.free.insert(service.clone());
                } else {
                    self.ledger.trouble(service, self.now);
                }
                self.begin_promptness_anew(service);
            }
            Event::Loaded { .. }
            | Event::PortsOwn { .. }
            | Event::PortsAgain { .. }
            | Event::Drained { .. }
            | Event::Commanded { .. }
            | Event::NotReady { .. }
            | Event::Said { .. }
            | Event::Survived { .. }
            | Event::Traced { .. }
            | Event::Occupied { .. }
            | Event::Woke => {}
        }
    }

    fn learn_end(&mut self, run: &RunId, well: bool) {
        let now = self.now;
        let beside = self.trees.iter().any(|(id, tree)| id != run && id.service == run.service && tree.live());
        let Some(tree) = self.trees.get_mut(run) else { return };
        if tree.live() && well && !beside {
            self.ledger.done(&run.service, tree.is_ready(now));
        }
        tree.exited = true;
    }

    /// Only what is ready is asked whether it is well; some fall ill then, and some get well again.
    fn learn_ready(&mut self, run: &RunId) {
        let Some(tree) = self.trees.get_mut(run).filter(|tree| tree.live() && !tree.ready) else { return };
        tree.ready = true;
        if tree.within.is_some_and(|within| self.now.mono.since(tree.spawned) > within) {
            // A lease may well run out meanwhile.
            self.ledger.trouble(&run.service, self.now);
        }
        let sick = self.tempers[&run.service].sick;
        if sick == 0 {
            return;
        }
        let at = self.rng.next() % (2 * sick);
        self.later_once(at, Event::Health { run: run.clone(), trouble: Some("timeout".into()) });
        if self.rng.next().is_multiple_of(3) {
            let well = at + self.rng.next() % 20_000;
            self.later_once(well, Event::Health { run: run.clone(), trouble: None });
        }
    }

    /// The first answers of what somebody else runs, soon.
    pub(super) fn ask_outside(&mut self) {
        let external: Vec<Name> =
            self.services.iter().filter(|service| service.external()).map(|service| service.name.clone()).collect();
        for service in external {
            let trouble = self.rng.next().is_multiple_of(2).then(|| "connection refused".to_owned());
            let soon = self.rng.next() % 10_000;
            self.later_once(soon, Event::External { service, trouble });
        }
    }

    pub(super) fn alive(&self, service: &Name) -> BTreeSet<u32> {
        self.trees.keys().filter(|run| run.service == *service).map(|run| run.number).collect()
    }
}

/// One day is replayed: remember more of it.
fn tracing() -> bool {
    static ONE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ONE.get_or_init(|| std::env::var_os("DEVSUP_SIM_SEED").is_some())
}

fn refusal(lasting: bool) -> Refusal {
    Refusal {
        lasting,
        code: if lasting { "AccessDenied" } else { "Unreachable" }.into(),
        message: "no".into(),
        hint: None,
        side: None,
        caller: None,
        request_id: None,
        retry_after: None,
        at: Wall(0),
    }
}
