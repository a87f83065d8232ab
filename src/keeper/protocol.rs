//! The words between daemon and keeper: JSON, one value a packet, over a `SOCK_SEQPACKET` socketpair.
//!
//! The daemon's first packet is [`Hello`] and carries three descriptors by SCM_RIGHTS: the [`Spec`] in a sealed memfd
//! (so no secret is in any argv or in the keeper's own environ), the service's log folder, the service's lock (flock
//! held; the keeper only ever closes it); then the run's cgroup, where it has one, and the listening sockets that the service
//! gets. After that: [`Order`]s one way, [`Report`]s the other. Both ends are
//! non-blocking; end of file, ECONNRESET and EPIPE are one thing: the other side is gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::{Resource, Rlimit};
use crate::supervisor::{Exit, Reason, RunId, StopWhy};
use crate::sys::pty::Size;

/// Both sides are normally the same binary; after an upgrade of the file on disk they may not be.
pub const VERSION: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// The run has a cgroup, and its folder is the fourth descriptor.
    #[serde(default)]
    pub cgroup: bool,
    /// So many listening sockets are the last descriptors.
    #[serde(default)]
    pub sockets: usize,
}

/// Everything a keeper needs, also to end its run when the daemon is gone. Holds secrets: never Debug, never logged.
#[derive(Serialize, Deserialize)]
pub struct Spec {
    pub version: u32,
    /// `<project name>-<hash>`: first half of the mark `DEVSUP_RUN=<project>/<service>#<n>`.
    pub project: String,
    pub run: RunId,
    /// Why this run starts, for the mark in the log; empty for a first start.
    pub why: Vec<Reason>,
    pub argv: Vec<String>,
    /// The whole environment of the service, mark included.
    pub env: Vec<(OsString, OsString)>,
    pub working_dir: PathBuf,
    pub stop: StopSpec,
    pub logs: LogSpec,
    pub birth: Birth,
    pub ready: ReadyBy,
    /// The names of the listening sockets that the service gets from descriptor 3 on (`LISTEN_FDNAMES`).
    pub sockets: Vec<String>,
    pub probes: Probes,
    /// The daemon's pid: the keeper ends if its parent is another at its first look.
    pub daemon: u32,
}

/// What the shim makes of itself before it becomes the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// The mode bits that files of the service do not get.
    pub umask: u32,
    pub nice: Option<i32>,
    pub limits: BTreeMap<Resource, Rlimit>,
    /// Soft limits that daemon or keeper changed for themselves, as they were; `None`: unlimited. `limits` wins.
    pub soft: BTreeMap<Resource, Option<u64>>,
    /// `None`: it stays who the keeper is.
    pub identity: Option<Identity>,
    /// In a domain of its own, as far as the kernel can.
    pub isolate: bool,
    /// A terminal on 0 1 2 instead of nothing and pipes.
    pub tty: bool,
}

/// Who the service becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All of them, `gid` included.
    pub groups: Vec<u32>,
}

/// What the keeper itself watches for to know that the service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyBy {
    /// Others find out.
    Others,
    /// `READY=1` on `NOTIFY_SOCKET`, which the keeper adds to the environment.
    Notify,
    /// A line end on this descriptor.
    Fd(u32),
    /// A line of output that matches.
    Log(String),
}

/// Argument vectors of the exec probes, run in the service's environment, folder and identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    pub ready: Option<Vec<String>>,
    pub live: Option<Vec<String>>,
}

/// Which exec probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    Ready,
    Live,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSpec {
    pub signal: i32,
    pub mode: crate::manifest::StopMode,
    pub timeout: Duration,
    /// Run first, in the service's environment and folder.
    pub command: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
pub struct LogSpec {
    /// A new file is begun beyond this.
    pub file_bytes: u64,
    /// (what to write instead, the secret): `("[devsup: secret access key of a]", "…")`.
    pub redact: Vec<(String, String)>,
    /// Regular expressions of the user, checked: what matches in a line is masked.
    pub patterns: Vec<String>,
}

/// Daemon to keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// `stop_command`, then the stop signal and SIGCONT, then SIGKILL to the tree after `timeout`. A second one may only shorten.
    Stop { timeout: Duration, why: StopWhy },
    /// SIGKILL to the tree now.
    Kill,
    /// A signal to the tree, or to the main process only.
    Signal { signal: i32, main: bool },
    /// Answered by [`Report::Traced`], whether there is one or not.
    LookForDebugger,
    /// Run the exec probe, unless it still runs; ended by force after `timeout`. Answered by [`Report::Probed`].
    Probe { which: Which, timeout: Duration },
    /// Somebody comes to the run's terminal by the socket that comes with this, and speaks [`crate::control::attach`].
    Attach { size: Size },
}

impl Order {
    /// The word that [`Report::Took`] answers with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Kill => "kill",
            Self::Signal { .. } => "signal",
            Self::LookForDebugger => "look-for-debugger",
            Self::Probe { .. } => "probe",
            Self::Attach { .. } => "attach",
        }
    }
}

/// Keeper to daemon. States, not a queue: one slot a kind, the newest overwrites, sent when the socket takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// First packet; the keeper is up.
    Hello {
        version: u32,
    },
    /// The shim has exec'd.
    Started {
        pid: u32,
    },
    /// `what` is one sentence with its mend: ``command "./x": no such file (looked in /srv/a)``.
    StartFailed {
        stage: String,
        what: String,
    },
    Exited {
        exit: Exit,
    },
    /// By [`ReadyBy`].
    Ready,
    /// It will not be by [`ReadyBy`]: one sentence.
    NotReady {
        what: String,
    },
    /// `STATUS=` of sd_notify(3).
    Said {
        status: String,
    },
    /// The exec probe ended well (`None`), or not: one sentence.
    Probed {
        which: Which,
        trouble: Option<String>,
    },
    /// What holds of the isolation that was asked for: `landlock`, or why there is none.
    Isolation {
        how: String,
    },
    /// The tree is empty and the log is complete. The keeper exits 0 after this.
    Gone,
    /// SIGKILL was sent and these live on.
    Survived {
        who: Vec<String>,
    },
    /// The answer to [`Order::LookForDebugger`]: `gdb (pid 812)`, if one is attached to any process of the tree.
    Traced {
        by: Option<String>,
    },
    /// The stop goes on without it. One sentence.
    StopCommandFailed {
        what: String,
    },
    /// Another log file was begun: the older ones may be over their bound.
    LogRolled {
        files: u32,
    },
    /// Log bytes dropped so far because the disk did not take them, and why.
    Logs {
        dropped: u64,
        what: Option<String>,
    },
    /// An order arrived (the daemon acts from outside when a keeper does not answer within 2 s).
    Took {
        order: String,
    },
}
