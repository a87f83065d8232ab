//! `devsup reload`.

use std::fmt::Write as _;

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::{Context, request_id};
use crate::cli::failure::{Code, Failure};
use crate::cli::project::connect;
use crate::control::api::{ReloadRequest, Reloaded};

/// Read the manifest again and apply what changed; what did not keeps its process
#[derive(Debug, Args)]
#[command(
    after_help = "A manifest with an error changes nothing (exit code 2). What is new is started\nif it has autostart, what is gone is stopped, what has another meaning is replaced.\nComments and the order of keys mean nothing.\n\nExamples:\n  devsup reload --dry-run\n  devsup reload\n"
)]
pub(crate) struct Reload {
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let request =
            ReloadRequest { request: request_id(), dry_run: self.dry_run, environment: connection.handed(context) };
        let reloaded: Reloaded = connection.client.post("/v1/reload", &request).await?;
        for note in &reloaded.notes {
            context.terminal.say(note);
        }
        match context.terminal.format {
            Format::Json => context.terminal.json(&reloaded)?,
            Format::Table => context.terminal.print(&text(&reloaded))?,
        }
        if !self.dry_run && reloaded.added.is_empty() && reloaded.changed.is_empty() && reloaded.removed.is_empty() {
            context.terminal.say("no service has changed");
        }
        Ok(Code::OK)
    }
}

fn text(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    let lists = [
        ("added", &reloaded.added),
        ("changed", &reloaded.changed),
        ("removed", &reloaded.removed),
        ("untouched", &reloaded.untouched),
    ];
    for (word, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        writeln!(text, "{word:<9}  {}", names.join(" ")).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_are_left_out() {
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let reloaded = Reloaded { added: names(&["d"]), untouched: names(&["b", "c"]), ..Reloaded::default() };
        assert_eq!(text(&reloaded), "added      d\nuntouched  b c\n");
    }
}
