//! Processes, STS and clocks, as far as the supervisor can tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::check::Ledger;
use crate::manifest::{
    Backoff, Check, Command, Condition, Delivery, Dependency, Name, Ready, Replace, Restart, Role, RoleArn, Service,
};
use crate::supervisor::jitter::Jitter;
use crate::supervisor::{
    AskId, Boot, Effect, Event, Exit, Lease, LeaseId, Mono, Now, Refusal, RunId, Supervisor, Wall,
};

const HOUR: u64 = 3_600_000;

/// What a process of this service is like.
#[derive(Clone, Debug)]
pub(super) struct Temper {
    /// Milliseconds from the stop signal to the empty tree; `None`: only SIGKILL ends it.
    polite: Option<u64>,
    /// One start in so many fails.
    start_fails: u64,
    /// Mean milliseconds to a crash; 0: never by itself.
    crashes: u64,
    /// One SIGKILL in so many leaves somebody for a while; 0: never.
    unkillable: u64,
    /// Milliseconds to ready, for those with a check; `None`: never.
    ready: Option<u64>,
}

/// A process tree in the world.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) stop_sent: bool,
    pub(super) exited: bool,
    pub(super) started: bool,
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
                tempers.insert(service.name.clone(), random_temper(&mut rng, &service));
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
        // Views are costly; a look at every fifth quiet step finds what is wrong soon enough.
        let look = !effects.is_empty() || self.steps.is_multiple_of(5);
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
            Effect::Forget { .. } | Effect::Note(_) => {}
            Effect::Look { run } => self.look(run),
            Effect::Spawn { run, .. } => self.spawn(run),
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

    fn spawn(&mut self, run: RunId) {
        self.trees.insert(run.clone(), Tree { stop_sent: false, exited: false, started: false });
        let temper = self.tempers[&run.service].clone();
        let quick = 1 + self.rng.next() % 20;
        if temper.start_fails > 0 && self.rng.next().is_multiple_of(temper.start_fails) {
            self.later(quick, Event::StartFailed { run: run.clone(), what: "no such file".into() });
            self.later(quick + 1, Event::Gone { run });
            return;
        }
        self.later(quick, Event::Started { run: run.clone(), pid: run.number });
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
        match event {
            Event::Gone { run } => {
                self.trees.remove(run);
            }
            Event::Exited { run, .. } | Event::StartFailed { run, .. } | Event::KeeperLost { run, .. } => {
                if let Some(tree) = self.trees.get_mut(run) {
                    tree.exited = true;
                }
            }
            Event::Started { run, .. } => {
                if let Some(tree) = self.trees.get_mut(run) {
                    tree.started = true;
                }
            }
            Event::Granted { service, lease, .. } => self.ledger.granted(service, lease.id),
            Event::Refused { service, .. } => self.ledger.trouble(service, self.now),
            Event::Loaded { .. }
            | Event::Commanded { .. }
            | Event::BecameReady { .. }
            | Event::NotReady { .. }
            | Event::Health { .. }
            | Event::Said { .. }
            | Event::External { .. }
            | Event::FileChanged { .. }
            | Event::Survived { .. }
            | Event::Traced { .. }
            | Event::Occupied { .. }
            | Event::Woke => {}
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

fn words(effect: &Effect) -> String {
    match effect {
        Effect::Ask { ask, service } => format!("ask {} for {}", ask.0, service.name),
        Effect::Spawn { run, lease, why, service } => {
            format!("spawn {run} on {lease:?} {why:?} {:?} ready {:?}", service.replace, service.ready)
        }
        Effect::Note(note) => format!("note {:?} {:?}", note.service, note.what),
        Effect::Forget { .. } | Effect::Look { .. } | Effect::Stop { .. } | Effect::Kill { .. } | Effect::Finished => {
            format!("{effect:?}")
        }
    }
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

fn random_temper(rng: &mut Jitter, service: &Service) -> Temper {
    let checked = service.ready.is_some();
    Temper {
        polite: if rng.next().is_multiple_of(5) { None } else { Some(rng.next() % 3_000) },
        start_fails: [0, 0, 0, 5, 40][(rng.next() % 5) as usize],
        crashes: [0, 0, 0, 0, 0, 300, 7_200_000, 7_200_000][(rng.next() % 8) as usize],
        unkillable: [0, 0, 0, 10][(rng.next() % 4) as usize],
        ready: if checked && rng.next().is_multiple_of(6) { None } else { Some(rng.next() % 4_000) },
    }
}

pub(super) fn random_service(rng: &mut Jitter, at: u64, life: u64) -> Service {
    let names = ["a", "b", "c", "d", "e", "f"];
    let name = Name::new(names[usize::try_from(at).expect("small")]);
    let mut depends_on = BTreeMap::new();
    for below in &names[..usize::try_from(at).expect("small")] {
        if rng.next().is_multiple_of(3) {
            let condition = [Condition::Started, Condition::Ready][(rng.next() % 2) as usize];
            let edge = Dependency { condition, restart: rng.next().is_multiple_of(4) };
            depends_on.insert(Name::new(below), edge);
        }
    }
    let role = (!rng.next().is_multiple_of(5)).then(|| random_role(rng, &name, life));
    let replace = if rng.next().is_multiple_of(3) { Replace::Overlap } else { Replace::Restart };
    let checked = !rng.next().is_multiple_of(2);
    let ready = Ready { check: Check::Notify, timeout: Duration::from_secs(5), interval: Ready::INTERVAL };
    Service {
        depends_on,
        restart: [Restart::Always, Restart::OnFailure, Restart::Never][(rng.next() % 3) as usize],
        backoff: Backoff {
            max: Duration::from_secs(if rng.next().is_multiple_of(16) { 30 } else { 1800 }),
            ..Service::BACKOFF
        },
        max_restarts: (rng.next().is_multiple_of(8)).then_some(5),
        stop_timeout: Duration::from_millis(100 + rng.next() % 10_000),
        role,
        replace,
        ready: checked.then_some(ready),
        ..Service::of(name, Some(Command::Exec(vec!["x".into()])), "/")
    }
}

fn random_role(rng: &mut Jitter, name: &Name, life: u64) -> Role {
    let arn = RoleArn::checked(&format!("arn:aws:iam::033145145979:role/{name}{}", rng.next() % 2));
    Role {
        rotate_before: (rng.next().is_multiple_of(4)).then(|| Duration::from_millis(life / 10)),
        delivery: if rng.next().is_multiple_of(6) { Delivery::Endpoint } else { Delivery::Env },
        ..Role::of(arn)
    }
}
