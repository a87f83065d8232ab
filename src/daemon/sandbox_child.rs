//! The embedded AWS as a child of the daemon: `devsup sandbox --for-daemon`. It gets its configuration in one line on stdin,
//! says in one line on stdout how to be the base identity there, and ends when our end of its stdin closes.

use std::collections::BTreeMap;
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
use crate::manifest::Manifest;
use crate::sys::daemonize;
use crate::sys::peer::Pidfd;

/// It says where it is within this, or something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);
/// The account of a manifest that names none: the one of AWS's own documentation.
const ACCOUNT: &str = "123456789012";

pub(super) struct SandboxChild {
    /// Closing it ends the child.
    _stdin: ChildStdin,
    pub(super) config: String,
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
        let config = config(&self.manifest, self.aws().region.as_deref().unwrap_or("us-east-1"));
        let log = self.brought.folder.daemon_log();
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
        let mut child = daemonize::start_self_piped(&["sandbox", "--for-daemon"], log)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        writeln!(stdin, "{config}")?;
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
        self.sandbox = Some(SandboxChild { _stdin: stdin, config });
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
        let sentence = format!("devsup: the sandbox ended ({why}); it is started again");
        self.journal.tell(now().wall, "sandbox-ended", None, None, sentence);
        if let Err(error) = self.start_sandbox() {
            self.later(AGAIN, Fact::SandboxDown(error.to_string()));
        }
    }

    /// A manifest with other roles or buckets needs another sandbox.
    pub(super) fn renew_sandbox(&mut self) {
        let region = self.aws().region.unwrap_or_else(|| "us-east-1".to_owned());
        if self.sandbox.as_ref().is_some_and(|child| child.config != config(&self.manifest, &region)) {
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

/// One line of JSON, as `sandbox::Config` reads it. The daemon does not import that module: it is another program to it.
fn config(manifest: &Manifest, region: &str) -> String {
    let mut external_ids: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for role in manifest.services.values().filter_map(|service| service.role.as_ref()) {
        external_ids.entry(role.arn.to_string()).or_default().push(role.external_id.clone());
    }
    let roles: Vec<String> = external_ids.keys().cloned().collect();
    let base = manifest.aws.base_role.as_ref();
    let named = base.map(|base| base.account().to_owned());
    let account = named
        .or_else(|| roles.first().and_then(|arn| arn.split(':').nth(4)).map(str::to_owned))
        .unwrap_or_else(|| ACCOUNT.to_owned());
    let base_role_arn = base.map_or_else(|| format!("arn:aws:iam::{account}:role/dev"), ToString::to_string);
    // A role wants an external id when every service that uses it sends the same one.
    let agreed = external_ids.into_iter().filter_map(|(arn, ids)| {
        let first = ids.first()?.clone()?;
        ids.iter().all(|id| id.as_ref() == Some(&first)).then_some((arn, first))
    });
    serde_json::json!({
        "region": region, "account": account, "base_role_arn": base_role_arn, "roles": roles,
        "buckets": manifest.sandbox.buckets, "lease": manifest.sandbox.lease, "strict": manifest.sandbox.strict,
        "port": 0, "external_ids": agreed.collect::<BTreeMap<String, String>>(),
    })
    .to_string()
}
