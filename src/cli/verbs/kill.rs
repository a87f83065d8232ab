//! `devsup kill`.

use clap::Args;

use crate::cli::context::{Context, request_id};
use crate::cli::failure::{Code, Failure};
use crate::cli::project::connect;
use crate::cli::stopping::say_notes;
use crate::cli::values::Signal;
use crate::control::api::{Done, KillRequest};

/// Send a signal to a service
#[derive(Debug, Args)]
#[command(
    after_help = "An exit that follows is a crash like any other: `restart` policy decides.\nTo stop it: devsup stop SVC.\n\nExamples:\n  devsup kill -s HUP a\n  devsup kill -s USR1 --main a\n"
)]
pub(crate) struct Kill {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// Which signal, by name or number
    #[arg(short, long, value_name = "SIG", default_value = "KILL")]
    signal: Signal,
    /// Only to the main process, not to its whole tree
    #[arg(long)]
    main: bool,
}

impl Kill {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let request =
            KillRequest { request: request_id(), service: self.service, signal: self.signal.0, main: self.main };
        let done: Done = connection.client.post("/v1/kill", &request).await?;
        if done.notes.is_empty() {
            let whom = if request.main { "its main process" } else { "its whole tree" };
            context.terminal.say(format_args!("{}  signal {} sent to {whom}", request.service, request.signal));
        }
        say_notes(context, &done);
        Ok(Code::OK)
    }
}
