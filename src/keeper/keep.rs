//! `devsup __keep`: the first acts, and the one loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use zeroize::{Zeroize, Zeroizing};

use super::output::Output;
use super::protocol::{Hello, Order, ReadyBy, Report, Spec, VERSION};
use super::ready::Checks;
use super::ready_line::LineWatch;
use super::run::Run;
use super::starter::{Starter, What};
use super::terminal::Terminal;
use super::tree::Tree;
use crate::logs::Secrets;
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::monotonic;
use crate::sys::packet::{self, Received, Sent};
use crate::sys::poll::{self, For};
use crate::sys::process::Pidfd;
use crate::sys::{descriptors, memfd, process, signal};

/// `devsup __keep`: fd 0 is the socket to the daemon.
pub fn keep() -> ExitCode {
    match first_acts().and_then(Newborn::begin) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is left to tell: the daemon sees the socket close, and this code.
        Err(_) => ExitCode::FAILURE,
    }
}

/// What the daemon sent before we were born.
struct Newborn {
    socket: OwnedFd,
    spec_fd: OwnedFd,
    log_folder: OwnedFd,
    /// Held by being open, and let go by our end, whatever that is.
    lock: OwnedFd,
    cgroup: Option<Cgroup>,
    /// The service's, once it is started.
    sockets: Vec<OwnedFd>,
    hello: Hello,
    children: UnixStream,
}

fn first_acts() -> io::Result<Newborn> {
    process::hide()?;
    process::no_core()?;
    process::new_session()?;
    process::adopt_orphans()?;
    let socket = descriptors::take_stdin()?;
    descriptors::null_stdio()?;
    descriptors::close_all_on_exec();
    process::change_dir("/".as_ref())?;
    signal::catch_and_ignore(&[signal::INT, signal::HUP, signal::QUIT, signal::TERM, signal::TSTP])?;
    let children = signal::children()?;
    let Received::Packet(bytes, descriptors) = packet::receive(&socket)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let hello: Hello = serde_json::from_slice(&bytes)?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(io::Error::from(io::ErrorKind::InvalidData));
    let (spec_fd, log_folder, lock) = (next()?, next()?, next()?);
    let cgroup = if hello.cgroup { Some(Cgroup::from(next()?)) } else { None };
    let sockets = descriptors.take(hello.sockets).collect();
    Ok(Newborn { socket, spec_fd, log_folder, lock, cgroup, sockets, hello, children })
}

impl Newborn {
    fn begin(self) -> io::Result<()> {
        let refuse = |what: String| {
            let mut outbox = super::outbox::Outbox::default();
            outbox.put(Report::Hello { version: VERSION });
            outbox.put(Report::StartFailed { stage: "start".into(), what });
            outbox.put(Report::Gone);
            outbox.send_all(&self.socket);
        };
        if self.hello.version != VERSION {
            refuse(format!(
                "devsup speaks version {} and its keeper version {VERSION}: its program was replaced; \
                 `devsup down`, then `devsup up`",
                self.hello.version
            ));
            return Ok(());
        }
        let mut spec: Spec = serde_json::from_slice(&Zeroizing::new(memfd::read(&self.spec_fd)?))?;
        // Only the shim needs it, and reads it by itself.
        for (_, value) in spec.env.drain(..) {
            value.into_encoded_bytes().zeroize();
        }
        if process::parent() != spec.daemon {
            // It died before the run began.
            return Ok(());
        }
        process::rename(&format!("keep:{}", spec.run))?;
        let owner = spec.birth.identity.as_ref().map(|identity| identity.uid);
        let terminal = match spec.birth.tty.then(|| Terminal::open(owner)).transpose() {
            Ok(terminal) => terminal,
            Err(e) => {
                refuse(format!("`tty`: no terminal can be made: {e}; `/dev/pts` must be mounted"));
                return Ok(());
            }
        };
        let uid = owner.unwrap_or_else(process::own_uid);
        let secrets = Secrets::new(spec.logs.redact.clone());
        let (mut output, writers) = Output::open(self.log_folder, spec.run.number, spec.logs, terminal)?;
        let name = spec.run.to_string();
        let tree = Tree::new(self.cgroup)?;
        let lines = if let ReadyBy::Log(pattern) = &spec.ready { Some(LineWatch::new(pattern)) } else { None };
        let launched = lines.transpose().and_then(|lines| {
            let none = |e: io::Error| format!("no process can be started: {e}");
            output.watch(lines);
            let (checks, mut gifts) = Checks::new(&spec.ready, uid, secrets).map_err(none)?;
            gifts.sockets = self.sockets;
            // The gifts are the service's alone afterwards.
            let starter = Starter::launch(What::Service, &name, self.spec_fd.as_fd(), tree.cgroup(), writers, &gifts);
            Ok((starter.map_err(none)?, checks))
        });
        let (starter, checks) = match launched {
            Ok(launched) => launched,
            Err(what) => {
                refuse(what);
                return Ok(());
            }
        };
        // A kernel without pidfds still closes the socket.
        let daemon_life = Pidfd::open(spec.daemon).ok();
        let run = Run::new(starter, self.spec_fd, spec.stop, spec.why, tree, output, checks);
        let keeper = Keeper { socket: Some(self.socket), daemon_life, children: self.children, run };
        keeper.keep(self.lock)
    }
}

