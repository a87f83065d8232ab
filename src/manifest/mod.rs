//! `services.toml`, read and checked. Everything to the left imports these types; this module imports nothing of ours.
//!
//! [`load()`] is the only way in: it finds, reads, merges, interpolates and checks, and answers either a [`Manifest`]
//! that is valid by construction (durations are durations, roles are ARNs, dependencies exist and have no cycle) or
//! *all* the problems at once, each with file, line, column, caret and mend. Nothing here talks to the network, runs a
//! command, or reads a clock.
//!
//! ```text
//!  find ─▶ trust ─▶ toml ─▶ node (a tree with places) ─▶ merge: services.local.toml over services.toml,
//!                                                               each service over [defaults]
//!       ─▶ project, service, role at a desk: values by type, ${VAR} expanded, every fault kept
//!       ─▶ Loaded, or Problems
//! ```
//!
//! What must never happen: a key that is ignored; a value that is run to be known; a secret in a problem, in `config`
//! or in an origin.

mod address;
mod arn;
mod checks;
mod clashes;
mod command;
mod dependencies;
mod desk;
mod elsewhere;
mod env_file;
mod external;
mod find;
mod graph;
mod handover;
mod identity;
mod interpolate;
mod kept;
mod limits;
mod listening;
mod load;
mod node;
mod origins;
mod plan;
mod port_list;
mod ports;
mod print;
mod problem;
mod project;
mod readiness;
mod references;
mod resources;
mod role;
mod roles;
mod schema;
mod scrub;
mod service;
mod session;
mod signal;
mod size;
mod syntax;
pub mod template;
mod trust;
mod types;
mod watch;
mod words;

pub use checks::{Address, Check, HttpUrl, Live, Probe, Ready, Target};
pub use env_file::{EnvFile, EnvFileError, read_env_files};
pub use find::{FILE, NotFound, find};
pub use limits::{Limits, Resource, Rlimit};
pub use load::{Loaded, Source, load};
pub use origins::{Origin, Origins};
pub use plan::{ACCOUNT, SandboxPlan};
pub use ports::{Handover, Listen, Port};
pub use print::print;
pub use problem::{Colour, Problem, Problems};
pub use roles::{Delivery, Role, RoleArn, Token};
pub use schema::schema;
pub use scrub::{SCRUBBED, is_scrubbed, is_secret_name, is_secret_value};
pub use trust::Trust;
pub use types::{
    Access, Aws, Backoff, Command, Condition, Dependency, Logs, Manifest, Name, Replace, Restart, Sandbox, Secs,
    Service, StopMode, span,
};
