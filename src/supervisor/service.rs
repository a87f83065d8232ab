//! One service's state: what is wanted, what runs, what is held. Only facts are stored; sentences are derived.
//!
//! ```text
//!  run:  starting ── started ── ready ── stopping ──▶ gone (tree empty)
//!            └──────────┴─────────┴──── exited by itself ──▶ gone
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::event::{AskId, Exit, LeaseId, Reason, StopWhy};
use super::history::Past;
use super::lease::{self, Held, Refused};
use super::time::{Boot, Mono, Now, Wall};
use super::view::{State, Want};
use crate::manifest::{Handover, Name, Port, Service};

/// What a run must be born with to be current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// Counts changes of the entry's meaning.
    pub(super) entry: u32,
    /// Counts replacements asked for.
    pub(super) asked: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) number: u32,
    pub(super) revision: Revision,
    pub(super) lease: Option<Held>,
    /// Its role is no longer the service's.
    pub(super) former: Option<Former>,
    /// Why it was started; empty for a first start and after a crash.
    pub(super) why: Vec<Reason>,
    /// How long it may take until its check succeeds; `None`: it was born without one, and alive is ready.
    pub(super) ready_within: Option<Duration>,
    pub(super) spawned: Mono,
    pub(super) pid: Option<u32>,
    pub(super) started: Option<Mono>,
    pub(super) ready: Option<Mono>,
    /// What its check said last.
    pub(super) not_ready: Option<String>,
    /// It was said that it is not ready in time.
    pub(super) overdue: bool,
    /// The ports it was born with.
    pub(super) ports: BTreeMap<String, Port>,
    /// It fails its `live` check: the sentence.
    pub(super) unwell: Option<String>,
    /// What it says of itself.
    pub(super) said: Option<String>,
    pub(super) stopping: Option<Stopping>,
    /// The main process ended, the tree perhaps not.
    pub(super) exited: Option<(Exit, Mono)>,
    /// No process came of it, or its keeper died: the sentence.
    pub(super) broken: Option<String>,
    pub(super) survivors: Vec<String>,
    pub(super) survived_at: Option<Mono>,
    pub(super) traced: Option<String>,
    /// When it was last asked, and when last answered, whether a debugger is attached.
    pub(super) look_asked: Option<Mono>,
    pub(super) looked: Option<Mono>,
}

/// What a run that asks by itself is served on when the manifest has given its service another role: what was held for its
/// own, until that ends, and nothing of the other.
#[derive(Clone, Debug)]
pub(super) struct Former(pub(super) Option<Held>);

#[derive(Clone, Debug)]
pub(super) struct Stopping {
    pub(super) since: Mono,
    /// When the keeper sends SIGKILL; while it drains, when that is given up.
    pub(super) deadline: Mono,
    pub(super) why: StopWhy,
    /// From being told to stop to SIGKILL.
    pub(super) timeout: Duration,
    /// Another run serves meanwhile.
    pub(super) beside: bool,
    pub(super) killed: bool,
    /// Its connections are handed over first: it has not been told to stop yet.
    pub(super) draining: bool,
}

impl Run {
    pub(super) fn new(number: u32, slot: &Slot, lease: Option<Held>, why: Vec<Reason>, now: Now) -> Self {
        Self {
            number,
            revision: slot.revision,
            lease,
            former: None,
            why,
            ready_within: slot.entry.ready.as_ref().map(|ready| ready.timeout),
            spawned: now.mono,
            pid: None,
            started: None,
            ready: None,
            not_ready: None,
            overdue: false,
            ports: slot.entry.ports.clone(),
            unwell: None,
            said: None,
            stopping: None,
            exited: None,
            broken: None,
            survivors: Vec::new(),
            survived_at: None,
            traced: None,
            look_asked: None,
            looked: None,
        }
    }

    /// It serves, or is about to: neither told to stop nor ended by itself.
    pub(super) fn live(&self) -> bool {
        self.stopping.is_none() && self.exited.is_none() && self.broken.is_none()
    }

    pub(super) fn is_started(&self) -> bool {
        self.live() && self.started.is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.live() && self.ready.is_some()
    }

    /// It was said that it is not ready in time, and it still is not.
    pub(super) fn is_overdue(&self) -> bool {
        self.live() && self.overdue && self.ready.is_none()
    }

    /// Ready, and not known to be unwell: others may build on it.
    pub(super) fn is_well(&self) -> bool {
        self.is_ready() && self.unwell.is_none()
    }

    /// Has it such a port?
    pub(super) fn has(&self, handover: Handover) -> bool {
        self.ports.values().any(|port| port.handover == handover)
    }

