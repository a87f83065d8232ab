//! `stop_command`: a child of the keeper, in the service's environment and folder, that is not part of the tree.

use std::os::fd::BorrowedFd;

use super::output::Output;
use super::starter::{Gifts, Starter, Verdict, What};
use super::tree;
use crate::sys::process::End;
use crate::sys::signal;

pub(super) struct StopCommand {
    pub(super) pid: u32,
    starter: Option<Starter>,
    failure: Option<String>,
}

impl StopCommand {
    /// Its output goes to the service's log.
    pub(super) fn start(spec: BorrowedFd<'_>, output: &mut Output) -> Result<Self, String> {
        let writers = output.more_writers().map_err(|e| format!("`stop_command` cannot be started: {e}"))?;
        let starter = Starter::launch(What::StopCommand, "stop-command", spec, None, writers, &Gifts::default())
            .map_err(|e| format!("`stop_command` cannot be started: {e}"))?;
        Ok(Self { pid: starter.pid, starter: Some(starter), failure: None })
    }

    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.starter.as_ref().map(Starter::waits_for)
    }

    pub(super) fn listen(&mut self) {
        let Some(starter) = &mut self.starter else { return };
        match starter.listen() {
            Verdict::Undecided => return,
            Verdict::Became => {}
            Verdict::Failed { what, .. } => self.failure = Some(what.replacen("command", "stop_command", 1)),
        }
        self.starter = None;
    }

    /// It has ended: one sentence if that was not well.
    pub(super) fn ended(mut self, end: End) -> Option<String> {
        self.listen();
        match (self.failure, end) {
            (Some(what), _) => Some(what),
            (None, End::Code(0)) => None,
            (None, End::Code(code)) => Some(format!("`stop_command` ended with exit {code}; the stop goes on")),
            (None, End::Signal(by)) => {
                Some(format!("`stop_command` was ended by {}; the stop goes on", signal::name(by)))
            }
        }
    }

    pub(super) fn kill(&self) {
        tree::kill_below(self.pid);
    }
}
