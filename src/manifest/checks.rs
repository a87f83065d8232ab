//! How it is known that a service is ready, and that it is still well: `ready` and `live`, as types.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Command;

/// `ready`: what must be true of a run before it counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub check: Check,
    /// After this it is said that it is not ready; it is left running, and asked on.
    pub timeout: Duration,
    /// Between two probes.
    pub interval: Duration,
}

impl Ready {
    pub const TIMEOUT: Duration = Duration::from_mins(1);
    pub const INTERVAL: Duration = Duration::from_millis(500);
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Asked again and again until it succeeds.
    Probe(Probe),
    /// A line of its output matches this regular expression.
    Log(String),
    /// It sends `READY=1` to `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// It writes a line end to this inherited descriptor (s6).
    Fd(u32),
}

/// A question with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// GET answers 2xx or 3xx.
    Http(HttpUrl),
    /// A connection is accepted.
    Tcp(Target),
    /// It ends with 0; run as the service is, in its environment and folder.
    Exec(Command),
}

/// Whom a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    At(Address),
    /// A port of the service by its name: where this very run listens.
    Own(String),
}

impl Target {
    /// `None`: only a run can say.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::At(address) => Some(address),
            Self::Own(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Own(name) => f.write_str(name),
        }
    }
}

/// `host:port`; the host without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `http://host:port/path?query`; of an own port, the path alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUrl {
    pub target: Target,
    /// With its leading `/`.
    pub path: String,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::At(address) => write!(f, "http://{address}{}", self.path),
            Target::Own(_) => f.write_str(&self.path),
        }
    }
}

/// `live`: asked for as long as a run is ready. So many failures in a row replace the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub probe: Probe,
    pub interval: Duration,
    /// Of one probe.
    pub timeout: Duration,
    pub failures: u32,
}

impl Live {
    pub const INTERVAL: Duration = Duration::from_secs(10);
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    pub const FAILURES: u32 = 3;
}
