//! `NOTIFY_SOCKET`: what a service says of itself (sd_notify(3)), and whether it is the service that says it.
//!
//! The name of the socket is not to be guessed, but the kernel shows it to everybody. So a datagram counts only when its
//! sender descends from this keeper, as the kernel tells its pid; one that has ended meanwhile must have been of the
//! service's own uid. Nothing that is sent can do more harm than to be thrown away.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::plain::plain;
use crate::logs::Secrets;
use crate::sys::datagram::{self, Received, Sender};
use crate::sys::{peer, process, tree};

/// Longer ones are thrown away.
const LARGEST: usize = 4096;
/// Taken in one round; whoever sends more waits.
const AT_ONCE: usize = 64;
const REST: Duration = Duration::from_millis(20);

pub(super) struct Notify {
    /// `None`: closed, for it was abused.
    socket: Option<OwnedFd>,
    name: String,
    /// The uid the service runs as.
    uid: u32,
    rest_until: Option<Duration>,
    status: String,
}

/// What came of a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) ready: bool,
    /// When it changed.
    pub(super) status: Option<String>,
    pub(super) trouble: Option<String>,
}

impl Notify {
    pub(super) fn open(uid: u32) -> io::Result<Self> {
        let name = format!("devsup/{}", datagram::unguessable()?);
        let socket = Some(datagram::named(&name)?);
        Ok(Self { socket, name, uid, rest_until: None, status: String::new() })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(super) fn variable(&self) -> String {
        format!("@{}", self.name)
    }

    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().filter(|_| self.rest_until.is_none()).map(AsFd::as_fd)
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.rest_until
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.rest_until = self.rest_until.filter(|until| *until > now);
    }

    /// Takes what there is, up to a bound.
    pub(super) fn listen(&mut self, now: Duration, secrets: &Secrets) -> Said {
        let mut said = Said::default();
        let before = self.status.clone();
        let mut buffer = [0; LARGEST];
        for _ in 0..AT_ONCE {
            let Some(socket) = &self.socket else { break };
            match datagram::receive(socket, &mut buffer) {
                Received::Datagram(length, sender) if self.is_ours(sender) => {
                    said.ready |= self.hear(buffer.get(..length).unwrap_or_default(), secrets);
                }
                Received::Datagram(..) | Received::Odd => {}
                Received::Empty => {
                    self.rest_until = None;
                    return self.changed(said, &before);
                }
                Received::Flooded => {
                    self.socket = None;
                    let what = "it sent more descriptors to NOTIFY_SOCKET than can be taken: the socket was closed";
                    said.trouble = Some(what.to_owned());
                }
            }
        }
        self.rest_until = self.socket.as_ref().map(|_| now + REST);
        self.changed(said, &before)
    }

    fn changed(&self, said: Said, before: &str) -> Said {
        Said { status: (self.status != before).then(|| self.status.clone()), ..said }
    }

    fn is_ours(&self, sender: Sender) -> bool {
        if sender.pid == 0 {
            return false;
        }
        match peer::ancestry(sender.pid) {
            Some(above) => above.contains(&process::own_pid()),
            // It may only have been orphaned while we looked: who is still there is no answer.
            None => tree::look(sender.pid).is_none() && sender.uid == self.uid,
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn status(&self) -> &str {
        &self.status
    }

    /// Was that `READY=1`?
    pub(super) fn hear(&mut self, datagram: &[u8], secrets: &Secrets) -> bool {
        let mut ready = false;
        let mut word = None;
        let mut status = None;
        for line in datagram.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => ready = true,
                b"RELOADING=1" => word = Some("reloading"),
                b"STOPPING=1" => word = Some("stopping"),
                // MAINPID, FDSTORE, WATCHDOG and what else there is: the kernel tells us who is who.
                _ => status = line.strip_prefix(b"STATUS=").map(|text| masked(text, secrets)).or(status),
            }
        }
        let said_by_us = matches!(self.status.as_str(), "reloading" | "stopping");
        if let Some(status) = status.or_else(|| word.map(str::to_owned)) {
            self.status = status;
        } else if ready && said_by_us {
            self.status.clear();
        }
        ready
    }
}

/// Once more at the end: without its control characters a text may be a secret that it was not with them.
fn masked(text: &[u8], secrets: &Secrets) -> String {
    let plain = plain(&secrets.mask(text));
    String::from_utf8_lossy(&secrets.mask(plain.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(datagrams: &[&[u8]]) -> (bool, String) {
        let mut notify = Notify::open(process::own_uid()).unwrap();
        let secrets = Secrets::new(vec![("[masked]".into(), "a-long-secret".into())]);
        let ready = datagrams.iter().fold(false, |ready, datagram| notify.hear(datagram, &secrets) | ready);
        (ready, notify.status)
    }

    #[test]
    fn only_the_exact_word_is_ready() {
        assert_eq!(after(&[b"READY=1"]), (true, String::new()));
        assert_eq!(after(&[b"STATUS=warm\nREADY=1\n"]), (true, "warm".into()));
        for other in
            [&b"READY=0"[..], b"ready=1", b"READY=11", b" READY=1", b"READY=1\0", b"", b"\xff\xfe", b"MAINPID=1"]
        {
            assert_eq!(after(&[other]), (false, String::new()), "{other:?}");
        }
    }

    #[test]
    fn a_status_is_bounded_clean_and_without_secrets() {
        let (_, status) = after(&[&[b"STATUS=\x1b[2Ja-long-secret ".as_slice(), &[b'x'; 3000]].concat()]);
        assert!(status.starts_with("[masked] xxx") && status.len() < 210, "{status}");
    }

    #[test]
    fn reloading_is_said_until_it_is_over() {
        assert_eq!(after(&[b"READY=1", b"RELOADING=1"]).1, "reloading");
        assert_eq!(after(&[b"READY=1", b"RELOADING=1", b"READY=1"]).1, "");
        assert_eq!(after(&[b"STATUS=warm", b"READY=1"]).1, "warm");
        assert_eq!(after(&[b"STOPPING=1\nSTATUS=draining"]).1, "draining");
    }

    #[test]
    fn who_does_not_descend_from_us_is_not_heard() {
        let notify = Notify::open(process::own_uid()).unwrap();
        let uid = process::own_uid();
        assert!(notify.is_ours(Sender { pid: process::own_pid(), uid }));
        assert!(!notify.is_ours(Sender { pid: process::parent(), uid }));
        assert!(!notify.is_ours(Sender { pid: 0, uid }));
        // One that has ended: by its uid.
        assert!(notify.is_ours(Sender { pid: u32::MAX, uid }));
        assert!(!notify.is_ours(Sender { pid: u32::MAX, uid: uid + 1 }));
    }
}
