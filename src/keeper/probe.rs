//! One exec probe: a child of the keeper beside the service, as the service is, in its environment and folder.
//!
//! It is no part of the tree: nobody waits for it, and it is killed with all below it when its time is over or the run
//! ends. Its output goes nowhere but for the last line of stderr, which says why it failed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::output::Writers;
use super::plain::plain;
use super::protocol::Which;
use super::starter::{Gifts, Starter, Verdict, What};
use super::tree;
use crate::logs::Secrets;
use crate::manifest::span;
use crate::sys::pipe::{self, Read};
use crate::sys::process::End;
use crate::sys::{descriptors, signal};

/// So much of the end of stderr is kept: more than the longest secret, so that none is shown in part.
const KEPT: usize = 16 << 10;
const READS_AT_ONCE: usize = 8;

pub(super) struct Probe {
    pub(super) which: Which,
    pub(super) pid: u32,
    timeout: Duration,
    /// `None`: it is being killed.
    deadline: Option<Duration>,
    starter: Option<Starter>,
    /// `None`: closed by all who had it.
    stderr: Option<OwnedFd>,
    tail: Vec<u8>,
    failure: Option<String>,
}

impl Probe {
    pub(super) fn start(which: Which, spec: BorrowedFd<'_>, timeout: Duration, now: Duration) -> Result<Self, String> {
        let sentence = |e| format!("it cannot be started: {e}");
        let (stderr, theirs) = pipe::pipe().map_err(sentence)?;
        let writers = Writers { stdout: descriptors::null().map_err(sentence)?, stderr: theirs };
        let what = match which {
            Which::Ready => What::ReadyProbe,
            Which::Live => What::LiveProbe,
        };
        let starter = Starter::launch(what, "probe", spec, None, writers, &Gifts::default()).map_err(sentence)?;
        Ok(Self {
            which,
            pid: starter.pid,
            timeout,
            deadline: Some(now + timeout),
            starter: Some(starter),
            stderr: Some(stderr),
            tail: Vec::new(),
            failure: None,
        })
    }

    pub(super) fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.starter.as_ref().map(Starter::waits_for).into_iter().chain(self.stderr.as_ref().map(AsFd::as_fd))
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.failure.get_or_insert(format!("it did not end in {}", span(self.timeout)));
            self.kill();
        }
    }

    pub(super) fn kill(&mut self) {
        self.deadline = None;
        tree::kill_below(self.pid);
    }

    pub(super) fn listen(&mut self) {
        if let Some(starter) = &mut self.starter {
            match starter.listen() {
                Verdict::Undecided => {}
                Verdict::Became => self.starter = None,
                Verdict::Failed { what, .. } => {
                    self.starter = None;
                    self.failure.get_or_insert(what);
                }
            }
        }
        self.read();
    }

    /// What is in the pipe now, up to a bound.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..READS_AT_ONCE {
            let Some(stderr) = &self.stderr else { return };
            match pipe::read(stderr, &mut buffer) {
                Read::Empty => return,
                Read::End => self.stderr = None,
                Read::Bytes(n) => {
                    self.tail.extend_from_slice(buffer.get(..n).unwrap_or_default());
                    let over = self.tail.len().saturating_sub(KEPT);
                    self.tail.drain(..over);
                }
            }
        }
    }

    /// It has ended; what it left is killed. `None`: it ended well. Else one sentence.
    pub(super) fn ended(mut self, end: End, secrets: &Secrets) -> Option<String> {
        tree::kill_session(self.pid);
        self.listen();
        let how = match (self.failure.take(), end) {
            (Some(failure), _) => return Some(failure),
            (None, End::Code(0)) => return None,
            (None, End::Code(code)) => format!("exit {code}"),
            (None, End::Signal(by)) => signal::name(by),
        };
        let said = last_line(&secrets.mask(&self.tail), self.tail.len() == KEPT);
        Some(if said.is_empty() { how } else { format!("{how}: {said}") })
    }
}

/// Of one whose beginning is lost, the end: there may be half a secret before it.
fn last_line(bytes: &[u8], cut: bool) -> String {
    const END: usize = 200;
    let mut lines = bytes.split(|byte| *byte == b'\n').rev();
    let line = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let lost = cut && lines.next().is_none();
    plain(if lost { line.get(line.len().saturating_sub(END)..).unwrap_or(line) } else { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_anything() {
        assert_eq!(last_line(b"first\nno such table\n \n", false), "no such table");
        assert_eq!(last_line(b"", false), "");
        let long = [b'x'; 300].as_slice();
        assert_eq!(last_line(&[long, b"the end"].concat(), false).len(), 200 + "…".len());
        assert!(last_line(&[long, b"the end"].concat(), true).ends_with("the end"));
    }
}
