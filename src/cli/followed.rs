//! `logs -f`: prints what the files get at its own pace, and hears from the daemon when nothing more will come.
//!
//! ```text
//!  no daemon ──something was written──▶ watching ──its stream ends──▶ went down: the rest is printed, and that was it
//!      ▲                                    └──────── it was killed: said once, the files go on being read ──┐
//!      └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A daemon that came and went between two looks has left its words in the lock: the project went down then, too.

use std::fs;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::audience::Audience;
use super::context::Context;
use super::failure::{Failure, Kind};
use super::project::{Watching, locate};
use crate::control::Client;
use crate::daemon::{keeper_lives, watched};
use crate::logs::show::Printer;
use crate::logs::{Alive, Query, Reader};
use crate::sys::clock;

/// Between two looks for a daemon, however much is written meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at one that is about to end.
const ENDING: Duration = Duration::from_millis(20);
/// One that lives on has only closed its stream.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Prints until the project goes down. What is said of it goes to stderr. `folder`: the project's.
pub(crate) async fn follow(context: &Context, folder: &Path, query: Query, printer: Printer) -> Result<(), Failure> {
    let lock = folder.join("lock");
    let last = fs::read(&lock).ok();
    let alive = alive(folder, &query.logs, true);
    let reader = Reader::open(query).map_err(unreadable)?.alive(alive);
    let woken = reader.wakes().and_then(|fd| fd.map(watched).transpose()).map_err(unreadable)?;
    let out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let (daemon, looked, owed) = (None, Duration::ZERO, false);
    let audience = Audience::of_stdout();
    let mut new = Followed { context, reader, printer, woken, out, audience, daemon, lock, last, looked, owed };
    new.look_for_daemon().await;
    new.run().await
}

/// Whether keepers live, by the locks in the project's folder. `up`: there may be a daemon.
pub(crate) fn alive(folder: &Path, logs: &Path, up: bool) -> Box<Alive> {
    let (locks, logs) = (folder.join("services"), logs.to_owned());
    Box::new(move |name, run| keeper_lives(&locks, &logs, name.as_str(), run, up))
}

/// Of a read that fails.
pub(crate) fn unreadable(error: io::Error) -> Failure {
    Failure::new(Kind::Failed, "the logs cannot be read").cause(error)
}

struct Followed<'a> {
    context: &'a Context,
    reader: Reader,
    printer: Printer,
    woken: Option<AsyncFd<OwnedFd>>,
    out: BufWriter<StdoutLock<'a>>,
    audience: Audience,
    daemon: Option<Daemon>,
    lock: PathBuf,
    /// What stood in the lock when there was last a daemon that we know of.
    last: Option<Vec<u8>>,
    looked: Duration,
    /// Something was written by nobody we know of: a daemon is to be looked for.
    owed: bool,
}

/// One that answers.
struct Daemon {
    pid: u32,
    watching: Watching,
    /// The project's name, once it has said something, and whether it was on its way down.
    last: Option<(String, bool)>,
}

enum Turn {
    Written,
    LookAgain,
    Down(String),
    /// Without a word that we have heard.
    DaemonGone {
        pid: u32,
    },
    ReaderLeft(Failure),
}

