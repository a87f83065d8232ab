//! All that the daemon holds, and what comes to it: facts are turned into events, events into effects, until it is quiet.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use super::answers::Wanted;
use super::audit::{Audit, Told};
use super::cgroups::Cgroups;
use super::clocks::now;
use super::endpoint::Endpoint;
use super::handed::Doors;
use super::journal::Journal;
use super::lent::Lent;
use super::mfa::CodeAnswered;
use super::notify::Notify;
use super::ports::Ports;
use super::private::Private;
use super::probes::Probes;
use super::retaining::Retaining;
use super::sandbox_child::SandboxChild;
use super::watch::Watches;
use crate::aws::{Base, Credentials, Grant, SandboxBase};
use crate::control::Answer;
use crate::control::api::{Done, Environment};
use crate::control::paths::Folder;
use crate::control::peer::{Keepers, Rules};
use crate::keeper::Link;
use crate::keeper::protocol::Report;
use crate::manifest::{Manifest, Name, RoleArn, Service};
use crate::ports::Reserved;
use crate::supervisor::{
    AskId, Boot, By, Command, Effect, Event, Happening, LeaseId, Mono, Note, Now, Reason, Refusal, RunId, Supervisor,
    Wake, Wall,
};
use crate::sys::daemonize::Came;
use crate::sys::lock::Lock;
use crate::sys::process::Pidfd;

/// What comes back to the loop of what was started.
pub(super) enum Fact {
    Event(Event),
    Granted {
        ask: AskId,
        service: Name,
        grant: Box<Grant>,
        region: Option<String>,
    },
    Refused {
        ask: AskId,
        service: Name,
        refusal: Refusal,
    },
    Reported {
        run: RunId,
        reports: Vec<Report>,
    },
    KeeperEnded {
        run: RunId,
    },
    Sweep {
        run: RunId,
        round: u32,
    },
    OccupierEnded {
        service: Name,
    },
    Region(Option<String>),
    BaseIs(String),
    SandboxUp(SandboxBase),
    SandboxDown(String),
    SandboxAgain,
    /// Not everything that is to be watched can be. One sentence.
    FilesUnseen(String),
    /// At the credential endpoint.
    Told(Told),
    /// Credentials for one `exec` or `env`, kept by nobody.
    Lent {
        service: Arc<Service>,
        wanted: Wanted,
        asked: Box<Result<Grant, Refusal>>,
        answer: Answer<Environment>,
    },
    /// The same for those who ask for the credentials themselves; kept for the next. `era`: of the base that was asked.
    Borrowed {
        service: Arc<Service>,
        asked: Box<Result<Grant, Refusal>>,
        era: u64,
    },
    LoanOver(Name),
    /// A port that somebody else had may be free now.
    PortsAgain(Name, u64),
    CodeAnswered(CodeAnswered),
}

/// Credentials in hand.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) credentials: Rc<Credentials>,
    pub(super) issued: Wall,
}

/// A keeper of ours.
pub(super) struct Held {
    pub(super) link: Rc<RefCell<Link>>,
    pub(super) pid: u32,
    /// It said that its tree is empty.
    pub(super) gone: bool,
    pub(super) unanswered: Option<Unanswered>,
    pub(super) log_dropped: u64,
    pub(super) issued_key: Option<String>,
    /// Which role it was born as.
    pub(super) role: Option<RoleArn>,
    /// What holds of the isolation that was asked for.
    pub(super) isolation: Option<String>,
    /// It has a terminal, and this is why it was started.
    pub(super) tty: bool,
    pub(super) why: Vec<Reason>,
    /// Where it listens for what is forwarded to it, by the port's name.
    pub(super) private: BTreeMap<String, Reserved>,
}

/// An order that its keeper has not taken.
#[derive(Clone, Copy)]
pub(super) struct Unanswered {
    /// When the next thing is tried.
    pub(super) due: Mono,
    /// Before this nothing is killed: the run has its grace.
    pub(super) force_at: Mono,
    pub(super) tried: Tried,
}

