//! Brings a project's daemon up: the command line's half of the conversation on the daemon's descriptor 0.
//!
//! One JSON line each way: [`Start`] in, [`Answered`] out once the control socket answers. Two at once are decided by the
//! project's lock; the loser is told where the winner listens.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::api::{Failed, FailedKind, Handed};
use crate::supervisor::By;
use crate::sys::{daemonize, memfd};

/// What a daemon needs to begin. Holds the caller's environment, so it is never logged.
#[derive(Serialize, Deserialize)]
pub struct Start {
    /// Absolute, symlinks resolved.
    pub manifest: PathBuf,
    pub environment: Handed,
    pub sandbox: bool,
    /// In the process that reads this, whom systemd knows as the main one of its unit.
    #[serde(default)]
    pub unit: bool,
    /// For everybody whom `[access]` lets in. Always a unit.
    #[serde(default)]
    pub system: bool,
    /// AWS's, over `[aws]`.
    pub profile: Option<String>,
    pub region: Option<String>,
    /// Accept a manifest that others may write to.
    pub insecure: bool,
    /// Empty: all with `autostart`.
    pub services: Vec<String>,
    pub no_deps: bool,
    pub by: By,
}

/// What the daemon says, once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    Started { socket: PathBuf, id: String, warnings: Vec<String> },
    AlreadyRunning { socket: PathBuf, id: String },
    Failed(Failed),
}

/// A daemon that answers on its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    pub socket: PathBuf,
    pub id: String,
    /// We started it; else it was up already and has heard nothing of our request yet.
    pub fresh: bool,
    pub warnings: Vec<String>,
}

/// This very process becomes the daemon: systemd knows it as the unit's main one. Comes back only with
/// the reason why not.
pub fn become_system(start: &Start) -> Failed {
    let failed =
        |error: std::io::Error| Failed::new(FailedKind::Failed, "the daemon could not be started").cause(error);
    let words = match serde_json::to_vec(start) {
        Ok(words) => words,
        Err(error) => return failed(error.into()),
    };
    match memfd::sealed("devsup-start", &words) {
        Ok(words) => failed(daemonize::become_self("__system", &start.manifest, words)),
        Err(error) => failed(error),
    }
}

/// Starts the daemon, or finds the one that is up. Returns when its control socket answers.
pub fn launch(start: &Start) -> Result<Launched, Failed> {
    let failed =
        |error: std::io::Error| Failed::new(FailedKind::Failed, "the daemon could not be started").cause(error);
    let (mut here, there) = daemonize::socket_pair().map_err(failed)?;
    // The child is never waited for: it outlives us, and if it fails at once we end a moment later ourselves.
    drop(daemonize::start_self("__daemon", there.into()).map_err(failed)?);
    let mut line = serde_json::to_vec(start).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    here.write_all(&line).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(here).read_line(&mut answer).map_err(failed)?;
    match serde_json::from_str(&answer) {
        Ok(Answered::Started { socket, id, warnings }) => Ok(Launched { socket, id, fresh: true, warnings }),
        Ok(Answered::AlreadyRunning { socket, id }) => Ok(Launched { socket, id, fresh: false, warnings: Vec::new() }),
        Ok(Answered::Failed(failed)) => Err(failed),
        Err(_) => Err(Failed::new(FailedKind::Failed, "the daemon ended before it was ready")
            .hint("devsup logs --daemon shows what it said")),
    }
}
