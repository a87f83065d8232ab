//! Starts runs, hands orders to their keepers, and deals with keepers that do not answer or are gone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::birth;
use super::clocks::now;
use super::fill::Filled;
use super::handed::Handing;
use super::leftovers::{HolderInfo, with_last};
use super::watched::watched;
use super::world::{Fact, Held, Tried, Unanswered, World};
use crate::control::paths::private_folder;
use crate::keeper::protocol::{LogSpec, Order, Probes, ReadyBy, Spec, StopSpec, VERSION};
use crate::keeper::{Given, Link, State, sweep_strays};
use crate::manifest::{Check, Name, Probe, Service};
use crate::supervisor::{Event, Exit, LeaseId, Mono, Reason, RunId, StopWhy};
use crate::sys::process::{self, Pidfd};
use crate::sys::{signal, tree};

/// A keeper answers an order within this, or the daemon acts from outside.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const SWEEP_AGAIN: Duration = Duration::from_millis(20);
/// After so many sweeps that still found somebody, who is left is named.
const SWEEPS: u32 = 250;

impl World {
    pub(super) fn spawn(
        &mut self,
        run: RunId,
        service: &Service,
        lease: Option<LeaseId>,
        why: Vec<Reason>,
    ) -> Vec<Event> {
        if self.ports.serves(&run.service) {
            // The replacement begins with this.
            self.forget_waits(&run.service);
        }
        self.retaining.begins(&run);
        match self.fill(&run, service).and_then(|filled| self.try_spawn(&run, filled, lease, why)) {
            Ok(()) => Vec::new(),
            Err(what) => {
                if !self.runs.contains_key(&run) {
                    self.retaining.ended(&run);
                }
                // No keeper will say that its tree is empty; one that was started and lost is swept as well.
                self.later(Duration::ZERO, Fact::Sweep { run: run.clone(), round: 0 });
                vec![Event::StartFailed { run, what }]
            }
        }
    }

    fn try_spawn(
        &mut self,
        run: &RunId,
        filled: Filled,
        lease: Option<LeaseId>,
        why: Vec<Reason>,
    ) -> Result<(), String> {
        let service = &*filled.service;
        self.probes.follow(run, &filled.service);
        let held = lease.map(|id| self.leases.get(&id).ok_or("its credentials are no longer held")).transpose()?;
        let credentials = held.map(|held| Rc::clone(&held.credentials));
        if service.needs_lease() && credentials.is_none() {
            return Err("it has a role, but no credentials are held for it".to_owned());
        }
        let who = birth::who(service)?;
        let handed = self.hand(service, &who, credentials.as_deref())?;
        let shown = handed.as_ref().map(Handing::as_handed);
        let child = self.child_environment(service, run.number, &filled.variables, shown, who.login.as_ref())?;
        let hidden = handed.as_ref().and_then(|handed| handed.redaction(&service.name));
        let spec = Spec {
            version: VERSION,
            project: self.brought.folder.id().to_owned(),
            run: run.clone(),
            why: why.clone(),
            argv: service.argv(),
            logs: LogSpec {
                file_bytes: service.logs.file,
                redact: child.redactions(&service.name).into_iter().chain(hidden).collect(),
                patterns: service.logs.redact.clone(),
            },
            env: child.variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
            working_dir: service.working_dir.clone(),
            stop: StopSpec {
                signal: service.stop_signal,
                mode: service.stop_mode,
                timeout: service.stop_timeout,
                command: service.stop_command.as_ref().map(crate::manifest::Command::argv),
            },
            daemon: std::process::id(),
            birth: birth::birth(service, &who, self.brought.came),
            ready: ready_by(service),
            sockets: self.ports.passed(service).map(|(name, _)| name.to_owned()).collect(),
            probes: exec_probes(service),
        };
        let folder = self.brought.folder.service_logs(service.name.as_str());
        private_folder(&folder).map_err(|error| error.to_string())?;
        let opened = File::open(&folder).map_err(|error| format!("log folder `{}`: {error}", folder.display()))?;
        // Held since the manifest was read, unless it could not be opened then.
        if let Some(by) = self.lock_service(&run.service)? {
            return Err(format!("its lock is held by {by}"));
        }
        self.write_lock(&run.service, Some(run.number));
        let lock = self.locks.get(&run.service).ok_or("its lock is not held")?;
        self.cgroups.make(run, &service.limits)?;
        let cgroup = self.cgroups.of(run).map(AsFd::as_fd);
        let keeper = |error: io::Error| format!("its keeper could not be started: {error}");
        let sockets = self.ports.passed(service).map(|(_, socket)| socket).collect();
        let given = Given { log_folder: opened.as_fd(), lock: lock.as_fd(), cgroup, sockets };
        let link = Link::spawn(&spec, &given).map_err(keeper)?;
        self.keep(run, link, credentials.as_ref().map(|held| held.access_key_id.clone())).map_err(keeper)?;
        let role = service.role.as_ref().map(|role| role.arn.clone());
        let (tty, private) = (service.tty, filled.private);
        self.held(run, |held| (held.tty, held.why, held.role, held.private) = (tty, why, role, private));
        if let Some(Handing::Endpoint { .. }) = handed {
            let uid = who.identity.as_ref().map_or_else(process::own_uid, |identity| identity.uid);
            self.endpoint_began(run, uid);
        }
        Ok(())
    }

