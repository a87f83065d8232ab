//! The words between daemon and keeper: JSON, one value a packet, over a `SOCK_SEQPACKET` socketpair.
//!
//! The daemon's first packet is [`Hello`] and carries three descriptors by SCM_RIGHTS: the [`Spec`] in a sealed memfd
//! (so no secret is in any argv or in the keeper's own environ), the service's log folder, the service's lock (flock
//! held; the keeper only ever closes it). After that: [`Order`]s one way, [`Report`]s the other. Both ends are
//! non-blocking; end of file, ECONNRESET and EPIPE are one thing: the other side is gone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::supervisor::{Exit, Reason, RunId, StopWhy};

/// Both sides are normally the same binary; after an upgrade of the file on disk they may not be.
pub const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
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
    /// The mode bits that files of the service do not get.
    pub umask: u32,
    /// The daemon's pid: the keeper ends if its parent is another at its first look.
    pub daemon: u32,
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
}

impl Order {
    /// The word that [`Report::Took`] answers with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Kill => "kill",
            Self::Signal { .. } => "signal",
            Self::LookForDebugger => "look-for-debugger",
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
