//! A stage to tell a story on: time passes through every wake-up, effects come out as short words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::{
    Check, Command as Argv, Condition, Dependency, Handover, Listen, Name, Port, Ready, Replace, Role, RoleArn, Service,
};
use crate::supervisor::{
    AskId, Boot, By, Command, Effect, Event, Exit, Happening, Lease, LeaseId, Mono, Now, Refusal, RunId, StopWhy,
    Supervisor, View, Wall,
};

pub(super) const MIN: u64 = 60_000;

pub(super) struct Stage {
    pub(super) supervisor: Supervisor,
    pub(super) now: Now,
    words: Vec<String>,
    /// What happened to whom, as the journal would tell it.
    notes: Vec<(String, Happening)>,
    asks: BTreeMap<String, AskId>,
    requests: u32,
    /// Attached to whatever is looked at.
    pub(super) debugger: Option<String>,
    /// What is said of every port that is asked for.
    pub(super) port_held: Option<String>,
    /// Keepers hang: no look is answered.
    pub(super) deaf: bool,
}

pub(super) fn service(name: &str) -> Service {
    Service::of(name, Some(Argv::Exec(vec!["x".into()])), "/")
}

pub(super) fn with_role(name: &str) -> Service {
    let role = Role::of(RoleArn::checked(&format!("arn:aws:iam::033145145979:role/{name}")));
    Service { role: Some(role), ..service(name) }
}

/// Ready when its check says so, at the latest after 20 s.
pub(super) fn checked(service: Service) -> Service {
    let ready = Ready { check: Check::Notify, timeout: Duration::from_secs(20), interval: Ready::INTERVAL };
    Service { ready: Some(ready), ..service }
}

pub(super) fn overlapping(name: &str) -> Service {
    Service { replace: Replace::Overlap, ..checked(with_role(name)) }
}

/// devsup listens for it.
pub(super) fn handed_over(service: Service, handover: Handover) -> Service {
    let listen = Listen::At("127.0.0.1:8001".parse().expect("an address"));
    let port = Port { listen, handover, wait: Port::WAIT };
    Service { ports: [("http".to_owned(), port)].into(), ..service }
}

/// Somebody else runs it; it should be there within 20 s.
pub(super) fn external(name: &str) -> Service {
    Service { command: None, ..checked(service(name)) }
}

pub(super) fn needs(mut service: Service, on: &str, condition: Condition) -> Service {
    service.depends_on.insert(Name::new(on), Dependency { condition, restart: false });
    service
}

pub(super) fn run(name: &str, number: u32) -> RunId {
    RunId { service: Name::new(name), number }
}

pub(super) fn refusal(code: &str, lasting: bool) -> Refusal {
    Refusal {
        lasting,
        code: code.into(),
        message: format!("{code}: no"),
        hint: None,
        side: None,
        caller: None,
        request_id: None,
        retry_after: None,
        at: Wall(0),
    }
}

impl Stage {
    pub(super) fn new(services: Vec<Service>) -> Self {
        let now = Now { mono: Mono(1_000_000), boot: Boot(1_000_000), wall: Wall(1_790_000_000_000) };
        let mut stage = Self {
            supervisor: Supervisor::new(1),
            now,
            words: Vec::new(),
            notes: Vec::new(),
            asks: BTreeMap::new(),
            requests: 0,
            debugger: None,
            port_held: None,
            deaf: false,
        };
        let names: Vec<Name> = services.iter().map(|service| service.name.clone()).collect();
        stage.load(services);
        stage.command(Command::Start { services: names, no_deps: false });
        stage
    }

    pub(super) fn load(&mut self, services: Vec<Service>) {
        let services = services.into_iter().map(Arc::new).collect();
        self.event(Event::Loaded { services, known: Vec::new() });
    }

