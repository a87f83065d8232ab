//! What a person types and reads.

use std::process::ExitCode;

pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
