//! The listening side of services: sockets that outlive a run, numbers that do not clash, and the forwarder that takes
//! callers to the ready run.
//!
//! Called by the daemon, which says when; nothing here knows why a run is replaced. No byte of a caller passes through the
//! daemon's loop: the forwarder has a thread of its own ([`forward`]).

pub mod forward;
mod listener;
mod numbers;

use std::fmt;

use crate::manifest::Name;

pub use listener::{Accepting, Listener, Place};
pub use numbers::{Numbers, Reserved};

/// A port of a service, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    pub service: Name,
    pub port: String,
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.port)
    }
}
