//! `devsup env`.

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{connect, segment};
use crate::cli::terminal::Talk;
use crate::control::api::{Environment, Variable};

/// The environment a run of the service gets; secrets masked
#[derive(Debug, Args)]
#[command(
    after_help = "With -v each line says where its value came from.\nThat secrets were revealed is recorded: devsup events.\n\nExamples:\n  devsup env a\n  devsup env a --reveal\n"
)]
pub(crate) struct Env {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// Secrets too; needs a terminal, or --force
    #[arg(long)]
    reveal: bool,
    /// Reveal them to a file or pipe
    #[arg(long, requires = "reveal")]
    force: bool,
}

impl Env {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        if self.reveal && !self.force && !context.terminal.interactive {
            return Err(Failure::new(Kind::NotPermitted, "`--reveal` prints secrets, and stdout is no terminal")
                .hint("to give them to a command: devsup exec SVC -- CMD")
                .hint("to print them all the same: --force"));
        }
        let connection = connect(context).await?;
        let path = format!("/v1/environment/{}?reveal={}", segment(&self.service)?, self.reveal);
        let environment: Environment = connection.client.get(&path).await?;
        let terminal = &context.terminal;
        for variable in &environment.env {
            match terminal.format {
                Format::Json => terminal.json(&json(variable))?,
                Format::Table => terminal.print(&line(variable, terminal.talk))?,
            }
        }
        if !environment.scrubbed.is_empty() {
            terminal.say(format_args!("removed from what was inherited: {}", environment.scrubbed.join(" ")));
        }
        terminal.mention(format_args!("the environment of {}", environment.from));
        Ok(Code::OK)
    }
}

fn json(variable: &Variable) -> serde_json::Value {
    serde_json::json!({
        "name": variable.name.to_string_lossy(),
        "value": variable.value.to_string_lossy(),
        "source": variable.source,
        "secret": variable.secret,
    })
}

fn line(variable: &Variable, talk: Talk) -> String {
    let source = if talk == Talk::Verbose { format!("  # {}", variable.source) } else { String::new() };
    format!("{}={}{source}\n", variable.name.to_string_lossy(), variable.value.to_string_lossy())
}
