//! `devsup config` and `devsup schema`: the manifest, offline.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::paint::Paint;
use crate::cli::terminal::Talk;
use crate::manifest::{self, Colour, Loaded, Source, Trust};
use crate::sys::users;

/// Check the manifest and print it as it was understood; no network, nothing is run
#[derive(Debug, Args)]
#[command(
    after_help = "With -q it only checks: exit code 0 or 2.\n\nExamples:\n  devsup config\n  devsup -f shop/services.toml config -q\n"
)]
pub(crate) struct Config {
    /// Read files that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
}

impl Config {
    pub(crate) fn run(self, context: &Context) -> Result<Code, Failure> {
        if context.terminal.format == Format::Json && context.terminal.talk != Talk::Quiet {
            return Err(Failure::new(Kind::Usage, "`config` prints TOML, and has no JSON").hint("devsup schema"));
        }
        let loaded = load(context, trust(self.insecure_manifest))?;
        if context.terminal.talk != Talk::Quiet {
            context.terminal.print(&manifest::print(&loaded))?;
        }
        Ok(Code::OK)
    }
}

/// Print the JSON Schema of services.toml, for editors
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup schema > services.schema.json\n")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(context: &Context) -> Result<Code, Failure> {
        context.terminal.print(&manifest::schema())?;
        Ok(Code::OK)
    }
}

pub(crate) fn trust(insecure: bool) -> Trust {
    if insecure { Trust::Insecure } else { Trust::Strict }
}

/// Reads and checks; all problems are shown at once, warnings are said.
pub(crate) fn load(context: &Context, trust: Trust) -> Result<Loaded, Failure> {
    load_file(context, context.globals.file.clone(), trust)
}

/// The same of this file; `None`: the one that is found here.
pub(crate) fn load_file(context: &Context, file: Option<PathBuf>, trust: Trust) -> Result<Loaded, Failure> {
    let loaded = read(context, file, trust)?;
    for warning in &loaded.warnings {
        context.terminal.say(warning.render(colour(context)).trim_end());
    }
    Ok(loaded)
}

fn colour(context: &Context) -> Colour {
    if context.terminal.err == Paint::Ansi { Colour::Styled } else { Colour::Plain }
}

/// The same of this file, and its warnings are left to whoever asked.
pub(crate) fn read(context: &Context, file: Option<PathBuf>, trust: Trust) -> Result<Loaded, Failure> {
    let source = Source {
        file,
        cwd: context.cwd.clone(),
        env: &|name| context.variable(name),
        trust,
        group_is_shared: &users::group_is_shared,
    };
    manifest::load(&source).map_err(|problems| {
        context.terminal.complain(&problems.render(colour(context)));
        Failure::new(Kind::Said, "")
    })
}