    pub(super) fn event(&mut self, event: Event) {
        let (mut looks, mut claims) = (Vec::new(), Vec::new());
        for effect in self.supervisor.step(self.now, event) {
            let word = match effect {
                Effect::Ask { ask, service } => {
                    self.asks.insert(service.name.to_string(), ask);
                    format!("ask {}", service.name)
                }
                Effect::Spawn { run, lease, why, .. } => {
                    let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                    let lease = lease.map(|lease| format!(" on {}", lease.0)).unwrap_or_default();
                    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
                    format!("spawn {run}{lease}{why}")
                }
                Effect::Stop { run, why: StopWhy::Replaced(_), .. } => format!("replace {run}"),
                Effect::Stop { run, .. } => format!("stop {run}"),
                Effect::Kill { run } => format!("kill {run}"),
                Effect::Forget { lease } => format!("forget {}", lease.0),
                Effect::Drain { run } => format!("drain {run}"),
                Effect::Unclaim { service } => format!("unclaim {service}"),
                Effect::Claim { service } => {
                    claims.push(service.name.clone());
                    continue;
                }
                Effect::Finished => "finished".into(),
                Effect::Look { run } => {
                    looks.push(run);
                    continue;
                }
                Effect::Note(note) => {
                    let whom = note.service.map(|name| name.to_string()).unwrap_or_default();
                    self.notes.push((whom, note.what));
                    continue;
                }
            };
            self.words.push(word);
        }
        for service in claims {
            let trouble = self.port_held.clone();
            self.event(Event::Ports { service, trouble });
        }
        for run in looks.into_iter().filter(|_| !self.deaf).collect::<Vec<_>>() {
            let by = self.debugger.clone();
            self.event(Event::Traced { run, by });
        }
    }

    /// What was said since the last look.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// How often this happened to `name` since the last look at it.
    pub(super) fn happened(&mut self, name: &str, what: &Happening) -> usize {
        let before = self.notes.len();
        self.notes.retain(|(whom, happening)| whom != name || happening != what);
        before - self.notes.len()
    }

    pub(super) fn command(&mut self, command: Command) {
        self.requests += 1;
        let request = self.requests.to_string();
        let by = By { uid: 1000, user: "alice".into() };
        self.event(Event::Commanded { request, by, command });
    }

    pub(super) fn restart(&mut self, name: &str) {
        self.command(Command::Restart { services: vec![Name::new(name)], timeout: None, no_deps: false, force: false });
    }

    pub(super) fn stop(&mut self, name: &str) {
        self.command(Command::Stop { services: vec![Name::new(name)], timeout: None });
    }

    pub(super) fn start(&mut self, name: &str) {
        self.command(Command::Start { services: vec![Name::new(name)], no_deps: false });
    }

    pub(super) fn hold(&mut self, name: &str) {
        self.command(Command::Hold { service: Name::new(name), lasts: None });
    }

    /// Lets time pass, through every deadline on the way.
    pub(super) fn pass(&mut self, mut ms: u64) {
        loop {
            let wake = self.supervisor.next_wake(self.now);
            let mono = wake.mono.map(|at| at.0 - self.now.mono.0);
            let boot = wake.boot.map(|at| at.0 - self.now.boot.0);
            let next = [mono, boot].into_iter().flatten().min().filter(|&next| next <= ms);
            self.tick(next.unwrap_or(ms));
            ms -= next.unwrap_or(ms);
            if next.is_none() {
                return;
            }
            self.event(Event::Woke);
        }
    }

    /// Lets time pass until all of these have asked for their next lease.
    pub(super) fn until_asked(&mut self, names: &[&str]) {
        for _ in 0..3_600 {
            if names.iter().all(|name| self.asks.contains_key(*name)) {
                return;
            }
            self.pass(1_000);
        }
        panic!("not asked within an hour: {names:?}");
    }

    /// Lets time pass until this is said; what was said before it stays to be looked at.
    pub(super) fn until_said(&mut self, word: &str) {
        for _ in 0..40_000 {
            if self.words.iter().any(|said| said.starts_with(word)) {
                return;
            }
            self.pass(100);
        }
        panic!("never said: {word}; said: {:?}", self.words);
    }

