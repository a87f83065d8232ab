//! The words between the supervisor and the world: facts in, effects out.
//!
//! Facts are in the past tense and may be late or doubled: each carries the number of its run or ask, and one that is
//! not current is dropped. Effects are imperatives; they are *started*, never awaited, and what comes of them returns
//! as a fact.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::{Boot, Wall};
use crate::manifest::{Name, Service};

/// A run of a service: numbered 1, 2, 3 … for the life of its log folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    pub service: Name,
    pub number: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.service, self.number)
    }
}

/// A question to STS; the answer carries the same number. Unique for the life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskId(pub u64);

/// Credentials held for one service. The secret stays in the daemon under this number (the ask that brought it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// What is known of a lease without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub id: LeaseId,
    /// On arrival.
    pub issued: Boot,
    /// issued + (AWS's Expiration − the answer's own Date).
    pub expires: Boot,
    /// The same as AWS said it: to show, and to shorten the lease if the wall clock has passed it.
    pub expires_wall: Wall,
}

/// Who gave a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub uid: u32,
    pub user: String,
}

/// What a person (or `up`, or shutdown) wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Want these up, with their dependencies unless `no_deps`. Clears crash counters. An up service is left alone.
    Start {
        services: Vec<Name>,
        no_deps: bool,
    },
    /// Want these down. `timeout` overrides `stop_timeout`.
    Stop {
        services: Vec<Name>,
        timeout: Option<Duration>,
    },
    /// Replace these (start them if down): fresh environment, fresh credentials, crash counter cleared.
    Restart {
        services: Vec<Name>,
        timeout: Option<Duration>,
        no_deps: bool,
        force: bool,
    },
    /// Nothing replaces these by itself until released, or `until` (absolute, shown as given).
    Hold {
        service: Name,
        lasts: Option<Duration>,
    },
    Release {
        service: Name,
    },
    /// Ask for fresh credentials now, lasting refusals included; the runs are then replaced (`env` delivery).
    Refresh {
        services: Vec<Name>,
    },
    /// End everything in reverse dependency order. Wins over everything, for ever.
    Shutdown {
        timeout: Option<Duration>,
    },
    /// Second Ctrl-C: SIGKILL to every tree at once.
    KillAll,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Why STS gave no lease, for a person and for the schedule. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Lasting: asking again soon will not help (AccessDenied, validation …). Transient: backoff.
    pub lasting: bool,
    /// AWS's code, or ours (`Unreachable`, `NoBaseCredentials`, `BaseRoleMismatch` …).
    pub code: String,
    /// One sentence.
    pub message: String,
    /// How to mend it, ready to paste; may be several lines.
    pub hint: Option<String>,
    /// Which side denies, when the message tells: `caller`, `target`, `organisation`, `network`.
    pub side: Option<String>,
    /// Who asked (an ARN), when known.
    pub caller: Option<String>,
    pub request_id: Option<String>,
    /// AWS said when to come back.
    pub retry_after: Option<Duration>,
    pub at: Wall,
}

impl Refusal {
    /// No base identity has shown its MFA code yet, or not lately.
    pub const MFA_REQUIRED: &str = "MfaRequired";
    pub const MFA_EXPIRED: &str = "MfaExpired";

    /// Does it wait for nothing but a person's MFA code?
    pub fn wants_code(&self) -> bool {
        [Self::MFA_REQUIRED, Self::MFA_EXPIRED].contains(&self.code.as_str())
    }
}

/// Facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The manifest, first or again. `known` are the highest run numbers found on disk, of those it had not before.
    Loaded {
        services: Vec<Arc<Service>>,
        known: Vec<RunId>,
    },
    /// A person spoke. The same `request` twice is once.
    Commanded {
        request: String,
        by: By,
        command: Command,
    },
    /// The shim has exec'd.
    Started {
        run: RunId,
        pid: u32,
    },
    /// No process came of it: `what` is one sentence (`command "./x": no such file`).
    StartFailed {
        run: RunId,
        what: String,
    },
    /// A readiness check succeeded (none is configured: the supervisor finds out by itself).
    BecameReady {
        run: RunId,
    },
    /// The check was asked and did not succeed, one sentence: `connection refused`, `the port is held by pid 812 of bob`.
    NotReady {
        run: RunId,
        what: String,
    },
    /// It failed its `live` check so often that it counts as unwell (one sentence), or is well again (`None`). Sent on change.
    Health {
        run: RunId,
        trouble: Option<String>,
    },
    /// What it says of itself (`STATUS=` of sd_notify(3)).
    Said {
        run: RunId,
        status: String,
    },
    /// An external service is there (`None`) or not (one sentence). Sent on change.
    External {
        service: Name,
        trouble: Option<String>,
    },
    /// A file that the service watches changed, relative to the manifest's folder.
    FileChanged {
        service: Name,
        path: String,
    },
    /// The main process ended; others of the tree may live.
    Exited {
        run: RunId,
        exit: Exit,
    },
    /// The tree is empty and the log is complete: the run is over.
    Gone {
        run: RunId,
    },
    /// SIGKILL was sent and these live on (`pid 812 (D state)`).
    Survived {
        run: RunId,
        who: Vec<String>,
    },
    /// The keeper died under its run. Counts as a crash; `Gone` follows when the daemon has ended the rest.
    KeeperLost {
        run: RunId,
        what: String,
    },
    /// The answer to a look: a debugger is attached to the tree (`gdb (pid 812)`), or none is.
    Traced {
        run: RunId,
        by: Option<String>,
    },
    /// The ports that a start of this service needs are free (`None`), or one is not: one sentence. Answers [`Effect::Claim`],
    /// and comes again when that changes.
    Ports {
        service: Name,
        trouble: Option<String>,
    },
    /// The other answer: what devsup is to listen at, the service's own run has opened by itself. Free when that is gone.
    PortsOwn {
        service: Name,
    },
    /// A port that somebody else had may be free now: it is worth a look.
    PortsAgain {
        service: Name,
    },
    /// No connection is left to hand over of a run that is to be stopped.
    Drained {
        run: RunId,
    },
    /// A keeper of an earlier devsup still holds the service's lock (`run 4 of an earlier devsup, keeper 812`), or let go.
    Occupied {
        service: Name,
        by: Option<String>,
    },
    Granted {
        ask: AskId,
        service: Name,
        lease: Lease,
    },
    Refused {
        ask: AskId,
        service: Name,
        refusal: Refusal,
    },
    /// Time passed, or a clock was set, or the machine woke up.
    Woke,
}

