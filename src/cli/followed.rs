//! `logs -f`: prints what the files get at its own pace, and hears from the daemon when nothing more will come.
//!
//! ```text
//!  no daemon ──something was written──▶ watching ──its stream ends──▶ went down: the rest is printed, and that was it
//!      ▲                                    └──────── it was killed: said once, the files go on being read ──┐
//!      └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::project::{Watching, locate};
use crate::control::Client;
use crate::daemon::watched;
use crate::logs::show::Printer;
use crate::logs::{Query, Reader};
use crate::sys::clock;

/// Between two looks for a daemon, however much is written meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Prints until the project goes down. What is said of it goes to stderr.
pub(crate) async fn follow(context: &Context, query: Query, printer: Printer) -> Result<(), Failure> {
    let reader = Reader::open(query).map_err(unreadable)?;
    if let Some(notice) = reader.notice() {
        context.terminal.say(notice);
    }
    let woken = reader.wakes().and_then(|fd| fd.map(watched).transpose()).map_err(unreadable)?;
    let out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut new = Followed { context, reader, printer, woken, out, daemon: None, looked: Duration::ZERO, owed: false };
    new.look_for_daemon().await;
    new.run().await
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
    daemon: Option<Daemon>,
    looked: Duration,
    /// Something was written by nobody we know of: a daemon is to be looked for.
    owed: bool,
}

/// One that answers.
struct Daemon {
    watching: Watching,
    /// The project's name, once it has said something, and whether it was on its way down.
    last: Option<(String, bool)>,
}

enum Turn {
    Written,
    LookAgain,
    Down(String),
    /// Without a word.
    DaemonGone,
}

impl Followed<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            self.owed |= self.print()? && self.daemon.is_none();
            if self.owed && self.looked + LOOK <= clock::monotonic() {
                self.look_for_daemon().await;
            }
            match self.turn().await {
                Turn::Written => {}
                Turn::LookAgain => self.reader.look_again().map_err(unreadable)?,
                Turn::Down(name) => {
                    // Its keepers have ended before it has.
                    self.reader.look_again().map_err(unreadable)?;
                    self.print()?;
                    self.context.terminal.say(format_args!("{name} went down"));
                    return Ok(());
                }
                Turn::DaemonGone => {
                    let what = "devsup's daemon has ended unexpectedly; here it goes on when there is another";
                    self.context.terminal.say(what);
                }
            }
        }
    }

    /// All that there is now. Says whether there was anything.
    fn print(&mut self) -> Result<bool, Failure> {
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
        };
        if matches!(turn, Turn::DaemonGone) {
            self.daemon = None;
        }
        turn
    }

    /// None is no error: history can be read, and what comes can be waited for.
    async fn look_for_daemon(&mut self) {
        self.looked = clock::monotonic();
        self.owed = false;
        let Some(found) = locate(self.context).ok().filter(|found| found.pid.is_some()) else { return };
        let Ok(client) = Client::connect(&found.socket).await else { return };
        self.daemon = Watching::open(&client).await.ok().map(|watching| Daemon { watching, last: None });
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
                        _ => Turn::DaemonGone,
                    };
                }
            }
        }
    }
}
