//! `devsup ls`.

use clap::Args;
use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::render::grid::{Cell, grid};
use crate::cli::seam::api::Watch;
use crate::cli::seam::control::{self, Client, Found};
use crate::supervisor::State;

/// Your projects on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup ls\n  devsup -p shop ps\n")]
pub(crate) struct Ls {
    /// Those that are not up as well
    #[arg(short, long)]
    all: bool,
}

#[derive(Serialize)]
struct Line {
    name: String,
    id: String,
    status: String,
    pid: Option<u32>,
    sandbox: bool,
    manifest: String,
}

impl Ls {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let mut lines = Vec::new();
        for found in control::list().into_iter().filter(|found| self.all || found.pid.is_some()) {
            lines.push(line(found).await);
        }
        match context.terminal.format {
            Format::Json => lines.iter().try_for_each(|line| context.terminal.json(line))?,
            Format::Table => {
                let rows: Vec<Vec<Cell>> = lines
                    .into_iter()
                    .map(|line| [line.name, line.status, line.manifest].into_iter().map(Cell::plain).collect())
                    .collect();
                context.terminal.print(&grid(&["NAME", "STATUS", "MANIFEST"], &rows, context.terminal.out))?;
            }
        }
        Ok(Code::OK)
    }
}

async fn line(found: Found) -> Line {
    let seen = if found.pid.is_some() { ask(&found).await } else { None };
    let (status, sandbox) = match &seen {
        None if found.pid.is_none() => ("down".to_owned(), false),
        None => ("does not answer".to_owned(), false),
        Some(watch) => {
            let running = watch.services.iter().filter(|service| service.state == State::Running).count();
            let mode = if watch.project.sandbox { " (SANDBOX)" } else { "" };
            (format!("{running}/{} running{mode}", watch.services.len()), watch.project.sandbox)
        }
    };
    let manifest = found.manifest.display().to_string();
    Line { name: found.name, id: found.id, status, pid: found.pid, sandbox, manifest }
}

async fn ask(found: &Found) -> Option<Watch> {
    let client = Client::connect(&found.socket).await.ok()?;
    let line = client.lines("/v1/watch").await.ok()?.next().await.ok()??;
    serde_json::from_str(&line).ok()
}
