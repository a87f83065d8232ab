//! What the daemon has not been told yet: one slot a kind, the newest overwrites.
//!
//! Reports are states, not a queue, so this never grows however long the daemon does not read.

use std::mem::discriminant;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::protocol::Report;
use crate::sys::packet::{self, Sent};
use crate::sys::poll::{self, For};

/// How long the last words may wait for a daemon that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Outbox {
    slots: Vec<Report>,
}

impl Outbox {
    pub(super) fn put(&mut self, report: Report) {
        self.slots.retain(|old| !same_kind(old, &report));
        self.slots.push(report);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Sends what the socket takes. `Closed`: the daemon is gone.
    pub(super) fn send(&mut self, socket: &OwnedFd) -> Sent {
        while let Some(report) = self.slots.first() {
            let Ok(bytes) = serde_json::to_vec(report) else {
                self.slots.remove(0);
                continue;
            };
            match packet::send(socket, &bytes, &[]) {
                Ok(Sent::Sent) => drop(self.slots.remove(0)),
                Ok(Sent::Full) => return Sent::Full,
                Ok(Sent::Closed) | Err(_) => return Sent::Closed,
            }
        }
        Sent::Sent
    }

    /// The last words of a keeper: waits a bounded time for a full socket.
    pub(super) fn send_all(&mut self, socket: &OwnedFd) {
        let until = crate::sys::clock::monotonic() + PATIENCE;
        while self.send(socket) == Sent::Full {
            let left = until.saturating_sub(crate::sys::clock::monotonic());
            if left.is_zero() || poll::wait(&[(socket.as_fd(), For::ReadingAndWriting)], Some(left)).is_err() {
                return;
            }
        }
    }
}

/// The two exec probes answer each for itself.
fn same_kind(a: &Report, b: &Report) -> bool {
    match (a, b) {
        (Report::Probed { which: a, .. }, Report::Probed { which: b, .. }) => a == b,
        _ => discriminant(a) == discriminant(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Which;
    use super::*;
    use crate::supervisor::Exit;

    #[test]
    fn the_newest_of_a_kind_stands_where_it_happened() {
        let mut outbox = Outbox::default();
        outbox.put(Report::Took { order: "stop".into() });
        outbox.put(Report::Exited { exit: Exit::Code(0) });
        outbox.put(Report::Took { order: "kill".into() });
        assert_eq!(outbox.slots, [Report::Exited { exit: Exit::Code(0) }, Report::Took { order: "kill".into() }]);
    }

    #[test]
    fn one_probe_does_not_speak_for_the_other() {
        let probed = |which, trouble: Option<&str>| Report::Probed { which, trouble: trouble.map(str::to_owned) };
        let mut outbox = Outbox::default();
        outbox.put(probed(Which::Ready, Some("exit 1")));
        outbox.put(probed(Which::Live, None));
        outbox.put(probed(Which::Ready, None));
        assert_eq!(outbox.slots, [probed(Which::Live, None), probed(Which::Ready, None)]);
    }

    #[test]
    fn a_daemon_that_does_not_read_costs_nothing() {
        let (ours, _theirs) = packet::pair().unwrap();
        let mut outbox = Outbox::default();
        for n in 0..10_000 {
            outbox.put(Report::Logs { dropped: n, what: None });
            outbox.send(&ours);
        }
        assert!(outbox.slots.len() <= 1);
    }
}
