//! The embedded AWS as a child of the daemon: `devsup sandbox --for-daemon`. It gets its configuration in one line on stdin,
//! says in one line on stdout how to be the base identity there, and ends when our end of its stdin closes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ChildStdin;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

use super::clocks::now;
use super::watched::watched;
use super::world::{Fact, World};
use crate::aws::SandboxBase;
use crate::manifest::SandboxPlan;
use crate::sys::daemonize;
use crate::sys::process::Pidfd;

/// It says where it is within this, or something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct SandboxChild {
    /// Closing it ends the child.
    _stdin: ChildStdin,
    plan: SandboxPlan,
}

/// The first line it says.
#[derive(Deserialize)]
struct Ready {
    url: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl World {
    /// Starts it; that it is up, or has ended, comes as a fact.
    pub(super) fn start_sandbox(&mut self) -> io::Result<()> {
        let plan = self.manifest.sandbox_plan(self.aws().region.as_deref());
        // The old place, if there was one: services and shells still look for it there.
        let order = SandboxPlan { port: self.sandbox_port, ..plan.clone() };
        let log = self.brought.folder.daemon_log();
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
        let mut child = daemonize::start_self_piped(&["sandbox", "--for-daemon"], log)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        writeln!(stdin, "{}", serde_json::to_string(&order)?)?;
        let ended = watched(Pidfd::open(child.id())?)?;
        let stdout = Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        let facts = self.facts.clone();
        drop(tokio::task::spawn_local(async move {
            follow(stdout, ended, &facts).await;
            let end = child.try_wait().ok().flatten().map_or_else(|| "it hangs".to_owned(), |end| end.to_string());
            drop(child.kill());
            drop(child.try_wait());
            drop(facts.send(Fact::SandboxDown(end)));
        }));
        self.sandbox = Some(SandboxChild { _stdin: stdin, plan });
        Ok(())
    }

    /// Its credentials died with it: what is held runs out, what is asked is refused until it is back.
    pub(super) fn sandbox_down(&mut self, why: &str) {
        self.sandbox = None;
        self.sandbox_base = None;
        self.base = None;
        if self.finished {
            return;
        }
        let sentence = format!("the sandbox ended ({why}); it is started again");
        self.journal.tell(now().wall, "sandbox-ended", None, None, sentence);
        self.later(AGAIN, Fact::SandboxAgain);
    }

    pub(super) fn sandbox_again(&mut self) {
        if self.finished || self.sandbox.is_some() {
            return;
        }
        if let Err(error) = self.start_sandbox() {
            self.sandbox_down(&error.to_string());
        }
    }

    /// A manifest with other roles or buckets needs another sandbox.
    pub(super) fn renew_sandbox(&mut self) {
        let plan = self.manifest.sandbox_plan(self.aws().region.as_deref());
        if self.sandbox.as_ref().is_some_and(|child| child.plan != plan) {
            // Its end comes as a fact, and starts the next.
            self.sandbox = None;
        }
    }
}

async fn follow(stdout: Receiver, ended: AsyncFd<Pidfd>, facts: &mpsc::UnboundedSender<Fact>) {
    let mut lines = BufReader::new(stdout).lines();
    let said = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
    let Ok(Ok(Some(line))) = said else { return };
    let Ok(ready) = serde_json::from_str::<Ready>(&line) else { return };
    let base = SandboxBase {
        url: ready.url,
        region: ready.region,
        access_key_id: ready.access_key_id,
        secret_access_key: ready.secret_access_key.into(),
        session_token: ready.session_token.map(Into::into),
    };
    drop(facts.send(Fact::SandboxUp(base)));
    drop(ended.readable().await);
}