#[derive(Clone, Copy)]
pub(super) enum Tried {
    Nothing,
    Waking,
    Killing,
}

/// A keeper of an earlier devsup that still holds a service's lock.
pub(super) struct Occupier {
    pub(super) keeper: Rc<Pidfd>,
    pub(super) pid: u32,
    pub(super) run: RunId,
    pub(super) force_at: Option<Mono>,
}

/// Whose environment runs start from.
pub(super) struct Inherited {
    pub(super) env: Rc<Vec<(OsString, OsString)>>,
    /// `alice, 14:05`
    pub(super) from: String,
}

impl Inherited {
    pub(super) fn lookup(env: &[(OsString, OsString)], name: &str) -> Option<String> {
        env.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.to_str().map(str::to_owned))
    }
}

/// How the project was brought up; does not change while it is.
pub(super) struct Brought {
    pub(super) manifest: PathBuf,
    pub(super) folder: Folder,
    pub(super) sandbox: bool,
    pub(super) insecure: bool,
    /// What there was where it was brought up: services get it back.
    pub(super) came: Came,
    pub(super) profile: Option<String>,
    pub(super) region: Option<String>,
    pub(super) since: Wall,
    pub(super) began: Mono,
    pub(super) owner: By,
    /// Of a unit, and for everybody whom `[access]` lets in.
    pub(super) system: bool,
}

pub(super) struct World {
    pub(super) brought: Brought,
    pub(super) manifest: Manifest,
    pub(super) inherited: Inherited,
    pub(super) supervisor: Supervisor,
    pub(super) base: Option<Base>,
    pub(super) sandbox: Option<SandboxChild>,
    pub(super) sandbox_base: Option<SandboxBase>,
    /// Where the sandbox was; 0 before the first.
    pub(super) sandbox_port: u16,
    pub(super) region: Option<String>,
    pub(super) base_identity: Option<String>,
    pub(super) warnings: BTreeSet<String>,
    pub(super) asking: Rc<Semaphore>,
    /// Nobody else keeps one: what is taken out is gone.
    pub(super) leases: BTreeMap<LeaseId, Rc<HeldLease>>,
    pub(super) lent: Lent,
    pub(super) audit: Audit,
    pub(super) private: Private,
    pub(super) doors: Doors,
    pub(super) runs: BTreeMap<RunId, Held>,
    /// Kept for the daemon's life: every keeper shares the one open file, so that no run of ours locks out the next.
    pub(super) locks: BTreeMap<Name, Lock>,
    pub(super) occupied: BTreeMap<Name, Occupier>,
    pub(super) survivors: BTreeMap<RunId, Vec<String>>,
    pub(super) probes: Probes,
    pub(super) ports: Ports,
    pub(super) endpoint: Endpoint,
    pub(super) cgroups: Cgroups,
    pub(super) journal: Journal,
    pub(super) retaining: Retaining,
    /// Files whose change replaces a run.
    pub(super) watches: Option<Watches>,
    pub(super) keepers: Keepers,
    pub(super) rules: Rules,
    pub(super) notify: Option<Notify>,
    pub(super) facts: mpsc::UnboundedSender<Fact>,
    pub(super) watchers: watch::Sender<Bytes>,
    /// The newest requests and what was answered: the same id twice is once.
    pub(super) answered: VecDeque<(String, Done)>,
    pub(super) finished: bool,
    /// When the supervisor last looked.
    pub(super) stepped: Now,
}

