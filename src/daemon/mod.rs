//! Does what the supervisor decides: one loop on one thread. See `daemon::run`.

use std::process::ExitCode;

/// `devsup __daemon`: fd 0 is a socket to the `up` that started us.
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
