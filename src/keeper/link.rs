//! The daemon's end of one keeper. Nothing here blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use zeroize::Zeroizing;

use super::protocol::{Hello, Order, Report, Spec, VERSION};
use crate::supervisor::Exit;
use crate::sys::packet::{Received, Sent};
use crate::sys::process::{self, End, Pidfd, Stdio3, Waited};
use crate::sys::pty::Size;
use crate::sys::{memfd, packet};

/// A keeper is small: big buffers go back to the system when they are freed, and it needs one arena only.
const KEEPER_ENV: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "32768"), ("MALLOC_TRIM_THRESHOLD_", "32768")];

/// Is the keeper still there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Its end of the socket is closed: it has ended, or is about to. What it said before is all in
    /// [`Reports::reports`].
    Closed,
}

/// What [`Link::reports`] found.
#[derive(Debug)]
pub struct Reports {
    /// In the order they were sent.
    pub reports: Vec<Report>,
    pub state: State,
}

/// The daemon's end of one keeper: to be watched for reading ([`AsFd`]). Dropping it ends the run: the keeper stops it
/// politely, then by force.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    pid: u32,
    pidfd: Option<Pidfd>,
    /// Orders the socket did not take yet; sent with the next call of anything.
    unsent: Vec<(Order, Option<OwnedFd>)>,
    exit: Option<Exit>,
}

/// What a keeper is given to hold.
pub struct Given<'a> {
    /// The service's.
    pub log_folder: BorrowedFd<'a>,
    /// Held for as long as the keeper lives.
    pub lock: BorrowedFd<'a>,
    /// The run's own: the service is put there before it is executed.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// What the service listens on, as [`Spec`] names it.
    pub sockets: Vec<BorrowedFd<'a>>,
}

impl Link {
    /// Starts a keeper, and by it the run.
    pub fn spawn(spec: &Spec, given: &Given<'_>) -> io::Result<Self> {
        Self::spawn_from(process::own_program(), spec, given)
    }

    /// The same with another binary than the running one: for tests.
    pub fn spawn_from(program: &Path, spec: &Spec, given: &Given<'_>) -> io::Result<Self> {
        let (socket, theirs) = packet::pair()?;
        let bytes = Zeroizing::new(serde_json::to_vec(spec)?);
        let spec_fd = memfd::sealed("devsup-spec", &bytes)?;
        let Given { log_folder, lock, cgroup, sockets } = given;
        let hello = Hello { version: VERSION, cgroup: cgroup.is_some(), sockets: sockets.len() };
        // Sent before there is anybody to read it: it fits, and the keeper need not wait for it.
        let first = [spec_fd.as_fd(), *log_folder, *lock].into_iter().chain(*cgroup);
        let descriptors: Vec<BorrowedFd<'_>> = first.chain(sockets.iter().copied()).collect();
        packet::send(&socket, &serde_json::to_vec(&hello)?, &descriptors)?;
        let run = spec.run.to_string();
        let stdio = Stdio3 { stdin: theirs, stdout: None, stderr: None };
        let pid = process::start(program, &["__keep", &run], &KEEPER_ENV, stdio)?;
        Ok(Self { socket, pid, pidfd: Pidfd::open(pid).ok(), unsent: Vec::new(), exit: None })
    }

    /// The keeper's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Becomes readable when the keeper has ended, whoever else holds its socket.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Hands over an order. A keeper that hangs does not take it; then it is kept and sent later. An error: the keeper is
    /// gone.
    pub fn order(&mut self, order: &Order) -> io::Result<()> {
        self.unsent.push((order.clone(), None));
        self.flush()
    }

    /// Hands over somebody's connection: from now on he is at the run's terminal, and the daemon has no part in it.
    pub fn attach(&mut self, size: Size, connection: OwnedFd) -> io::Result<()> {
        self.unsent.push((Order::Attach { size }, Some(connection)));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some((order, with)) = self.unsent.first() {
            let with: Vec<BorrowedFd<'_>> = with.iter().map(AsFd::as_fd).collect();
            match packet::send(&self.socket, &serde_json::to_vec(order)?, &with)? {
                Sent::Sent => drop(self.unsent.remove(0)),
                Sent::Full => return Ok(()),
                Sent::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(())
    }

    /// Takes all reports there are.
    pub fn reports(&mut self) -> Reports {
        let mut reports = Vec::new();
        let state = loop {
            match packet::receive(&self.socket) {
                Ok(Received::Packet(bytes, _)) => match serde_json::from_slice(&bytes) {
                    Ok(report) => reports.push(report),
                    // A word of another version: it is not for us.
                    Err(e) => tracing::debug!(keeper = self.pid, error = %e, "a report that cannot be read"),
                },
                Ok(Received::Empty) => break State::Open,
                Ok(Received::Closed) | Err(_) => break State::Closed,
            }
        };
        if state == State::Open {
            // A failure shows as `Closed` at the next call.
            drop(self.flush());
        }
        Reports { reports, state }
    }

    /// Looks, without waiting, whether the keeper has ended, and takes its end. The same answer ever after.
    pub fn try_reap(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            self.exit = match process::wait(Some(self.pid)) {
                Waited::Ended(_, end) => Some(exit(end)),
                Waited::Alive => None,
                // Somebody else took it: it is gone, and how is not known.
                Waited::NoChildren => Some(Exit::Code(-1)),
            };
        }
        self.exit
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(super) fn exit(end: End) -> Exit {
    match end {
        End::Code(code) => Exit::Code(code),
        End::Signal(signal) => Exit::Signal(signal),
    }
}
