//! The listening side of services: sockets that outlive a run, numbers that do not clash, and the forwarder that takes
//! callers to the ready run.
//!
//! Called by the daemon. No byte passes through its loop: the forwarder has a thread of its own ([`forward`]).

pub mod forward;