impl World {
    pub(super) fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Event(event) => self.step(event),
            Fact::Granted { ask, service, grant, region } => self.granted(ask, service, *grant, region),
            Fact::Refused { ask, service, refusal } => {
                self.clock_is(self.base.as_ref().and_then(Base::skew_ms));
                self.step(Event::Refused { ask, service, refusal });
            }
            Fact::Reported { run, reports } => self.reported(&run, reports),
            Fact::KeeperEnded { run } => self.keeper_ended(&run),
            Fact::Sweep { run, round } => self.sweep(run, round),
            Fact::OccupierEnded { service } => self.occupier_ended(service),
            Fact::Region(region) => self.region = region,
            Fact::BaseIs(identity) => self.base_is(identity),
            Fact::SandboxUp(base) => self.sandbox_up(base),
            Fact::SandboxDown(why) => self.sandbox_down(&why),
            Fact::SandboxAgain => self.sandbox_again(),
            Fact::FilesUnseen(sentence) => self.files_unseen(sentence),
            Fact::Told(told) => self.told(told),
            Fact::Lent { service, wanted, asked, answer } => self.lent(&service, wanted, *asked, answer),
            Fact::Borrowed { service, asked, era } => self.borrowed(&service, *asked, era),
            Fact::PortsAgain(service, claim) => self.ports_again(&service, claim),
            Fact::LoanOver(service) => self.lent.expire(&service),
            Fact::CodeAnswered(told) => self.code_answered(told),
        }
    }

    /// Puts a fact in and carries out what comes of it. What an effect brings at once is a fact too, so it goes on until
    /// nothing more comes.
    pub(super) fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if let Event::Survived { run, who } = &event {
                self.survivors.insert(run.clone(), who.clone());
            }
            if let Event::Gone { run } = &event {
                self.survivors.remove(run);
            }
            if let Event::Exited { run, .. } | Event::Gone { run } | Event::KeeperLost { run, .. } = &event {
                self.probes.forget(run);
                self.unroute(run);
            }
            self.stepped = now();
            for effect in self.supervisor.step(self.stepped, event) {
                events.extend(self.carry_out(effect));
            }
        }
        self.endpoint_leases();
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::Ask { ask, service } => self.ask(ask, service),
            Effect::Forget { lease } => drop(self.leases.remove(&lease)),
            Effect::Spawn { run, service, lease, why } => {
                return self.spawn(run, &service, lease, why);
            }
            Effect::Claim { service } => return vec![self.claim(&service)],
            Effect::Unclaim { service } => self.ports.let_go(&service),
            Effect::Drain { run } => {
                self.probes.forget(&run);
                self.drain(&run);
            }
            Effect::Stop { run, timeout, why } => {
                self.probes.forget(&run);
                self.cut(&run);
                self.order_stop(&run, timeout, why);
            }
            Effect::Kill { run } => {
                self.probes.forget(&run);
                self.cut(&run);
                self.order_kill(&run);
            }
            Effect::Look { run } => self.order_look(&run),
            Effect::Note(mut note) => {
                self.told_waits(&mut note);
                self.journal.note(now().wall, &note);
                self.heed(note);
            }
            Effect::Finished => self.finished = true,
        }
        Vec::new()
    }

    /// What the supervisor says has a meaning for those who ask services how they are.
    fn heed(&mut self, note: Note) {
        match note {
            Note { service: Some(service), run: Some(number), what: Happening::Ready, .. } => {
                let run = RunId { service, number };
                self.ask_live(&run);
                self.route(&run);
            }
            Note { what: Happening::ShuttingDown, .. } => self.probes.end_externals(),
            Note { .. } => {}
        }
    }

    pub(super) fn command(&mut self, request: String, by: By, command: Command) {
        self.step(Event::Commanded { request, by, command });
    }

    /// The earliest instant at which something is to be done though nothing happens.
    pub(super) fn next_wake(&self) -> Wake {
        // As of the last step: a deadline that has passed since was not acted upon.
        let mut wake = self.supervisor.next_wake(self.stepped);
        let answers = self.runs.values().filter_map(|held| held.unanswered.map(|late| late.due));
        let forced = self.occupied.values().filter_map(|occupier| occupier.force_at);
        wake.mono = wake.mono.into_iter().chain(answers).chain(forced).min();
        wake
    }

    /// A deadline passed, or a clock was set.
    pub(super) fn woke(&mut self) {
        let at = now().mono;
        self.press_unanswered(at);
        self.press_occupiers(at);
        self.step(Event::Woke);
    }

    /// Tells those who watch, if there is anybody and there is something new.
    pub(super) fn show(&mut self) {
        if self.watchers.receiver_count() > 0 {
            let line = self.watch_line();
            self.watchers.send_if_modified(|shown| {
                let new = *shown != line;
                *shown = line;
                new
            });
        }
    }

    /// At the end: says what is left to say, and takes away what was made for others.
    pub(super) fn leave(&mut self) {
        self.tell_rest();
        self.cgroups.leave();
        self.close_doors();
    }

    /// Was everything ended that was started?
    pub(super) fn clean(&self) -> bool {
        self.survivors.is_empty()
    }

    /// From the answer's own words to the supervisor's: the secret stays here under the ask's number.
    fn granted(&mut self, ask: AskId, service: Name, grant: Grant, region: Option<String>) {
        let at = now();
        let id = LeaseId(ask.0);
        self.clock_is(Some(grant.skew_ms));
        if grant.capped {
            self.warnings.insert("AWS caps chained roles at 1 h: a longer `duration` is not given".to_owned());
        }
        self.region = region.or(self.region.take());
        let lease = crate::supervisor::Lease {
            id,
            issued: at.boot,
            expires: Boot(at.boot.0) + grant.left,
            expires_wall: grant.credentials.expires,
        };
        self.lent.no_more(&service);
        let held = HeldLease { credentials: Rc::new(grant.credentials), issued: at.wall };
        self.leases.insert(id, Rc::new(held));
        self.step(Event::Granted { ask, service, lease });
    }

    pub(super) fn reported(&mut self, run: &RunId, reports: Vec<Report>) {
        for report in reports {
            let run = run.clone();
            match report {
                Report::Hello { .. } => {}
                Report::Probed { which, trouble } => self.probes.answered(&run, which, trouble),
                Report::Isolation { how } => self.held(&run, |held| held.isolation = Some(how)),
                Report::Ready => self.step(Event::BecameReady { run }),
                Report::NotReady { what } => self.step(Event::NotReady { run, what }),
                Report::Said { status } => self.step(Event::Said { run, status }),
                Report::Started { pid } => {
                    self.step(Event::Started { run: run.clone(), pid });
                    self.ask_ready(&run);
                }
                Report::StartFailed { what, .. } => self.step(Event::StartFailed { run, what }),
                Report::Exited { exit } => self.step(Event::Exited { run, exit }),
                Report::Survived { who } => self.step(Event::Survived { run, who }),
                Report::Traced { by } => self.step(Event::Traced { run, by }),
                Report::Gone => {
                    self.held(&run, |held| held.gone = true);
                    self.step(Event::Gone { run });
                }
                Report::LogRolled { .. } => self.retaining.look(),
                Report::Logs { dropped, what } => self.logs_dropped(&run, dropped, what),
                Report::StopCommandFailed { what } => {
                    let sentence = format!("run {}: stop_command: {what}", run.number);
                    self.journal.tell(now().wall, "stop-command-failed", Some(&run.service), None, sentence);
                }
                Report::Took { .. } => self.held(&run, |held| held.unanswered = None),
            }
        }
    }

    pub(super) fn held(&mut self, run: &RunId, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.runs.get_mut(run) {
            change(held);
        }
    }

    fn logs_dropped(&mut self, run: &RunId, dropped: u64, what: Option<String>) {
        let Some(held) = self.runs.get_mut(run) else { return };
        let first = held.log_dropped == 0 && dropped > 0;
        held.log_dropped = dropped;
        if first {
            let why = what.unwrap_or_else(|| "the disk did not take them".to_owned());
            let sentence = format!("log bytes are dropped: {why}");
            self.journal.tell(now().wall, "log-dropped", Some(&run.service), None, sentence);
        }
    }
}