/// Why a run is replaced, in the words people see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Credentials,
    Restart {
        by: String,
    },
    ManifestChanged,
    Dependency {
        on: Name,
    },
    /// The first file that changed, and how many others did.
    FileChanged {
        path: String,
        more: u32,
    },
    Unhealthy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials => f.write_str("credentials"),
            Self::Restart { by } => write!(f, "restart ({by})"),
            Self::ManifestChanged => f.write_str("manifest changed"),
            Self::Dependency { on } => write!(f, "{on} was replaced"),
            Self::FileChanged { path, more: 0 } => write!(f, "file changed: {path}"),
            Self::FileChanged { path, more } => write!(f, "file changed: {path} (and {more} more)"),
            Self::Unhealthy => f.write_str("unhealthy"),
        }
    }
}

/// What the world is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Assume the service's role. Answered by `Granted` or `Refused` with this number.
    Ask { ask: AskId, service: Arc<Service> },
    /// The secret under this number is of no more use: zeroize it.
    Forget { lease: LeaseId },
    /// Start a run. `lease` is `None` exactly when the service has no role.
    Spawn { run: RunId, service: Arc<Service>, lease: Option<LeaseId>, why: Vec<Reason> },
    /// The service is about to be started: bind what devsup holds for it, and see that what it binds itself is free. Answered
    /// by [`Event::Ports`].
    Claim { service: Arc<Service> },
    /// Nothing of it will be started: its ports are let go.
    Unclaim { service: Name },
    /// It will be stopped: no new connection is taken to it, and what is at rest is closed. Answered by [`Event::Drained`].
    Drain { run: RunId },
    /// Stop politely; the keeper sends SIGKILL to the tree after `timeout`. Sent once a run, again only with a shorter timeout.
    Stop { run: RunId, timeout: Duration, why: StopWhy },
    /// SIGKILL to the whole tree now.
    Kill { run: RunId },
    /// Is a debugger attached anywhere in the tree? Answered by `Traced`.
    Look { run: RunId },
    /// Something worth a line in the journal happened.
    Note(Note),
    /// Shutdown is complete: no run is left.
    Finished,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopWhy {
    /// A person, or shutdown.
    Asked,
    Replaced(Vec<Reason>),
    /// What the main process left behind, or a newer run that did not get ready.
    Leftover,
}

/// A line of the journal (`devsup events`) and a mark in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub service: Option<Name>,
    pub run: Option<u32>,
    pub by: Option<By>,
    #[serde(flatten)]
    pub what: Happening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A command was carried out.
    Commanded {
        command: String,
    },
    Starting {
        why: Vec<Reason>,
    },
    Started {
        pid: u32,
    },
    StartFailed {
        what: String,
    },
    Ready,
    /// Not ready within its `timeout`; it is left running.
    NotReadyInTime {
        what: String,
    },
    Unhealthy {
        what: String,
    },
    Healthy,
    /// An external service is no longer there.
    Away {
        what: String,
    },
    /// The main process ended by itself.
    Exited {
        exit: Exit,
        crash: bool,
    },
    /// It ended because we stopped it.
    Stopped {
        exit: Option<Exit>,
    },
    /// `gap_ms`: from the end of the old run until the new one was ready (started, where nothing checks that); none where both
    /// ran at once.
    Replaced {
        why: Vec<Reason>,
        gap_ms: Option<u64>,
        /// Where ports were handed over: how long callers waited at worst. Of a passed socket: from the order to stop until the new
        /// run was ready. What is more, of a forwarded one, is added by who sees them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_ms: Option<u64>,
        /// Callers that no run took in time; added likewise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_up: Option<u64>,
    },
    /// It cannot be started while somebody else has its port.
    PortHeld {
        what: String,
    },
    Backoff {
        crashes: u32,
        wait_ms: u64,
    },
    GaveUp {
        crashes: u32,
    },
    Killed,
    Survived {
        who: Vec<String>,
    },
    KeeperLost {
        what: String,
    },
    LeaseGranted {
        expires: Wall,
    },
    LeaseRefused {
        refusal: Refusal,
        retry_ms: u64,
    },
    LeaseExpired,
    /// A replacement is due but does not happen: a debugger, a new run that is not ready …
    Deferred {
        what: String,
    },
    /// A restart waited for fresh credentials in vain.
    SettledForHeld,
    Held {
        lasts_ms: Option<u64>,
    },
    Released,
    Occupied {
        by: String,
    },
    ManifestLoaded {
        added: Vec<Name>,
        changed: Vec<Name>,
        removed: Vec<Name>,
    },
    ShuttingDown,
}
