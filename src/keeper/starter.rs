//! The keeper's side of a shim: starts it, and learns whether it became the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::output::Writers;
use crate::sys::packet::{self, Received};
use crate::sys::process::{self, Stdio3};

/// The keeper's only packet to a shim; the sealed [`super::protocol::Spec`] comes with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) keeper: u32,
    pub(super) what: What,
    /// The value of `NOTIFY_SOCKET`.
    pub(super) notify: Option<String>,
    /// The number in the service of the descriptor that comes last.
    pub(super) ready_fd: Option<u32>,
}

/// What a service is given to say that it is ready.
#[derive(Debug, Default)]
pub(super) struct Gifts {
    pub(super) notify: Option<String>,
    /// Under this number.
    pub(super) ready_fd: Option<(u32, OwnedFd)>,
}

/// Which of the commands of a Spec the shim becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    Service,
    StopCommand,
    ReadyProbe,
    LiveProbe,
}

/// A shim's words. End of file after `Executing`: it has exec'd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    Executing,
    Failed { stage: String, what: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    /// It is the program now.
    Became,
    Failed {
        stage: String,
        what: String,
    },
}

pub(super) struct Starter {
    pub(super) pid: u32,
    report: OwnedFd,
    executing: Option<Word>,
}

impl Starter {
    /// Starts a shim that becomes `what`. The write ends are the program's alone afterwards.
    pub(super) fn launch(
        what: What,
        name: &str,
        spec: BorrowedFd<'_>,
        writers: Writers,
        gifts: &Gifts,
    ) -> io::Result<Self> {
        let (report, theirs) = packet::pair()?;
        let ready_fd = gifts.ready_fd.as_ref();
        let task = Task {
            keeper: process::own_pid(),
            what,
            notify: gifts.notify.clone(),
            ready_fd: ready_fd.map(|(number, _)| *number),
        };
        let descriptors: Vec<BorrowedFd<'_>> = [spec].into_iter().chain(ready_fd.map(|(_, fd)| fd.as_fd())).collect();
        packet::send(&report, &serde_json::to_vec(&task)?, &descriptors)?;
        let stdio = Stdio3 { stdin: theirs, stdout: Some(writers.stdout), stderr: Some(writers.stderr) };
        let pid = process::start(process::own_program(), &["__shim", name], &[], stdio)?;
        Ok(Self { pid, report, executing: None })
    }

    pub(super) fn waits_for(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// Hears what the shim has said up to now.
    pub(super) fn listen(&mut self) -> Verdict {
        loop {
            match packet::receive(&self.report) {
                Ok(Received::Packet(bytes, _)) => match serde_json::from_slice(&bytes) {
                    Ok(Word::Failed { stage, what }) => return Verdict::Failed { stage, what },
                    Ok(word) => self.executing = Some(word),
                    Err(_) => {}
                },
                Ok(Received::Empty) => return Verdict::Undecided,
                Ok(Received::Closed) | Err(_) => {
                    return match self.executing {
                        Some(_) => Verdict::Became,
                        None => Verdict::Failed {
                            stage: "start".into(),
                            what: "it ended before the command was executed; memory may be short".into(),
                        },
                    };
                }
            }
        }
    }
}
