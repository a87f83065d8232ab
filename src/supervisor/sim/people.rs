//! What comes from outside: commands, edits, outages, suspends, clock steps, killed keepers.

use std::sync::Arc;
use std::time::Duration;

use super::services::random_service;
use super::world::World;
use crate::manifest::Name;
use crate::supervisor::{By, Command, Event};

fn by(uid: u32) -> By {
    By { uid, user: if uid == 1 { "alice" } else { "bob" }.into() }
}

impl World {
    pub(super) fn command(&mut self, command: Command) {
        let by = by(1 + u32::try_from(self.rng.next() % 2).expect("small"));
        let request = format!("{}", self.rng.next());
        let refused = self.supervisor.refuses(&by, &command).is_some();
        let event = Event::Commanded { request, by, command };
        if !refused {
            self.ledger.commanded(&event, self.now);
        }
        self.step(event.clone());
        if self.rng.next().is_multiple_of(5) {
            // The same request, sent twice by a nervous client.
            self.step(event);
        }
    }

    pub(super) fn start_all(&mut self) {
        let services = self.services.iter().map(|service| service.name.clone()).collect();
        self.command(Command::Start { services, no_deps: false });
    }

    pub(super) fn shut_down(&mut self) {
        self.ledger.shut = true;
        self.command(Command::Shutdown { timeout: None });
        if self.rng.next().is_multiple_of(3) {
            self.command(Command::KillAll);
        }
    }

    fn anybody(&mut self) -> Name {
        let at = usize::try_from(self.rng.next()).unwrap_or(0) % self.services.len();
        self.services[at].name.clone()
    }

    pub(super) fn somebody_does_something(&mut self) {
        let service = self.anybody();
        let ms = 1 + self.rng.next() % (self.life * 2).min(3_600_000);
        match self.rng.next() % 28 {
            0 | 1 => {
                self.command(Command::Restart { services: vec![service], timeout: None, no_deps: false, force: true });
            }
            2 => self.command(Command::Stop { services: vec![service], timeout: None }),
            3..=5 => self.command(Command::Start { services: vec![service], no_deps: false }),
            6 => self.command(Command::Start { services: vec![service], no_deps: true }),
            7 => self.command(Command::Hold { service, lasts: Some(Duration::from_millis(ms)) }),
            8 => self.command(Command::Release { service }),
            9 => self.command(Command::Refresh { services: vec![service] }),
            10 | 11 => self.outage = self.now.mono.0 + ms,
            12 => {
                self.denied.insert(service, self.now.mono.0 + ms / 3);
            }
            13 => self.suspend(ms * 4),
            14 => self.set_clock(ms.cast_signed()),
            15 => self.set_clock(-ms.cast_signed()),
            16 | 17 => self.edit(&service),
            18 => self.kill_keeper(&service),
            19 => self.occupy(service, ms / 60),
            20 => self.trace(&service, ms / 4),
            21 => self.restart_storm(&service),
            22..=24 => self.save_files(&service),
            25 => self.outside_changes(),
            _ => self.start_all(),
        }
    }

    /// The lid is closed: boottime and the wall clock go on, monotonic does not.
    fn suspend(&mut self, ms: u64) {
        self.now.boot.0 += ms;
        self.now.wall.0 += ms.cast_signed();
        self.ledger.everybody(self.now);
        self.step(Event::Woke);
    }

    fn set_clock(&mut self, by_ms: i64) {
        self.now.wall.0 += by_ms;
        self.ledger.everybody(self.now);
        self.step(Event::Woke);
    }

    /// The manifest is edited: one entry changes its meaning, or goes, or comes back.
    fn edit(&mut self, service: &Name) {
        let at = u64::from(service.as_str().as_bytes()[0] - b'a');
        let life = 60_000;
        let mut changed = random_service(&mut self.rng, at, life);
        changed.depends_on.retain(|name, _| self.services.iter().any(|other| other.name == *name));
        self.services.retain(|other| other.name != *service);
        let needed = self.services.iter().any(|other| other.depends_on.contains_key(service));
        if needed || !self.rng.next().is_multiple_of(4) || self.services.is_empty() {
            self.services.push(Arc::new(changed));
        }
        self.ledger.trouble(service, self.now);
        self.begin_promptness_anew(service);
        let services = self.services.clone();
        self.step(Event::Loaded { services, known: Vec::new() });
        self.ask_outside();
        self.start_all();
    }

    fn kill_keeper(&mut self, service: &Name) {
        let run = self.trees.keys().find(|run| run.service == *service).cloned();
        if let Some(run) = run {
            self.later(0, Event::KeeperLost { run: run.clone(), what: "its keeper was killed (signal 9)".into() });
            self.later(3, Event::Gone { run });
        }
    }

    fn occupy(&mut self, service: Name, ms: u64) {
        if self.alive(&service).is_empty() {
            self.ledger.trouble(&service, self.now);
            self.step(Event::Occupied { service: service.clone(), by: Some("run 4 of an earlier devsup".into()) });
            self.later_once(ms, Event::Occupied { service, by: None });
        }
    }

    fn trace(&mut self, service: &Name, ms: u64) {
        let run = self.trees.keys().find(|run| run.service == *service).cloned();
        if let Some(run) = run {
            self.ledger.excuse(service, self.now.boot + Duration::from_millis(ms));
            self.debuggers.insert(run.clone());
            self.step(Event::Traced { run: run.clone(), by: Some("gdb (pid 812)".into()) });
            self.later_once(ms, Event::Traced { run, by: None });
        }
    }

    /// An editor saves a few files, or a branch is checked out.
    fn save_files(&mut self, service: &Name) {
        for _ in 0..=self.rng.next() % 3 {
            let path = ["src/x.py", "src/y.py", "src/z.py"][(self.rng.next() % 3) as usize].to_owned();
            self.step(Event::FileChanged { service: service.clone(), path });
            let ms = self.rng.next() % 3;
            self.pass(ms);
        }
    }

    /// What somebody else runs comes or goes.
    fn outside_changes(&mut self) {
        let external = self.services.iter().find(|service| service.external()).map(|service| service.name.clone());
        if let Some(service) = external {
            let there = self.outside.get(&service).copied().unwrap_or_default();
            self.step(Event::External { service, trouble: there.then(|| "timeout".to_owned()) });
        }
    }

    fn restart_storm(&mut self, service: &Name) {
        for _ in 0..5 {
            self.command(Command::Restart {
                services: vec![service.clone()],
                timeout: None,
                no_deps: false,
                force: true,
            });
            let ms = self.rng.next() % 3;
            self.pass(ms);
        }
    }
}
