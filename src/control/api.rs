//! Shapes of the control socket. The verbs' `--format json` prints the same objects.
//!
//! | request | answers |
//! |---|---|
//! | `GET /v1/project` | [`Project`] |
//! | `GET /v1/self` | [`OwnState`] |
//! | `GET /v1/services` | `[Service]` |
//! | `GET /v1/services/{name}` | [`Service`] |
//! | `GET /v1/watch` | a stream, one line `{"project": Project, "services": [Service]}` now and after every change ([`Watch`]) |
//! | `POST /v1/up` | [`UpRequest`] → [`Done`]: the manifest is read again, what changed is applied, what is missing is started |
//! | `POST /v1/start`, `/v1/stop`, `/v1/restart` | [`ServicesRequest`] → [`Done`] |
//! | `POST /v1/down` | [`DownRequest`] → [`Done`]; the socket is closed when the last tree is gone |
//! | `POST /v1/kill-all` | → [`Done`] |
//! | `POST /v1/kill` | [`KillRequest`] → [`Done`] |
//! | `POST /v1/attach/{name}?rows=24&cols=80` | with `upgrade: devsup-attach`: 101, and then [`super::attach`]; at the terminal of its run |
//! | `POST /v1/hold`, `/v1/release` | [`HoldRequest`] → [`Done`] |
//! | `POST /v1/refresh` | [`ServicesRequest`] → [`Done`] |
//! | `POST /v1/mfa` | [`MfaRequest`] → [`Done`] once AWS has taken the code: the services that waited for it |
//! | `GET /v1/creds?service=a&service=b` | `[Creds]`: asks STS who each service really is |
//! | `GET /v1/environment/{name}?reveal=true&command=true` | [`Environment`]; secrets only with `reveal`; of a command beside the runs with `command` |
//! | `GET /v1/credentials/{name}` | [`Issued`]: secrets, as `credential_process` wants them |
//! | `GET /v1/logs?service=a&follow=true&tail=50` | a stream, one line an entry, as `logs --format json`; or `run=4` for one run |
//! | `POST /v1/reload` | [`ReloadRequest`] → [`Reloaded`]: the manifest is read again and what changed is applied, or only said |
//! | `GET /v1/events?follow=true&since=<RFC 3339>` | a stream of [`Event`], one a line |
//!
//! Commands return once the daemon has accepted them; a client that wants the outcome reads `/v1/watch`. A refused
//! request answers 4xx/5xx with [`Failed`].

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::os_text;
use crate::manifest::Delivery;
use crate::supervisor::{By, Exit, State, Want};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    /// `<name>-<hash>`: the state folder's name.
    pub id: String,
    pub files: Vec<String>,
    pub pid: u32,
    pub version: String,
    pub sandbox: bool,
    /// RFC 3339, UTC.
    pub since: String,
    pub owner: By,
    pub shutting_down: bool,
    /// Who the base identity turned out to be, once asked.
    pub base: Option<String>,
    /// Warnings that concern the whole project: clock skew, an endpoint override in force, a chained 1 h cap.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    pub project: Project,
    pub services: Vec<Service>,
}

/// `ps --format json`: stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub want: Want,
    pub state: State,
    pub ready: bool,
    /// The sentence of the STATUS column.
    pub status: String,
    pub why: Option<String>,
    pub next: Option<String>,
    pub pid: Option<u32>,
    pub run: Option<u32>,
    /// RFC 3339, UTC.
    pub since: String,
    pub uptime_s: Option<u64>,
    pub crashes: u32,
    pub restarts: u32,
    pub rotations: u32,
    pub exit: Option<ExitJson>,
    pub role: Option<String>,
    /// The base identity on purpose.
    pub inherit_aws: bool,
    pub delivery: Option<Delivery>,
    /// `landlock`, `off`, or why there is none: `none: the kernel has no Landlock`.
    pub isolation: String,
    pub tree: Tree,
    pub ports: Vec<Port>,
    pub held: Option<HeldJson>,
    pub credentials: Option<CredentialsJson>,
    /// The sentence of the CREDENTIALS column.
    pub credentials_text: String,
    pub autostart: bool,
    pub depends_on: Vec<String>,
    /// Log bytes the disk did not take.
    pub log_dropped: u64,
    /// What SIGKILL did not end: `pid 812 (D state)`.
    #[serde(default)]
    pub survivors: Vec<String>,
    /// Somebody else runs it: it is only probed.
    #[serde(default)]
    pub external: bool,
    /// What the run says of itself (`STATUS=` of sd_notify(3)).
    #[serde(default)]
    pub said: Option<String>,
    /// Not ready within its `ready.timeout`.
    #[serde(default)]
    pub overdue: bool,
    /// Whom it runs as, when that is not the owner.
    #[serde(default)]
    pub user: Option<String>,
    /// It has a terminal: `attach`.
    #[serde(default)]
    pub tty: bool,
    /// How the last runs ended, newest last.
    #[serde(default)]
    pub exits: Vec<PastRunJson>,
    /// While it waits: the dependencies whose conditions do not hold.
    #[serde(default)]
    pub waits_for: Vec<String>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRunJson {
    pub run: u32,
    /// RFC 3339, UTC.
    pub at: String,
    /// `null`: nobody saw how it ended.
    pub exit: Option<ExitJson>,
    /// `null`: no process came of it.
    pub uptime_s: Option<u64>,
    /// `crashed`, `ended`, `stopped`, `given up`, `replaced (credentials)`, or why nothing came of it.
    pub what: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    Cgroup,
    #[default]
    Session,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub name: String,
    /// Where callers come to.
    pub listen: String,
    /// `none`, `socket`, `forward`.
    pub handover: String,
    /// Who listens there now: `devsup`, `pid 4121 (python3) of bob`. Of one service only, for it takes a look at the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Of `forward`: the run that new callers are taken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed_to: Option<u32>,
    /// Of `forward`: connections that are open, and callers that wait for a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitJson {
    Code(i32),
    Signal(i32),
}

