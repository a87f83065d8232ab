//! A stand-in for AWS on loopback: STS and a little S3, so that every manifest runs with no account. It is for trying and
//! testing, says so, and never touches real credentials.
//!
//! Used by the verb `sandbox` (a process of its own, [`run_blocking`]) and by tests ([`Handle`]). The real SDKs are its
//! clients: every request is signed and every signature verified, sessions expire, and what is refused is refused in
//! AWS's codes and words. Faults are set at the start, by [`Handle::set_faults`], or over `/_sandbox/faults`.
//!
//! ```text
//! server ─▶ dispatch ─▶ admin                      /_sandbox/…
//!                    ├▶ sts ─▶ assume, session     who may assume what, for how long, with which policy, tags, code
//!                    ├▶ iam                        a role's trust policy, to those who look why they are refused
//!                    └▶ s3 ─▶ s3_list, objects     allowed by role and session policy (s3_operation), in memory
//!           world: keys (identity), faults, calls, objects, the clock; sigv4 says who signed
//! ```
//!
//! A session: minted → good → expired (remembered an hour, so that its owner hears ExpiredToken) → forgotten.
//!
//! What must never happen: a secret in Debug, in an error or in `/_sandbox/…`; an answer to a request whose signature was
//! not computed anew; a request that ends the server; a port that is not loopback's.

mod admin;
mod assume;
mod calls;
mod chunked;
mod config;
mod dispatch;
mod faults;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod iam;
mod identity;
mod objects;
mod policy;
mod refusal;
mod s3;
mod s3_list;
mod s3_operation;
mod server;
mod session;
mod sigv4;
mod sts;
mod world;
mod xml;

pub use calls::Calls;
pub use config::{Config, Ready};
pub use faults::{Down, Faults, Reach};
pub use server::{Handle, Server, run_blocking};
