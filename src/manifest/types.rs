//! The manifest as the rest of devsup sees it: typed, defaults filled in, valid by construction.
//!
//! `PartialEq` on [`Service`] is *meaning*: two entries are equal exactly when a run born with one need not be replaced
//! for the other. So nothing here carries a source position, a comment or the order of keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Handover, Limits, Live, Port, Ready, Role, RoleArn};

/// A service's name: `[a-z0-9][a-z0-9_-]*`, at most 40 bytes (checked by the parser), cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A checked manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file that was read (absolute, symlinks resolved), and `services.local.toml` beside it when it was merged.
    pub files: Vec<PathBuf>,
    /// The manifest's folder: relative paths were resolved against it.
    pub dir: PathBuf,
    /// The project's name: `name`, or the folder's.
    pub name: String,
    pub aws: Aws,
    /// In name order. Dependencies exist and have no cycle.
    pub services: BTreeMap<Name, Arc<Service>>,
    pub sandbox: Sandbox,
    pub access: Access,
    /// `[logs] max_total`: bytes of all logs of the project; `None`: 2 GiB or a tenth of the disk, the smaller.
    pub logs_max_total: Option<u64>,
}

impl Manifest {
    /// What stands in for a manifest that could not be read at all.
    pub(super) fn nothing(files: Vec<PathBuf>, dir: PathBuf) -> Self {
        let (aws, sandbox, access) = (Aws::default(), Sandbox::default(), Access::default());
        Self { files, dir, name: String::new(), aws, services: BTreeMap::new(), sandbox, access, logs_max_total: None }
    }
}

/// `[aws]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    pub base_role: Option<RoleArn>,
    pub profile: Option<String>,
    pub region: Option<String>,
    pub role_prefix: Option<String>,
    pub sts_endpoint: Option<String>,
    /// Of a base identity that is an IAM user: the device that gives its codes.
    pub mfa_serial: Option<String>,
}

/// `[access]`: who besides the owner may do what with a system project. Unix groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Status, logs, events.
    pub look: Option<String>,
    /// And start, stop, restart, hold, release.
    pub operate: Option<String>,
}

/// One entry of the manifest, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: Name,
    /// `None`: an external service. It is probed and shown, never started or stopped; it has a `ready` probe.
    pub command: Option<Command>,
    /// Absolute.
    pub working_dir: PathBuf,
    pub env: BTreeMap<String, String>,
    /// Absolute; read again at every start.
    pub env_file: Vec<PathBuf>,
    pub clean_env: bool,
    pub autostart: bool,
    pub depends_on: BTreeMap<Name, Dependency>,
    pub restart: Restart,
    pub backoff: Backoff,
    pub max_restarts: Option<u32>,
    /// A signal number of this machine, e.g. 15.
    pub stop_signal: i32,
    pub stop_mode: StopMode,
    pub stop_timeout: Duration,
    pub stop_command: Option<Command>,
    pub role: Option<Role>,
    /// The base identity on purpose. Never together with `role`.
    pub inherit_aws: bool,
    /// How a replacement is made.
    pub replace: Replace,
    /// By name. Text of the entry may refer to them: [`super::template`].
    pub ports: BTreeMap<String, Port>,
    /// `None`: alive for [`Service::ALIVE`] is ready.
    pub ready: Option<Ready>,
    pub live: Option<Live>,
    /// Globs, relative to the manifest's folder: a change replaces the run.
    pub watch: Vec<String>,
    /// A name or a number; needs root.
    pub user: Option<String>,
    /// A name or a number; `None`: the user's own.
    pub group: Option<String>,
    /// `None`: that of whoever brought the project up.
    pub umask: Option<u32>,
    pub nice: Option<i32>,
    pub limits: Limits,
    pub logs: Logs,
    /// A terminal of its own, reached by `attach`.
    pub tty: bool,
    /// Kept from other services' memory, environment and signals.
    pub isolate: bool,
}

