//! `services.toml`, read and checked. Everything to the left imports these types; this module imports nothing of ours.
//!
//! [`load`] is the only way in: it finds, reads, merges, interpolates and checks, and answers either a [`Manifest`]
//! that is valid by construction (durations are durations, roles are ARNs, dependencies exist and have no cycle) or
//! *all* the problems at once, each with file, line, column, caret and mend. Nothing here talks to the network, runs a
//! command, or reads a clock.

mod types;

pub use types::{
    Aws, Backoff, Command, Condition, Delivery, Dependency, Manifest, Name, Replace, Restart, Role, RoleArn, Sandbox,
    Secs, Service, StopMode,
};
