//! `devsup hold` and `devsup release`.

use std::time::Duration;

use clap::Args;

use crate::cli::context::{Context, milliseconds, request_id};
use crate::cli::failure::{Code, Failure};
use crate::cli::project::connect;
use crate::cli::stopping::say_notes;
use crate::cli::values::some_time;
use crate::control::api::{Done, HoldRequest};

/// Keep a service from being replaced by itself: no rotation, changed file, failed check or reload
#[derive(Debug, Args)]
#[command(
    after_help = "A hold outlives the lease: `ps` then says EXPIRED. `restart` and `stop` by people still work.\n\nExamples:\n  devsup hold a\n  devsup hold a --for 30m\n"
)]
pub(crate) struct Hold {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// Release it by itself after this long
    #[arg(long = "for", value_name = "D", value_parser = some_time)]
    lasts: Option<Duration>,
}

impl Hold {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        post(context, "/v1/hold", self.service, self.lasts, "held").await
    }
}

/// End a hold; what was put off happens now
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup release a\n")]
pub(crate) struct Release {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        post(context, "/v1/release", self.service, None, "released").await
    }
}

async fn post(
    context: &Context,
    path: &str,
    service: String,
    lasts: Option<Duration>,
    done_word: &str,
) -> Result<Code, Failure> {
    let connection = connect(context).await?;
    let request = HoldRequest { request: request_id(), service, lasts_ms: lasts.map(milliseconds) };
    let done: Done = connection.client.post(path, &request).await?;
    if done.notes.is_empty() {
        context.terminal.say(format_args!("{}  {done_word}", request.service));
    }
    say_notes(context, &done);
    Ok(Code::OK)
}
