//! Asks AWS: who we are, a lease for a role, and what a child's environment must be. Called by the daemon and by
//! `whoami`; never by the supervisor. Secrets live here in [`Credentials`] and leave only into a child's environment.
//!
//! ```text
//! chain ──base credentials──▶ loaded ─(mfa)─(via: speaker)─AssumeRole──▶ assume ──Grant──▶ daemon ──▶ environment ──▶ the run
//!                               ▲                                          │
//!                               └──expired: load again─────────────────────┴──any failure──▶ error ──Refusal──▶ supervisor
//!                                                              (examine: why, when AWS does not say)
//! ```
//!
//! What must never happen: credentials of another role than the one asked for are handed out; a secret is in a sentence.

mod arn;
mod assume;
mod base;
mod chain;
mod command_line;
mod environment;
mod error;
mod examine;
mod flight;
mod http;
pub mod iam;
mod loaded;
mod mfa;
mod profile;
mod route;
#[cfg(test)]
mod sample;
mod scrub;
mod secret;
mod session;
mod speaker;
mod whoami;

pub use assume::Grant;
pub use base::{Base, BaseSpec, Identity, Patience, SandboxBase, Standing};
pub use command_line::credential_process;
pub use environment::{ChildEnvironment, ChildSpec, ChildVariable, Handed, Login, Proof, child_environment, zulu};
pub use secret::Credentials;
pub use session::Who;
pub use whoami::{Whoami, whoami};