struct Keeper {
    /// `None`: the daemon is gone.
    socket: Option<OwnedFd>,
    daemon_life: Option<Pidfd>,
    children: UnixStream,
    run: Run,
}

/// Which of the things waited for has something to say.
#[derive(Default)]
struct Ready {
    socket: bool,
    daemon_life: bool,
    children: bool,
    group: bool,
    shims: bool,
    pipes: bool,
}

impl Keeper {
    fn keep(mut self, lock: OwnedFd) -> io::Result<()> {
        self.run.outbox.put(Report::Hello { version: VERSION });
        while !self.run.is_over() {
            self.tell();
            let ready = self.wait()?;
            let now = monotonic();
            if ready.shims {
                self.run.listen();
            }
            if ready.children || ready.group {
                drain(&self.children);
                self.run.reap(now);
                // Said before anything is read: an exit is not to wait for a big log.
                self.tell();
            }
            if ready.socket {
                self.hear(now);
            }
            if ready.daemon_life {
                self.lose_daemon(now);
            }
            if ready.pipes {
                self.run.output.read(now);
            }
            self.run.output.tick(now);
            self.run.tell_line();
            self.run.tick(now);
            for report in [self.run.output.trouble(), self.run.output.rolled()].into_iter().flatten() {
                self.run.outbox.put(report);
            }
        }
        self.finish();
        drop(lock);
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let now = monotonic();
        let due = [self.run.due(), self.run.output.due(now)].into_iter().flatten().min();
        let mut interests: Vec<(BorrowedFd<'_>, For)> = vec![(self.children.as_fd(), For::Reading)];
        if let Some(socket) = &self.socket {
            let what = if self.run.outbox.is_empty() { For::Reading } else { For::ReadingAndWriting };
            interests.push((socket.as_fd(), what));
        }
        if let Some(life) = &self.daemon_life {
            interests.push((life.as_fd(), For::Reading));
        }
        let group = self.run.group_changes();
        interests.extend(group.map(|events| (events, For::Changes)));
        let shims = interests.len();
        interests.extend(self.run.waits_for().map(|fd| (fd, For::Reading)));
        let pipes = interests.len();
        interests.extend(self.run.output.waits_for(now));
        let says = poll::wait(&interests, due.map(|due| due.saturating_sub(now)))?;
        let mut fixed = says.iter().copied().take(shims);
        let mut next = |there: bool| there && fixed.next().unwrap_or(false);
        Ok(Ready {
            children: next(true),
            socket: next(self.socket.is_some()),
            daemon_life: next(self.daemon_life.is_some()),
            group: next(group.is_some()),
            shims: says.get(shims..pipes).is_some_and(|says| says.contains(&true)),
            pipes: says.get(pipes..).is_some_and(|says| says.contains(&true)),
        })
    }

    /// The daemon's orders.
    fn hear(&mut self, now: Duration) {
        while let Some(socket) = &self.socket {
            match packet::receive(socket) {
                Ok(Received::Packet(bytes, descriptors)) => {
                    // A word of another version is no order.
                    if let Ok(order) = serde_json::from_slice::<Order>(&bytes) {
                        self.run.obey(&order, now);
                        if let (Order::Attach { size }, Some(socket)) = (order, descriptors.into_iter().next()) {
                            self.run.output.attach(socket, size);
                        }
                    }
                }
                Ok(Received::Empty) => return,
                Ok(Received::Closed) | Err(_) => self.lose_daemon(now),
            }
        }
    }

    fn tell(&mut self) {
        let Some(socket) = &self.socket else { return };
        if self.run.outbox.send(socket) == Sent::Closed {
            self.lose_daemon(monotonic());
        }
    }

    /// However it died: the run is ended politely, then by force.
    fn lose_daemon(&mut self, now: Duration) {
        self.socket = None;
        self.daemon_life = None;
        self.run.lost_daemon(now);
    }

    /// Nobody is left: what is still in the pipes belongs to the log.
    fn finish(self) {
        let Run { mut output, mut outbox, .. } = self.run;
        output.drain(monotonic());
        if let Some(report) = output.trouble() {
            outbox.put(report);
        }
        let terminal = output.finish();
        outbox.put(Report::Gone);
        if let Some(socket) = &self.socket {
            outbox.send_all(socket);
        }
        if let Some(terminal) = terminal {
            terminal.end();
        }
    }
}

/// Many children may have ended for one byte, and one for many.
fn drain(mut pipe: &UnixStream) {
    use std::io::Read;
    let mut bytes = [0; 64];
    while pipe.read(&mut bytes).is_ok_and(|n| n > 0) {}
}