impl From<Exit> for ExitJson {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldJson {
    pub by: String,
    pub since: String,
    pub until: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsJson {
    /// The whole id: it is no secret.
    pub access_key_id: Option<String>,
    pub issued: Option<String>,
    pub expires: Option<String>,
    pub rotates: Option<String>,
    pub scoped: bool,
    pub error: Option<RefusalJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalJson {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    pub side: Option<String>,
    pub caller: Option<String>,
    pub request_id: Option<String>,
    pub at: String,
    pub lasting: bool,
}

/// `creds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creds {
    pub service: String,
    pub role: Option<String>,
    /// The ARN STS answers when asked with the service's own credentials; or why it could not be asked.
    pub identity: Option<String>,
    pub identity_error: Option<String>,
    pub credentials: Option<CredentialsJson>,
    pub text: String,
}

/// What `credential-process` prints: the contract of the SDKs, word for word (AWS SDKs and Tools Reference Guide,
/// "Process credential provider"). Without `Expiration` they would never ask again.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Issued {
    /// The number 1, and never a text.
    pub version: u8,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// `2026-11-22T12:00:00Z`
    pub expiration: String,
    pub account_id: String,
}

/// What a new run would get: `env` and `exec`.
#[derive(Serialize, Deserialize)]
pub struct Environment {
    pub service: String,
    pub argv: Vec<String>,
    pub working_dir: String,
    /// Masked values read `…` unless revealed.
    pub env: Vec<Variable>,
    /// Inherited variables that were removed, by name.
    pub scrubbed: Vec<String>,
    /// Whose environment later runs start from, and since when: `alice, 14:05`.
    pub from: String,
    /// Whom a run becomes, when that is not the daemon's user.
    #[serde(default)]
    pub identity: Option<IdentityJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityJson {
    pub uid: u32,
    pub gid: u32,
    /// All of them, `gid` included.
    pub groups: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub struct Variable {
    #[serde(with = "os_text")]
    pub name: OsString,
    #[serde(with = "os_text")]
    pub value: OsString,
    /// Where it came from: `environment`, `user`, `env`, `env_file .env`, `devsup`, `role`.
    pub source: String,
    pub secret: bool,
}

#[derive(Serialize, Deserialize)]
pub struct UpRequest {
    /// The same id twice is once.
    pub request: String,
    /// Empty: all with `autostart`.
    pub services: Vec<String>,
    pub no_deps: bool,
    pub sandbox: bool,
    pub environment: Option<Handed>,
}

#[derive(Serialize, Deserialize)]
pub struct ReloadRequest {
    pub request: String,
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    pub environment: Option<Handed>,
}

/// What a reload did, or would do, by the names of services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub untouched: Vec<String>,
    pub notes: Vec<String>,
}

/// The environment the command was typed in; may hold secrets, is kept in memory only.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handed {
    pub env: Vec<(OsString, OsString)>,
}

#[derive(Serialize, Deserialize)]
pub struct ServicesRequest {
    pub request: String,
    pub services: Vec<String>,
    /// Instead of naming them.
    pub all: bool,
    pub timeout_ms: Option<u64>,
    pub no_deps: bool,
    pub force: bool,
    pub environment: Option<Handed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DownRequest {
    pub request: String,
    pub timeout_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KillRequest {
    pub request: String,
    pub service: String,
    pub signal: i32,
    pub main: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoldRequest {
    pub request: String,
    pub service: String,
    pub lasts_ms: Option<u64>,
}

/// An MFA code of the base identity. Its Debug is mute, and it is wiped when dropped.
#[derive(Serialize, Deserialize)]
pub struct MfaRequest {
    pub code: String,
}

impl std::fmt::Debug for MfaRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MfaRequest").finish_non_exhaustive()
    }
}

impl Drop for MfaRequest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.code);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The services the command concerned, dependencies included.
    pub services: Vec<String>,
    /// Things worth saying on stderr: `a is up already`, `held by bob until 14:05`.
    pub notes: Vec<String>,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    pub service: Option<String>,
    pub run: Option<u32>,
    pub event: String,
    /// One sentence for people.
    pub reason: Option<String>,
    pub by: Option<By>,
    /// The rest, by kind: `pid`, `exit`, `gap_ms`, `code` …
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// `/v1/self`: the daemon is not dumpable, so /proc does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnState {
    pub pid: u32,
    pub fds: usize,
    pub threads: usize,
    pub rss_kib: u64,
    pub keepers: Vec<KeeperState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperState {
    pub run: String,
    pub pid: u32,
}

/// Why a request was refused. `kind` decides the client's exit code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub kind: FailedKind,
    pub error: String,
    pub causes: Vec<String>,
    pub hints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedKind {
    /// Exit 1.
    Failed,
    /// Exit 2.
    Usage,
    /// Exit 3.
    NotRunning,
    /// Exit 4.
    NoSuchService,
    /// Exit 6.
    NotPermitted,
    /// Exit 7.
    CredentialsRefused,
}

impl FailedKind {
    /// The exit code of a process that ends with it.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NoSuchService => 4,
            Self::NotPermitted => 6,
            Self::CredentialsRefused => 7,
        }
    }
}
