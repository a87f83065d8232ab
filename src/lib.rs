//! devsup: many services on one machine, each as its own IAM role.
//!
//! ```text
//!  you ── cli ──unix socket──▶ daemon ──events──▶ supervisor          decides; pure: no I/O, clock, randomness, secrets
//!                               │   ◀──effects──
//!                               ├─▶ aws        asks STS, holds leases, child environment
//!                               ├─▶ ports      listens for services, forwards their callers to the ready run
//!                               ├─▶ control    the socket's words
//!                               │
//!                               └─socketpair─▶ keeper (one per run) ─▶ the service's tree, in a cgroup and behind a wall
//!                                                └─▶ log files ◀── followers read them, at their own pace
//! ```
//!
//! # Layers: each may import only what stands to its right
//!
//! `main → cli → daemon → keeper → aws, logs, ports, control → supervisor → manifest`; `sys` imports nothing of ours and may be
//! used by all but `supervisor` and `manifest`; `sandbox` is used only by `cli` and tests, and imports `manifest` at most.
//! `tests/it/layers.rs` keeps this true.
//!
//! # Invariants (each has a test that names it)
//!
//! 1. No run starts with credentials that are expired, of another service, or of another role.
//! 2. A healthy run is never stopped for rotation before the fresh lease is in hand, nor while it is held or a debugger is
//!    attached to it.
//! 3. If STS is down the old run stays up, `ps` says so, and devsup recovers by itself.
//! 4. At most one run per service, except two during an overlap, and never two of the same revision.
//! 5. Down means the whole tree is gone, daemonised grandchildren included; if not, devsup says who survives and exits non-zero.
//! 6. However devsup dies, what it started is ended, politely and then by force, and the next `up` finds nothing to trip over.
//! 7. While its keeper lives, not one log byte of a service is lost, doubled or reordered within its stream.
//! 8. A secret never appears in argv, logs, `ps`, events, the API, errors, panics, state files or core dumps.
//! 9. Nobody but the owner can read credentials or command the daemon, unless a system project says so; a service can do
//!    neither for its neighbours.
//! 10. Every service that is wanted and not running has a reason that a person can read, and something that will wake it.
//! 11. Idle costs nothing: no timer faster than the next deadline, no polling.
//! 12. No command is a silent no-op, and none hangs without saying for whom it waits.
//!
//! Absent on purpose: a shell around services, secrets on disk, a TCP port of our own but the credential endpoint's on
//! loopback (those of `handover` are the services'), `waitpid(-1)` in the daemon.

#[cfg(not(target_os = "linux"))]
compile_error!("devsup runs on Linux only (kernel 5.10 or later): it needs subreapers, pidfds and /proc");

pub mod aws;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod keeper;
pub mod logs;
pub mod manifest;
pub mod ports;
pub mod sandbox;
pub mod supervisor;
pub mod sys;