impl Followed<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            self.owed |= self.print()? && self.daemon.is_none();
            let mut down = None;
            if self.owed && self.looked + LOOK <= clock::monotonic() {
                down = self.look_for_daemon().await;
            }
            let turn = match down {
                Some(name) => Turn::Down(name),
                None => self.turn().await,
            };
            let turn = match turn {
                Turn::DaemonGone { pid } => self.how_it_ended(pid).await,
                turn => turn,
            };
            match turn {
                // Also of what is not wanted.
                Turn::Written => self.owed |= self.daemon.is_none(),
                Turn::LookAgain => self.reader.look_again().map_err(unreadable)?,
                Turn::Down(name) => {
                    // Its keepers have ended before it has.
                    self.reader.look_again().map_err(unreadable)?;
                    self.print()?;
                    self.context.terminal.say(format_args!("{name} went down"));
                    return Ok(());
                }
                Turn::ReaderLeft(failure) => return Err(failure),
                Turn::DaemonGone { .. } => {
                    self.last = fs::read(&self.lock).ok();
                    let what = "devsup's daemon has ended unexpectedly; here it goes on when there is another";
                    self.context.terminal.say(what);
                }
            }
        }
    }

    /// All that there is now. Says whether there was anything.
    fn print(&mut self) -> Result<bool, Failure> {
        if let Some(notice) = self.reader.notice() {
            self.context.terminal.say(notice);
        }
        let mut lines = Vec::new();
        let mut any = false;
        // History goes out in large pieces; live lines at once, when there is nothing more to read.
        while let Some(entry) = self.reader.next(Some(Duration::ZERO)).map_err(unreadable)? {
            any = true;
            self.printer.line(&entry, &mut lines);
            self.out.write_all(&lines)?;
            lines.clear();
        }
        self.out.flush()?;
        Ok(any)
    }

    async fn turn(&mut self) -> Turn {
        // However often we are woken meanwhile.
        if self.reader.look_within() == Some(Duration::ZERO) {
            return Turn::LookAgain;
        }
        let written = async {
            let Some(woken) = &self.woken else { return std::future::pending().await };
            // Cleared before the look that follows, so that nothing which comes during it is missed.
            if let Ok(mut ready) = woken.readable().await {
                ready.clear_ready();
            }
        };
        let look = self.owed.then(|| (self.looked + LOOK).saturating_sub(clock::monotonic()));
        let within = [self.reader.look_within(), look].into_iter().flatten().min();
        let due = async {
            match within {
                Some(within) => tokio::time::sleep(within).await,
                None => std::future::pending().await,
            }
        };
        let daemon = async {
            match &mut self.daemon {
                Some(daemon) => daemon.end().await,
                None => std::future::pending().await,
            }
        };
        let turn = tokio::select! {
            () = written => Turn::Written,
            () = due => Turn::LookAgain,
            turn = daemon => turn,
            failure = self.audience.left() => Turn::ReaderLeft(failure),
        };
        if matches!(turn, Turn::DaemonGone { .. }) {
            self.daemon = None;
        }
        turn
    }

    /// One that ends in order takes its socket away before it ends. Its last word may have found no room, when we were far behind.
    async fn how_it_ended(&self, pid: u32) -> Turn {
        let until = clock::monotonic() + ENDS_WITHIN;
        while let Ok(found) = locate(self.context) {
            if !found.socket.exists() {
                return Turn::Down(found.name);
            }
            if found.pid != Some(pid) || clock::monotonic() >= until {
                break;
            }
            tokio::time::sleep(ENDING).await;
        }
        Turn::DaemonGone { pid }
    }

    /// None is no error: history can be read, and what comes can be waited for. Answers the project's name if it was up
    /// and went down since we last knew of a daemon.
    async fn look_for_daemon(&mut self) -> Option<String> {
        self.looked = clock::monotonic();
        self.owed = false;
        // Read before it is asked who lives: what is new in it and dead then was alive.
        let last = fs::read(&self.lock).ok();
        let found = locate(self.context).ok()?;
        let Some(pid) = found.pid else {
            return (last.is_some() && last != self.last).then_some(found.name);
        };
        // One that does not answer is on its way, up or down: it is looked for again.
        self.owed = true;
        let client = Client::connect(&found.socket).await.ok()?;
        let watching = Watching::open(&client).await.ok()?;
        self.daemon = Some(Daemon { pid, watching, last: None });
        self.last = last;
        self.owed = false;
        None
    }
}

impl Daemon {
    /// Until its stream ends. Cancelling the wait loses nothing.
    async fn end(&mut self) -> Turn {
        loop {
            match self.watching.next().await {
                Ok(Some(watch)) => self.last = Some((watch.project.name, watch.project.shutting_down)),
                Ok(None) | Err(_) => {
                    return match self.last.take() {
                        Some((name, true)) => Turn::Down(name),
                        _ => Turn::DaemonGone { pid: self.pid },
                    };
                }
            }
        }
    }
}