impl Service {
    /// With no readiness check a run is ready once it has lived this long.
    pub const ALIVE: Duration = Duration::from_secs(1);
    pub const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(500),
        max: Duration::from_secs(30),
        reset_after: Duration::from_mins(1),
    };
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

    /// With the defaults of the manifest.
    pub fn of(name: impl Into<Name>, command: Option<Command>, dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command,
            working_dir: dir.into(),
            env: BTreeMap::new(),
            env_file: Vec::new(),
            clean_env: false,
            autostart: true,
            depends_on: BTreeMap::new(),
            restart: Restart::OnFailure,
            backoff: Self::BACKOFF,
            max_restarts: None,
            stop_signal: 15,
            stop_mode: StopMode::Group,
            stop_timeout: Self::STOP_TIMEOUT,
            stop_command: None,
            role: None,
            inherit_aws: false,
            replace: Replace::Restart,
            ports: BTreeMap::new(),
            ready: None,
            live: None,
            watch: Vec::new(),
            user: None,
            group: None,
            umask: None,
            nice: None,
            limits: Limits::default(),
            logs: Logs::default(),
            tty: false,
            isolate: false,
        }
    }

    /// Does a run need a lease before it may start?
    pub fn needs_lease(&self) -> bool {
        self.role.is_some() && !self.external()
    }

    /// Somebody else runs it.
    pub fn external(&self) -> bool {
        self.command.is_none()
    }

    /// Is there a port whose callers are handed over so?
    pub fn hands_over(&self, by: Handover) -> bool {
        self.ports.values().any(|port| port.handover == by)
    }

    /// How long a new run may take to be ready; zero when alive is ready.
    pub fn ready_timeout(&self) -> Duration {
        self.ready.as_ref().map_or(Duration::ZERO, |ready| ready.timeout)
    }

    /// The argument vector that is exec'd; empty for an external service.
    pub fn argv(&self) -> Vec<String> {
        self.command.as_ref().map(Command::argv).unwrap_or_default()
    }
}

/// `logs`: how much of what it writes is kept, and what is masked in it.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Bytes of all runs. The daemon's affair: another total is no other meaning, and replaces no run.
    pub total: u64,
    /// A new file is begun beyond this.
    pub file: u64,
    /// Regular expressions: what matches in a line is masked in what is stored.
    pub redact: Vec<String>,
}

impl PartialEq for Logs {
    fn eq(&self, other: &Self) -> bool {
        let Self { total: _, file, redact } = self;
        (file, redact) == (&other.file, &other.redact)
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { total: 64 << 20, file: 8 << 20, redact: Vec::new() }
    }
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Exec'd as it is; never empty.
    Exec(Vec<String>),
    /// A string that uses shell syntax: `/bin/sh -c`.
    Shell(String),
}

impl Command {
    /// The argument vector that is exec'd.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Exec(argv) => argv.clone(),
            Self::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub condition: Condition,
    /// A replacement of the dependency replaces this service too (`depends_on.x.restart = true`).
    pub restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Started,
    Ready,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
    pub reset_after: Duration,
}

/// Who gets `stop_signal`. SIGKILL always takes the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopMode {
    Group,
    Main,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replace {
    Restart,
    Overlap,
}

/// `[sandbox]`: what the embedded AWS holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The life of every lease, unless the request asks for less.
    pub lease: Duration,
    /// Bucket name to the names of the roles (no ARN) that may use it.
    pub buckets: BTreeMap<String, Vec<String>>,
    /// Enforce AWS's duration rules (900..43200, MaxSessionDuration, 1 h when chained) instead of shortening silently.
    pub strict: bool,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { lease: Duration::from_mins(1), buckets: BTreeMap::new(), strict: false }
    }
}

/// A duration in whole seconds for people: `45s`, `10m`, `1h 5m`.
pub struct Secs(pub Duration);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        let text = match s {
            0..60 => format!("{s}s"),
            60..3600 if s.is_multiple_of(60) || s >= 600 => format!("{}m", s / 60),
            60..3600 => format!("{}m {}s", s / 60, s % 60),
            3600..86400 if (s / 60).is_multiple_of(60) => format!("{}h", s / 3600),
            3600..86400 => format!("{}h {}m", s / 3600, (s / 60) % 60),
            _ => format!("{}d {}h", s / 86400, (s / 3600) % 24),
        };
        f.pad(&text)
    }
}

/// `500ms`, `1.5s`, `10s`, `2m`: where a part of a second says something.
pub fn span(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, ms @ 1..) => format!("{ms}ms"),
        (0..10, 1..) => format!("{:.1}s", time.as_secs_f64()),
        _ => Secs(time).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_not_none() {
        let said = [500, 1500, 2000, 90_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(said, ["500ms", "1.5s", "2s", "1m 30s"]);
    }
}
