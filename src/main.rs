use std::process::ExitCode;

use devsup::{cli, daemon, keeper};

/// Keeper, shim and daemon are this same binary; they are entered before anything else is set up.
fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(|word| word.to_str()) {
        Some("__keep") => keeper::keep(),
        Some("__shim") => keeper::shim(),
        Some("__daemon") => daemon::run(),
        Some("__system") => daemon::run_system(),
        Some("__await-empty") => daemon::await_empty(),
        Some("__see") => cli::see(),
        _ => cli::run(),
    }
}
