//! What `ps` shows of a service, as plain values: sentences come from `explain`, times are already durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Exit, Lease, LeaseId, Refusal};
use super::time::Wall;
use crate::manifest::Name;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Stopped,
    Waiting,
    Starting,
    Running,
    Stopping,
    Backoff,
    Failed,
    Done,
}

/// One service now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub name: Name,
    pub want: Want,
    pub state: State,
    pub ready: bool,
    /// The sentence of the STATUS column: `running (ready)`, `waiting for db`, `backoff, again in 8s (crash 3)`.
    pub status: String,
    /// Why it is so, one sentence, when there is more to say than the status.
    pub why: Option<String>,
    /// What happens next and when, one sentence.
    pub next: Option<String>,
    /// The newest run, also when it is over.
    pub run: Option<u32>,
    pub pid: Option<u32>,
    /// When the state was entered.
    pub since: Wall,
    pub uptime: Option<Duration>,
    /// Crashes since the counter was last cleared.
    pub crashes: u32,
    /// Replacements because of credentials since the daemon started.
    pub rotations: u32,
    /// Every start after the first since the daemon started, whatever the cause.
    pub restarts: u32,
    pub last_exit: Option<Exit>,
    pub held: Option<Held>,
    pub lease: Option<LeaseView>,
    /// The sentence of the CREDENTIALS column: `41m left, rotates in 31m`, `EXPIRED 2m ago`, `–`.
    pub credentials: String,
    pub refusal: Option<Refusal>,
    /// Live runs, newest last: two during an overlap.
    pub runs: Vec<u32>,
    /// What SIGKILL did not end: `pid 812 (D state)`.
    pub survivors: Vec<String>,
    /// What the run says of itself.
    pub said: Option<String>,
    /// Somebody else runs it.
    pub external: bool,
    /// Not ready within its time: nothing will come of waiting longer but a person's look at it.
    pub overdue: bool,
    /// How the last runs ended, newest last.
    pub exits: Vec<PastRun>,
    /// While it waits: the dependencies whose conditions do not hold.
    pub waits_for: Vec<Name>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    pub run: u32,
    pub at: Wall,
    /// `None`: nobody saw how it ended.
    pub exit: Option<Exit>,
    /// `None`: no process came of it.
    pub uptime: Option<Duration>,
    /// What that was to us: `crashed`, `stopped`, `replaced (credentials)`, `command "./x": no such file`.
    pub what: String,
}

impl View {
    /// Nothing more will come of it by itself: it is down as wanted, done, failed for good, or nothing of ours.
    pub fn settled(&self) -> bool {
        self.external && self.pid.is_none() || matches!(self.state, State::Stopped | State::Done | State::Failed)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub by: String,
    pub since: Wall,
    pub until: Option<Wall>,
}

/// The lease the current run lives on, or the one held for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    pub id: LeaseId,
    pub lease: Lease,
    /// When the run is due for replacement, as wall time.
    pub rotates: Option<Wall>,
    /// Negative: expired.
    pub left_ms: i64,
}
