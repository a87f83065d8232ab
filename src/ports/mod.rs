//! The listening side of services: sockets that outlive a run, numbers that do not clash, and the forwarder that takes
//! callers to the ready run.
//!
//! Called by the daemon, which says when; nothing here knows why a run is replaced. No byte of a caller passes through the
//! daemon's loop: the forwarder has a thread of its own ([`forward`]).

pub mod forward;
mod listener;
mod numbers;

pub use forward::{Accepting, PortId};
pub use listener::{Listener, Made, Place};
pub use numbers::{Numbers, Reserved};