    fn keep(&mut self, run: &RunId, link: Link, issued_key: Option<String>) -> io::Result<()> {
        let pid = link.pid();
        let pidfd = watched(Pidfd::open(pid)?)?;
        let link = Rc::new(RefCell::new(link));
        let socket = watched(Socket(Rc::clone(&link)))?;
        // Not before all is there: nobody takes it off the list again if this fails.
        self.keepers.add(pid, run.service.clone());
        drop(tokio::task::spawn_local(listen(run.clone(), socket, pidfd, self.facts.clone())));
        let held = Held {
            link,
            pid,
            gone: false,
            unanswered: None,
            log_dropped: 0,
            issued_key,
            role: None,
            isolation: None,
            tty: false,
            why: Vec::new(),
            private: BTreeMap::new(),
        };
        self.runs.insert(run.clone(), held);
        self.write_lock(&run.service, None);
        Ok(())
    }

    /// Says in the service's lock who holds it: the keepers of its live runs. The last one that died stays there until a newer
    /// run is there, so that whoever reads its log knows that nothing more comes. `coming`: a run that is about to begin, of
    /// whose number nothing old may be said.
    fn write_lock(&mut self, service: &Name, coming: Option<u32>) {
        let live = self.runs.iter().filter(|(run, _)| run.service == *service);
        let live = live.map(|(run, held)| HolderInfo::of(held.pid, run.number)).collect();
        let Some(lock) = self.locks.get_mut(service) else { return };
        let before = lock.read().unwrap_or_default();
        let holders = with_last(live, &before, coming);
        let written = serde_json::to_string(&holders).map_err(io::Error::from).and_then(|text| lock.write(&text));
        if let Err(error) = written {
            tracing::warn!(%error, %service, "the service's lock could not be written");
        }
    }

    pub(super) fn order_stop(&mut self, run: &RunId, timeout: Duration, why: StopWhy) {
        self.order(run, &Order::Stop { timeout, why }, timeout);
    }

    pub(super) fn order_kill(&mut self, run: &RunId) {
        self.order(run, &Order::Kill, Duration::ZERO);
    }

    pub(super) fn order_look(&mut self, run: &RunId) {
        // One that does not answer is no reason to act from outside.
        if let Some(held) = self.runs.get(run) {
            // It is gone: the end of its socket says so too.
            drop(held.link.borrow_mut().order(&Order::LookForDebugger));
        }
    }

