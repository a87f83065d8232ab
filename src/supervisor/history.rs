//! How the last runs of a service ended: for people, who ask why it is not what it was.

use std::fmt;
use std::time::Duration;

use super::event::{Exit, Reason, StopWhy};
use super::service::{Run, Slot};
use super::time::{Now, Wall};
use super::view::PastRun;

/// So many are remembered.
const KEPT: usize = 5;

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    run: u32,
    at: Wall,
    exit: Option<Exit>,
    /// From its start; `None`: no process came of it.
    uptime: Option<Duration>,
    end: End,
}

/// What an end was to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, and the restart policy does not accept it.
    Crashed,
    /// By itself, as it may.
    Ended,
    /// No process came of it, or its keeper died under it: the sentence.
    Broke(String),
    Stopped(StopWhy),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed => f.write_str("crashed"),
            Self::Ended => f.write_str("ended"),
            Self::Broke(what) => f.write_str(what),
            Self::Stopped(StopWhy::Asked) => f.write_str("stopped"),
            Self::Stopped(StopWhy::Leftover) => f.write_str("given up"),
            Self::Stopped(StopWhy::Replaced(why)) => {
                let why: Vec<String> = why.iter().map(Reason::to_string).collect();
                write!(f, "replaced ({})", why.join(", "))
            }
        }
    }
}

impl Slot {
    /// Remembers how a run ended; the first word about it stands.
    pub(super) fn remember(&mut self, number: u32, exit: Option<Exit>, end: End, now: Now) {
        if self.exits.iter().any(|past| past.run == number) {
            return;
        }
        let started = self.runs.iter().find(|run| run.number == number).and_then(|run: &Run| run.started);
        let uptime = started.map(|at| now.mono.since(at));
        if self.exits.len() == KEPT {
            self.exits.remove(0);
        }
        self.exits.push(Past { run: number, at: now.wall, exit, uptime, end });
    }

    pub(super) fn past_runs(&self) -> Vec<PastRun> {
        let shown = |past: &Past| PastRun {
            run: past.run,
            at: past.at,
            exit: past.exit,
            uptime: past.uptime,
            what: past.end.to_string(),
        };
        self.exits.iter().map(shown).collect()
    }
}