    pub(super) fn asking(&self, name: &str) -> bool {
        self.asks.contains_key(name)
    }

    fn tick(&mut self, ms: u64) {
        self.now.mono.0 += ms;
        self.now.boot.0 += ms;
        self.now.wall.0 += ms.cast_signed();
    }

    /// The machine sleeps: monotonic stands still.
    pub(super) fn suspend(&mut self, ms: u64) {
        self.now.boot.0 += ms;
        self.now.wall.0 += ms.cast_signed();
        self.event(Event::Woke);
    }

    /// Answers the question in flight for `name`; the lease's number is the question's.
    pub(super) fn grant(&mut self, name: &str, life_ms: u64) -> u64 {
        let ask = self.asks.remove(name).unwrap_or_else(|| panic!("nothing was asked for {name}"));
        self.grant_late(ask, name, life_ms);
        ask.0
    }

    pub(super) fn grant_late(&mut self, ask: AskId, name: &str, life_ms: u64) {
        let life = Duration::from_millis(life_ms);
        let (issued, expires_wall) = (self.now.boot, self.now.wall + life);
        let lease = Lease { id: LeaseId(ask.0), issued, expires: issued + life, expires_wall };
        self.event(Event::Granted { ask, service: Name::new(name), lease });
    }

    pub(super) fn asked(&self, name: &str) -> AskId {
        self.asks[name]
    }

    pub(super) fn refuse(&mut self, name: &str, code: &str, lasting: bool) {
        let ask = self.asks.remove(name).unwrap_or_else(|| panic!("nothing was asked for {name}"));
        self.event(Event::Refused { ask, service: Name::new(name), refusal: refusal(code, lasting) });
    }

    pub(super) fn started(&mut self, name: &str, number: u32) {
        self.event(Event::Started { run: run(name, number), pid: 4000 + number });
    }

    pub(super) fn ready(&mut self, name: &str, number: u32) {
        self.event(Event::BecameReady { run: run(name, number) });
    }

    pub(super) fn not_ready(&mut self, name: &str, number: u32, what: &str) {
        self.event(Event::NotReady { run: run(name, number), what: what.into() });
    }

    pub(super) fn health(&mut self, name: &str, number: u32, trouble: Option<&str>) {
        self.event(Event::Health { run: run(name, number), trouble: trouble.map(str::to_owned) });
    }

    pub(super) fn changed(&mut self, name: &str, path: &str) {
        self.event(Event::FileChanged { service: Name::new(name), path: path.into() });
    }

    /// What the check of an external service says.
    pub(super) fn outside(&mut self, name: &str, trouble: Option<&str>) {
        self.event(Event::External { service: Name::new(name), trouble: trouble.map(str::to_owned) });
    }

    pub(super) fn release(&mut self, name: &str) {
        self.command(Command::Release { service: Name::new(name) });
    }

    pub(super) fn exited(&mut self, name: &str, number: u32, code: i32) {
        self.event(Event::Exited { run: run(name, number), exit: Exit::Code(code) });
    }

    /// It ended and its tree is empty.
    pub(super) fn over(&mut self, name: &str, number: u32, code: i32) {
        self.exited(name, number, code);
        self.event(Event::Gone { run: run(name, number) });
    }

    /// Up and ready on a lease of an hour.
    pub(super) fn bring_up(&mut self, names: &[&str]) {
        for name in names {
            if self.asks.contains_key(*name) {
                self.grant(name, 60 * MIN);
            }
        }
        for name in names {
            self.started(name, 1);
            self.ready(name, 1);
        }
        self.pass(1_000);
        self.said();
    }

    /// The lease that this run may be given.
    pub(super) fn served_on(&self, name: &str, number: u32) -> Option<u64> {
        Some(self.supervisor.tenure(self.now, &run(name, number))?.lease?.id.0)
    }

    pub(super) fn view(&self, name: &str) -> View {
        self.supervisor.view(self.now, name).expect("a service of the story")
    }
}