    /// `grace`: what the run has before its keeper would send SIGKILL.
    fn order(&mut self, run: &RunId, order: &Order, grace: Duration) {
        let Some(held) = self.runs.get_mut(run) else { return };
        let due = now().mono + ANSWER_WITHIN;
        held.unanswered = Some(Unanswered { due, force_at: due + grace, tried: Tried::Nothing });
        // An error says that it is gone: the end of its socket says so too.
        if let Err(error) = held.link.borrow_mut().order(order) {
            tracing::debug!(%error, %run, "an order could not be sent");
        }
    }

    /// A keeper that does not answer is woken first, for it may only have been stopped; when the run has had its time, its
    /// tree is killed past it; then the keeper itself.
    pub(super) fn press_unanswered(&mut self, at: Mono) {
        let late: Vec<(RunId, u32, Unanswered)> = self
            .runs
            .iter()
            .filter_map(|(run, held)| Some((run.clone(), held.pid, held.unanswered.filter(|late| late.due <= at)?)))
            .collect();
        for (run, pid, late) in late {
            let state = tree::look(pid).map_or('?', |keeper| keeper.state);
            let soon = at + ANSWER_WITHIN;
            let (next, sentence) = match late.tried {
                Tried::Nothing => {
                    drop(Pidfd::open(pid).and_then(|keeper| keeper.resume()));
                    let next = Unanswered { due: soon.max(late.force_at), tried: Tried::Waking, ..late };
                    (Some(next), "does not answer: it is woken")
                }
                Tried::Waking => {
                    kill_past(pid);
                    self.cgroups.kill(&run);
                    (
                        Some(Unanswered { due: soon, tried: Tried::Killing, ..late }),
                        "still does not answer: its tree is killed from outside",
                    )
                }
                Tried::Killing => {
                    drop(Pidfd::open(pid).and_then(|keeper| keeper.kill()));
                    (None, "does not answer at all: it is killed")
                }
            };
            self.held(&run, |held| held.unanswered = next);
            let sentence = format!("keeper {pid} (state {state}) {sentence}");
            self.journal.tell(now().wall, "keeper-silent", Some(&run.service), None, sentence);
        }
    }

    pub(super) fn keeper_ended(&mut self, run: &RunId) {
        let Some(held) = self.runs.remove(run) else { return };
        self.keepers.remove(held.pid);
        self.retaining.ended(run);
        self.endpoint_ended(run);
        let exit = held.link.borrow_mut().try_reap();
        if held.gone {
            self.write_lock(&run.service, None);
            self.tidy_cgroups();
            return;
        }
        self.step(Event::KeeperLost { run: run.clone(), what: lost(exit) });
        self.sweep(run.clone(), 0);
    }

    /// What a dead keeper left is ours now: ended until nobody is found.
    pub(super) fn sweep(&mut self, run: RunId, round: u32) {
        let keepers: Vec<u32> = self.runs.values().map(|held| held.pid).collect();
        self.cgroups.kill(&run);
        let found = sweep_strays(&keepers);
        let in_group = self.cgroups.members(&run);
        if found.is_empty() && in_group.is_empty() {
            self.write_lock(&run.service, None);
            self.tidy_cgroups();
            return self.step(Event::Gone { run });
        }
        if round == SWEEPS {
            let strays = found.into_iter().map(|stray| stray.pid).chain(in_group).collect::<BTreeSet<_>>();
            let name = |pid| tree::look(pid).map(|one| format!("pid {pid} (`{}`, state {})", one.comm, one.state));
            let who = strays.into_iter().filter_map(name).collect();
            self.step(Event::Survived { run: run.clone(), who });
        }
        let pause = if round < SWEEPS { SWEEP_AGAIN } else { SWEEP_AGAIN * 50 };
        self.later(pause, Fact::Sweep { run, round: round.saturating_add(1) });
    }

    /// Takes away the cgroups of runs that are over.
    pub(super) fn tidy_cgroups(&mut self) {
        let live: Vec<RunId> = self.runs.keys().cloned().collect();
        self.cgroups.tidy(&live);
    }

