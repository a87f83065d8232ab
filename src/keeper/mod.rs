//! The small process that holds one run: starts it, keeps its tree, writes its log, ends it. Same binary, entered by
//! `main` before anything else is set up (`__keep`, `__shim`). Single-threaded, no runtime, one `poll`.
//!
//! ```text
//!  daemon ──Link──▶ keeper (keep, run, output) ──▶ shim ──exec──▶ the service
//!         ◀─Report─   subreaper: every orphan of the tree becomes its child
//! ```
//!
//! The daemon uses [`Link`] and the functions about what is left when a keeper was killed ([`sweep_strays`],
//! [`find_marked`], [`end_marked`], [`keeper_of`]). Must never happen: a keeper waits for its daemon; a service waits for the daemon; a
//! keeper ends while a descendant of it lives; a keeper deletes anything; a secret in an argv or in a keeper's environ.

mod birth;
mod failure;
mod foresee;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod keep;
mod link;
mod notify;
mod outbox;
mod output;
mod pace;
mod plain;
mod probe;
pub mod protocol;
mod ready;
mod ready_line;
mod run;
mod shim;
mod starter;
mod stop_command;
mod strays;
mod terminal;
mod tree;

pub use foresee::{would_limit, would_start};
pub use keep::keep;
pub use link::{Given, Link, Reports, State};
pub use plain::plain;
pub use shim::shim;
pub use strays::{Force, Marked, Stray, end_marked, find_marked, keeper_of, sweep_strays};
