//! `devsup ls`.

use clap::Args;
use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::render::grid::{Cell, grid};
use crate::control::api::{Failed, FailedKind, Watch};
use crate::control::{self, Client, Found, Kind as Ownership};
use crate::supervisor::State;
use crate::sys::users;

/// Your projects on this machine, and those it shares
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
    kind: Ownership,
    owner: String,
}

impl Ls {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let mut lines = Vec::new();
        let all = control::list().into_iter().chain(control::list_system());
        for found in all.filter(|found| self.all || found.pid.is_some()) {
            lines.push(line(found).await);
        }
        match context.terminal.format {
            Format::Json => lines.iter().try_for_each(|line| context.terminal.json(line))?,
            Format::Table => {
                let rows: Vec<Vec<Cell>> = lines
                    .into_iter()
                    .map(|line| {
                        let kind = if line.kind == Ownership::System { "system" } else { "personal" };
                        let cells = [line.name, kind.to_owned(), line.owner, line.status, line.manifest];
                        cells.into_iter().map(Cell::plain).collect()
                    })
                    .collect();
                let head = ["NAME", "KIND", "OWNER", "STATUS", "MANIFEST"];
                context.terminal.print(&grid(&head, &rows, context.terminal.out))?;
            }
        }
        Ok(Code::OK)
    }
}

async fn line(found: Found) -> Line {
    let seen = if found.pid.is_some() { Some(ask(&found).await) } else { None };
    let (status, sandbox) = match &seen {
        None => ("down".to_owned(), false),
        Some(Err(failed)) if failed.kind == FailedKind::NotPermitted => {
            ("up; you may not look".to_owned(), found.sandbox)
        }
        Some(Err(_)) => ("does not answer".to_owned(), false),
        Some(Ok(watch)) => {
            let running = watch.services.iter().filter(|service| service.state == State::Running).count();
            let mode = if watch.project.sandbox { " (SANDBOX)" } else { "" };
            (format!("{running}/{} running{mode}", watch.services.len()), watch.project.sandbox)
        }
    };
    let (manifest, owner) = (found.manifest.display().to_string(), users::name(found.owner));
    Line { name: found.name, id: found.id, status, pid: found.pid, sandbox, manifest, kind: found.kind, owner }
}

async fn ask(found: &Found) -> Result<Watch, Failed> {
    let client = Client::connect(&found.socket).await?;
    let line = client.lines("/v1/watch").await?.next().await?;
    let gone = || Failed::new(FailedKind::Failed, "the daemon has ended");
    serde_json::from_str(&line.ok_or_else(gone)?).map_err(|error| gone().cause(error))
}