    /// A stopped keeper keeps nothing: neither its service's output nor its end. It is continued, whoever stopped it.
    pub(super) fn resume_keepers(&mut self) {
        let stopped = |(run, held): (&RunId, &Held)| Some((run.clone(), held.pid, process::was_stopped(held.pid)?));
        let stopped: Vec<(RunId, u32, i32)> = self.runs.iter().filter_map(stopped).collect();
        for (run, pid, by) in stopped {
            drop(Pidfd::open(pid).and_then(|keeper| keeper.resume()));
            let sentence = format!("keeper {pid} was stopped by {}: it is continued", signal::name(by));
            self.journal.tell(now().wall, "keeper-stopped", Some(&run.service), None, sentence);
        }
    }

    pub(super) fn later(&self, pause: Duration, fact: Fact) {
        let facts = self.facts.clone();
        drop(tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            // The loop has ended: nobody needs to know any more.
            drop(facts.send(fact));
        }));
    }
}

/// Ends a keeper's tree without it: wakes the keeper if it was stopped, then SIGKILL to all below it.
pub(super) fn kill_past(keeper: u32) {
    drop(Pidfd::open(keeper).and_then(|keeper| keeper.resume()));
    for signal in [signal::STOP, signal::KILL] {
        for pid in tree::descendants(keeper, &[]) {
            drop(signal::send(pid, signal));
        }
    }
}

/// How a keeper ended that should not have.
fn lost(exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Signal(signal)) => format!("its keeper was killed (signal {signal})"),
        Some(Exit::Code(code)) => format!("its keeper ended by itself (exit {code})"),
        None => "its keeper is gone".to_owned(),
    }
}

/// What the keeper watches for; the rest is asked by the daemon.
fn ready_by(service: &Service) -> ReadyBy {
    match service.ready.as_ref().map(|ready| &ready.check) {
        Some(Check::Notify) => ReadyBy::Notify,
        Some(Check::Fd(number)) => ReadyBy::Fd(*number),
        Some(Check::Log(pattern)) => ReadyBy::Log(pattern.clone()),
        Some(Check::Probe(_)) | None => ReadyBy::Others,
    }
}

fn exec_probes(service: &Service) -> Probes {
    let argv = |probe: &Probe| if let Probe::Exec(command) = probe { Some(command.argv()) } else { None };
    let ready = service.ready.as_ref().and_then(|ready| match &ready.check {
        Check::Probe(probe) => argv(probe),
        Check::Log(_) | Check::Notify | Check::Fd(_) => None,
    });
    Probes { ready, live: service.live.as_ref().and_then(|live| argv(&live.probe)) }
}

struct Socket(Rc<RefCell<Link>>);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.borrow().as_fd().as_raw_fd()
    }
}

/// Passes on what a keeper says until it has ended. Its own end is waited for by pidfd: a process that still holds its
/// socket would hide it, and it must be a zombie before it can be taken.
async fn listen(run: RunId, socket: AsyncFd<Socket>, pidfd: AsyncFd<Pidfd>, facts: mpsc::UnboundedSender<Fact>) {
    loop {
        tokio::select! {
            biased;
            ready = socket.readable() => {
                let Ok(mut ready) = ready else { break };
                let found = socket.get_ref().0.borrow_mut().reports();
                ready.clear_ready();
                drop(ready);
                drop(facts.send(Fact::Reported { run: run.clone(), reports: found.reports }));
                if found.state == State::Closed {
                    drop(pidfd.readable().await);
                    break;
                }
            }
            ended = pidfd.readable() => {
                drop(ended);
                let found = socket.get_ref().0.borrow_mut().reports();
                drop(facts.send(Fact::Reported { run: run.clone(), reports: found.reports }));
                break;
            }
        }
    }
    drop(facts.send(Fact::KeeperEnded { run }));
}
