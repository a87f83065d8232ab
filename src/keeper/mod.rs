//! The small process that holds one run: starts it, keeps its tree, writes its log, ends it. Same binary, entered by
//! `main` before anything else is set up (`__keep`, `__shim`). Single-threaded, no runtime, one `poll`.

pub mod protocol;

use std::process::ExitCode;

/// `devsup __keep`: fd 0 is the socket to the daemon.
pub fn keep() -> ExitCode {
    ExitCode::FAILURE
}

/// `devsup __shim`: fd 0 is the socket to the keeper; becomes the service.
pub fn shim() -> ExitCode {
    ExitCode::FAILURE
}