    /// Only when it is gone can its successor have what it listens at: it has bound that itself, or its socket is to be used
    /// in another way.
    pub(super) fn keeps_ports_from(&self, entry: &Service) -> bool {
        let other_use = |name: &String, port: &Port| {
            let same = |(old_name, old): (&String, &Port)| {
                (old_name == name || old.listen == port.listen) && old.handover != port.handover
            };
            self.ports.iter().any(same)
        };
        self.has(Handover::None) || entry.ports.iter().any(|(name, port)| other_use(name, port))
    }

    /// SIGKILL did not end it: nobody waits for it any more.
    pub(super) fn stuck(&self) -> bool {
        !self.survivors.is_empty()
    }
}

/// How a service that is wanted up came to its end for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The restart policy accepts the exit. `was_ready`: before it ended.
    Done { exit: Exit, was_ready: bool },
    /// It does not, or `max_restarts` is used up.
    Failed(Option<Exit>),
}

/// What is known of the ports that a start needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// Not asked for.
    Unclaimed,
    /// Known before; to be seen again before the next start.
    Stale,
    Asked,
    /// Somebody else has one: the sentence.
    Held(String),
    /// The service's own run has one, and nobody else can before it is gone.
    Own,
    Free,
}

/// What is known of a service that somebody else runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// Not asked yet.
    Unknown,
    Yes,
    /// Why not, one sentence.
    No(String),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crashes {
    pub(super) count: u32,
    pub(super) until: Option<Mono>,
}

#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) by: String,
    pub(super) uid: u32,
    pub(super) since: Wall,
    pub(super) until: Option<(Boot, Wall)>,
}

/// Between "the old one is told to stop" (or "the new one is started beside it") and "the new one is ready".
#[derive(Clone, Debug)]
pub(super) struct Replacing {
    pub(super) why: Vec<Reason>,
    pub(super) began: Mono,
    pub(super) old_ended: Option<Mono>,
    /// The new one is started beside the old one.
    pub(super) beside: bool,
    /// Callers of the old one were not handed over, but refused.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Arc<Service>,
    pub(super) revision: Revision,
    /// No longer in the manifest: goes when its last run is gone.
    pub(super) removed: bool,
    pub(super) want: Want,
    /// Started with `--no-deps`.
    pub(super) alone: bool,
    /// Reasons of the replacement asked for and not yet begun.
    pub(super) reasons: Vec<Reason>,
    /// The files behind a [`Reason::FileChanged`] among them, each once.
    pub(super) changed: Vec<String>,
    /// Oldest first; two only during an overlap.
    pub(super) runs: Vec<Run>,
    /// The newest number given to a run, also before the daemon started.
    pub(super) last_run: u32,
    pub(super) held: Option<Held>,
    /// The held lease has been given to a run.
    pub(super) used: bool,
    pub(super) asking: Option<AskId>,
    pub(super) refused: Option<Refused>,
    /// A replacement waits for a fresh lease until then, and then takes the held one.
    pub(super) wait_fresh: Option<Mono>,
    /// A person asked for fresh credentials: ask now, then replace.
    pub(super) refresh: bool,
    pub(super) expiry_noted: Option<LeaseId>,
    pub(super) crashes: Crashes,
    pub(super) overlap_again: Option<Mono>,
    pub(super) overlap_failures: u32,
    pub(super) overlap_why: Option<String>,
    pub(super) hold: Option<Hold>,
    pub(super) ended: Option<Ended>,
    pub(super) replacing: Option<Replacing>,
    pub(super) occupied: Option<String>,
    pub(super) ports: Ports,
    /// It was said that somebody else has one of its ports.
    pub(super) port_held: Option<String>,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) last_exit: Option<Exit>,
    /// How the last runs ended, newest last.
    pub(super) exits: Vec<Past>,
    /// Runs in a row that were replaced because they were unhealthy, and what the last one lacked.
    pub(super) unwell: Option<(u32, String)>,
    /// Of an external service: what is known of it.
    pub(super) there: There,
    /// It was said that an external service is not there in time.
    pub(super) missed: bool,
    pub(super) last_trouble: Option<String>,
    pub(super) rotations: u32,
    pub(super) starts: u32,
    /// What the last replacement took, from the stop to ready.
    pub(super) cost: Option<Duration>,
    pub(super) seen: (State, Wall, Mono),
}

