//! All by which a keeper knows, or helps to know, that its run is ready and alive, but for the lines of its output
//! ([`super::ready_line`]): `NOTIFY_SOCKET`, a descriptor to write a line end to, exec probes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::notify::Notify;
use super::outbox::Outbox;
use super::probe::Probe;
use super::protocol::{ReadyBy, Report, Which};
use super::starter::Gifts;
use crate::logs::Secrets;
use crate::sys::pipe::{self, Read};
use crate::sys::process::End;

enum Watch {
    Nothing,
    Notify(Notify),
    /// Of this number in the service.
    Fd(u32, OwnedFd),
}

pub(super) struct Checks {
    watch: Watch,
    probes: Vec<Probe>,
    secrets: Secrets,
}

impl Checks {
    /// With what the service is to be given. `uid`: who it runs as.
    pub(super) fn new(by: &ReadyBy, uid: u32, secrets: Secrets) -> io::Result<(Self, Gifts)> {
        let mut gifts = Gifts::default();
        let watch = match by {
            ReadyBy::Others | ReadyBy::Log(_) => Watch::Nothing,
            ReadyBy::Notify => {
                let notify = Notify::open(uid)?;
                gifts.notify = Some(notify.variable());
                Watch::Notify(notify)
            }
            ReadyBy::Fd(number) => {
                let (read, write) = pipe::pipe()?;
                gifts.ready_fd = Some((*number, write));
                Watch::Fd(*number, read)
            }
        };
        Ok((Self { watch, probes: Vec::new(), secrets }, gifts))
    }

    pub(super) fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let watch = match &self.watch {
            Watch::Nothing => None,
            Watch::Notify(notify) => notify.waits_for(),
            Watch::Fd(_, read) => Some(read.as_fd()),
        };
        watch.into_iter().chain(self.probes.iter().flat_map(Probe::waits_for))
    }

    pub(super) fn due(&self) -> Option<Duration> {
        let watch = match &self.watch {
            Watch::Notify(notify) => notify.due(),
            Watch::Nothing | Watch::Fd(..) => None,
        };
        self.probes.iter().filter_map(Probe::due).chain(watch).min()
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if let Watch::Notify(notify) = &mut self.watch {
            notify.tick(now);
        }
        for probe in &mut self.probes {
            probe.tick(now);
        }
    }

    /// What the service and the probes said.
    pub(super) fn listen(&mut self, now: Duration, outbox: &mut Outbox) {
        for probe in &mut self.probes {
            probe.listen();
        }
        match &mut self.watch {
            Watch::Nothing => {}
            Watch::Notify(notify) => {
                let said = notify.listen(now, &self.secrets);
                if said.ready {
                    outbox.put(Report::Ready);
                }
                if let Some(status) = said.status {
                    outbox.put(Report::Said { status });
                }
                if let Some(what) = said.trouble {
                    outbox.put(Report::NotReady { what });
                }
            }
            Watch::Fd(number, read) => {
                let mut buffer = [0; 4096];
                match pipe::read(read, &mut buffer) {
                    Read::Empty => return,
                    Read::Bytes(n) if !buffer.get(..n).unwrap_or_default().contains(&b'\n') => return,
                    Read::Bytes(_) => outbox.put(Report::Ready),
                    Read::End => {
                        let what =
                            format!("it closed descriptor {number} without a line: it will never say it is ready");
                        outbox.put(Report::NotReady { what });
                    }
                }
                self.watch = Watch::Nothing;
            }
        }
    }

    /// Starts the exec probe, unless it still runs.
    pub(super) fn probe(
        &mut self,
        which: Which,
        timeout: Duration,
        spec: BorrowedFd<'_>,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        if self.probes.iter().any(|probe| probe.which == which) {
            return;
        }
        match Probe::start(which, spec, timeout, now) {
            Ok(probe) => self.probes.push(probe),
            Err(what) => outbox.put(Report::Probed { which, trouble: Some(what) }),
        }
    }

    /// The probes' pids: they are no part of the tree.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.probes.iter().map(|probe| probe.pid)
    }

    /// Was that a probe?
    pub(super) fn ended(&mut self, pid: u32, end: End, outbox: &mut Outbox) -> bool {
        let Some(at) = self.probes.iter().position(|probe| probe.pid == pid) else { return false };
        let probe = self.probes.swap_remove(at);
        let which = probe.which;
        outbox.put(Report::Probed { which, trouble: probe.ended(end, &self.secrets) });
        true
    }

    /// Nobody needs their answers any more. Their ends come as those of all children do.
    pub(super) fn kill_probes(&mut self) {
        for probe in &mut self.probes {
            probe.kill();
        }
    }
}
