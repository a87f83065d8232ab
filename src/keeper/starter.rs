//! The keeper's side of a shim: starts it, and learns whether it became the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::output::Writers;
use crate::sys::packet::{self, Received};
use crate::sys::process::{self, Stdio3};

/// The keeper's only packet to a shim; the sealed [`super::protocol::Spec`] comes with it, and then what is said here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) keeper: u32,
    pub(super) what: What,
    /// The cgroup to enter comes next.
    pub(super) cgroup: bool,
    /// The value of `NOTIFY_SOCKET`.
    pub(super) notify: Option<String>,
    /// So many listening sockets come next.
    pub(super) sockets: usize,
    /// The number in the service of the descriptor that comes last.
    pub(super) ready_fd: Option<u32>,
}

/// What a service is given: to say that it is ready, and to listen on.
#[derive(Debug, Default)]
pub(super) struct Gifts {
    pub(super) sockets: Vec<OwnedFd>,
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
    /// What holds of the isolation that was asked for.
    Isolation {
        how: String,
    },
    Executing,
    Failed {
        stage: String,
        what: String,
    },
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
    /// What it said of its isolation, until that is passed on.
    isolation: Option<String>,
    executing: bool,
}

impl Starter {
    /// Starts a shim that becomes `what`. The write ends are the program's alone afterwards.
    pub(super) fn launch(
        what: What,
        name: &str,
        spec: BorrowedFd<'_>,
        cgroup: Option<BorrowedFd<'_>>,
        writers: Writers,
        gifts: &Gifts,
    ) -> io::Result<Self> {
        let (report, theirs) = packet::pair()?;
        let ready_fd = gifts.ready_fd.as_ref();
        let task = Task {
            keeper: process::own_pid(),
            what,
            cgroup: cgroup.is_some(),
            notify: gifts.notify.clone(),
            sockets: gifts.sockets.len(),
            ready_fd: ready_fd.map(|(number, _)| *number),
        };
        let ready_fd = ready_fd.map(|(_, fd)| fd.as_fd());
        let sockets = gifts.sockets.iter().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> =
            [spec].into_iter().chain(cgroup).chain(sockets).chain(ready_fd).collect();
        packet::send(&report, &serde_json::to_vec(&task)?, &descriptors)?;
        let stdio = Stdio3 { stdin: theirs, stdout: Some(writers.stdout), stderr: Some(writers.stderr) };
        let pid = process::start(process::own_program(), &["__shim", name], &[], stdio)?;
        Ok(Self { pid, report, isolation: None, executing: false })
    }

    pub(super) fn waits_for(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// What holds of the isolation, once.
    pub(super) fn isolation(&mut self) -> Option<String> {
        self.isolation.take()
    }

    /// Hears what the shim has said up to now.
    pub(super) fn listen(&mut self) -> Verdict {
        loop {
            match packet::receive(&self.report) {
                Ok(Received::Packet(bytes, _)) => match serde_json::from_slice(&bytes) {
                    Ok(Word::Failed { stage, what }) => return Verdict::Failed { stage, what },
                    Ok(Word::Isolation { how }) => self.isolation = Some(how),
                    Ok(Word::Executing) => self.executing = true,
                    Err(_) => {}
                },
                Ok(Received::Empty) => return Verdict::Undecided,
                Ok(Received::Closed) | Err(_) => {
                    if self.executing {
                        return Verdict::Became;
                    }
                    let what = "it ended before the command was executed; memory may be short, or its `limits` too low";
                    return Verdict::Failed { stage: "start".into(), what: what.into() };
                }
            }
        }
    }
}
