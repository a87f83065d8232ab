//! `devsup version`.

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::control::api::VERSION;

/// Which devsup this is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup version\n  devsup version --format json\n")]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn run(context: &Context) -> Result<Code, Failure> {
        match context.terminal.format {
            Format::Json => context.terminal.json(&serde_json::json!({ "version": VERSION }))?,
            Format::Table => context.terminal.print(&format!("devsup {VERSION}\n"))?,
        }
        Ok(Code::OK)
    }
}