impl Slot {
    pub(super) fn new(entry: Arc<Service>, last_run: u32, now: Now) -> Self {
        Self {
            entry,
            revision: Revision { entry: 0, asked: 0 },
            removed: false,
            want: Want::Down,
            alone: false,
            reasons: Vec::new(),
            changed: Vec::new(),
            runs: Vec::new(),
            last_run,
            held: None,
            used: false,
            asking: None,
            refused: None,
            wait_fresh: None,
            refresh: false,
            expiry_noted: None,
            crashes: Crashes::default(),
            overlap_again: None,
            overlap_failures: 0,
            overlap_why: None,
            hold: None,
            ended: None,
            replacing: None,
            occupied: None,
            ports: Ports::Unclaimed,
            port_held: None,
            stop_timeout: None,
            last_exit: None,
            exits: Vec::new(),
            unwell: None,
            there: There::Unknown,
            missed: false,
            last_trouble: None,
            rotations: 0,
            starts: 0,
            cost: None,
            seen: (State::Stopped, now.wall, now.mono),
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.entry.name
    }

    pub(super) fn run_mut(&mut self, number: u32) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.number == number)
    }

    /// The run that serves: the newest that is ready, or else the newest that lives.
    pub(super) fn serving(&self) -> Option<&Run> {
        let newest = |is: fn(&Run) -> bool| self.runs.iter().rev().find(|run| is(run));
        newest(Run::is_ready).or_else(|| newest(Run::live))
    }

    /// The run that is to take over from the one that serves, once it is ready.
    pub(super) fn successor(&self) -> Option<&Run> {
        let serving = self.serving().filter(|run| run.is_ready())?;
        self.runs.iter().rev().find(|run| run.live() && run.number > serving.number)
    }

    /// Wanted, and not ended for good.
    pub(super) fn active(&self) -> bool {
        self.want == Want::Up && self.ended.is_none() && !self.removed
    }

    pub(super) fn rotates(&self) -> bool {
        lease::rotates(&self.entry)
    }

    /// What the service has to work with now: what its run was born with, or, where it may ask again, whatever is held.
    pub(super) fn lives_on(&self) -> Option<&Held> {
        let newest = self.serving().or_else(|| self.runs.last());
        newest.filter(|_| self.rotates()).and_then(|run| run.lease.as_ref()).or(self.held.as_ref())
    }

    /// The lease that only this run, which is gone, could still ask for.
    pub(super) fn last_of_former(&self, gone: &Run) -> Option<LeaseId> {
        let former = |run: &Run| run.former.as_ref()?.0.as_ref().map(|held| held.lease.id);
        let lease = former(gone)?;
        (!self.runs.iter().any(|run| former(run) == Some(lease))).then_some(lease)
    }

    /// A replacement that somebody may wait for: not one whose new run is not ready in time.
    pub(super) fn replacement_under_way(&self) -> Option<&Replacing> {
        self.replacing.as_ref().filter(|_| !self.serving().is_some_and(Run::is_overdue))
    }

    /// What a replacement is expected to take.
    pub(super) fn expected_cost(&self) -> Duration {
        self.cost.unwrap_or(Duration::from_secs(2) + self.entry.ready_timeout())
    }

    /// A newer run comes to nothing: what it was asked for is still to be done.
    pub(super) fn give_back(&mut self, number: u32) {
        self.replacing = None;
        let Some(run) = self.runs.iter().find(|run| run.number == number) else { return };
        // Unhealthy was the old run, which tells itself whether it still is.
        for reason in run.why.iter().filter(|&reason| *reason != Reason::Unhealthy) {
            join(&mut self.reasons, reason);
        }
    }

    /// A replacement is asked for. Before the new run is spawned a second wish joins the first, for that run is born with
    /// all that was asked; after, it is one more.
    pub(super) fn ask_replacement(&mut self, reason: &Reason) {
        join(&mut self.reasons, reason);
        self.revision.asked += 1;
    }

    /// Are callers of this run refused once it is gone, for nobody has listened for it?
    pub(super) fn refuses(&self, number: u32) -> bool {
        let run = self.runs.iter().find(|run| run.number == number);
        run.is_none_or(|run| run.ports.is_empty() || run.has(Handover::None))
    }

    pub(super) fn see_ports_again(&mut self) {
        if self.ports != Ports::Unclaimed {
            self.ports = Ports::Stale;
        }
    }

    /// The newer runs that came to nothing are of no meaning any more.
    pub(super) fn forget_overlaps(&mut self) {
        self.overlap_again = None;
        self.overlap_failures = 0;
        self.overlap_why = None;
    }

    /// Forgets everything that stood in the way of a start: a person asked for it.
    pub(super) fn clear_way(&mut self) {
        self.crashes = Crashes::default();
        self.forget_overlaps();
        self.ended = None;
        self.unwell = None;
        self.last_trouble = None;
    }
}

/// One reason more, unless it is among them. Files that changed are one reason together: the fuller count stays.
pub(super) fn join(reasons: &mut Vec<Reason>, reason: &Reason) {
    if let Reason::FileChanged { more, .. } = reason
        && let Some(known) = reasons.iter_mut().find(|known| matches!(known, Reason::FileChanged { .. }))
    {
        if matches!(&*known, Reason::FileChanged { more: fewer, .. } if fewer < more) {
            *known = reason.clone();
        }
    } else if !reasons.contains(reason) {
        reasons.push(reason.clone());
    }
}
