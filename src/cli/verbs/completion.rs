//! `devsup completion`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::args::Cli;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};

/// Print a completion script for your shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  devsup completion bash > ~/.local/share/bash-completion/completions/devsup\n  devsup completion fish > ~/.config/fish/completions/devsup.fish\n"
)]
pub(crate) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    #[arg(hide_possible_values = true)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, context: &Context) -> Result<Code, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "devsup", &mut script);
        context.terminal.print(&String::from_utf8_lossy(&script))?;
        Ok(Code::OK)
    }
}
