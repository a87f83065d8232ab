//! `devsup down`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{Watching, connect};
use crate::cli::stopping::{End, bring_down};
use crate::cli::values::duration;
use crate::sys::tty::Interruptions;

/// Stop everything in reverse order, and devsup with it
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C while it waits kills every process at once. Exit code 1 if anything survives.\n\nExamples:\n  devsup down\n  devsup down -t 2s\n"
)]
pub(crate) struct Down {
    /// SIGKILL after this long, instead of each service's stop_timeout
    #[arg(short, long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
}

impl Down {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let mut interruptions = Interruptions::catch()
            .map_err(|error| Failure::new(Kind::Failed, "signals cannot be caught").cause(error))?;
        let mut watching = Watching::open(&connection.client).await?;
        let end = bring_down(context, &connection.client, &mut watching, &mut interruptions, self.timeout).await?;
        Ok(match end {
            End::Stopped => {
                context.terminal.say(format_args!("{} is down", connection.found.name));
                Code::OK
            }
            End::Killed => Code::INTERRUPTED,
            End::Left(code) => code,
        })
    }
}
