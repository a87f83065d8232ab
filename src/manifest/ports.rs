//! Where a service listens, and what becomes of its callers while a run is replaced: `ports`, as types.

// The addresses alone: nothing here opens a socket.
use core::net::{IpAddr, SocketAddr};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One of `[services.NAME.ports]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub listen: Listen,
    pub handover: Handover,
    /// Of `forward`: how long a caller waits while no run is ready.
    pub wait: Duration,
}

impl Port {
    pub const WAIT: Duration = Duration::from_secs(10);

    /// Is a listening socket of the one used as that of the other is?
    pub fn same_use(&self, other: &Self) -> bool {
        let forwards = self.handover == Handover::Forward;
        self.handover == other.handover && (!forwards || self.wait == other.wait)
    }

    /// Does a run have a number to listen at? By `forward` it always does, whatever callers come to.
    pub fn is_tcp(&self) -> bool {
        self.handover == Handover::Forward || !matches!(self.listen, Listen::Unix(_))
    }

    /// The variable that tells a run its number: `http-admin` is `PORT_HTTP_ADMIN`.
    pub fn variable(name: &str) -> String {
        format!("PORT_{}", name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Where callers come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    At(SocketAddr),
    /// A free port of this address, the same every time for this user, project, service and name.
    Auto(IpAddr),
    /// Absolute.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Auto(IpAddr::V4(ip)) => write!(f, "{ip}:auto"),
            Self::Auto(IpAddr::V6(ip)) => write!(f, "[{ip}]:auto"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What happens to callers while a run is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// The service listens by itself: they are refused until the new run does.
    None,
    /// devsup holds the listening socket and passes it to every run (`LISTEN_FDS`).
    Socket,
    /// devsup listens, and forwards to the private port of the ready run.
    Forward,
}

impl Handover {
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Socket => "socket",
            Self::Forward => "forward",
        }
    }
}
