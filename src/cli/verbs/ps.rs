//! `devsup ps` (alias `status`).

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::project::{Connection, Watching, choose, connect, gone, look};
use crate::cli::remote_logs;
use crate::cli::render::{detail, table};
use crate::cli::terminal::json_line;
use crate::control::api::{Service, Watch};
use crate::logs::{Filter, Query, Reader, show};
use crate::manifest::Name;
use crate::supervisor::State;

/// What runs, as which role, and until when; with one name, everything about that service
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code with names: 0 running, 3 not running, 4 no such service.\n\nExamples:\n  devsup ps\n  devsup ps a\n  devsup ps --format json | jq -r '.name + \" \" + .status'\n"
)]
pub(crate) struct Ps {
    /// All, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// Also those that were never meant to start by themselves
    #[arg(short, long)]
    all: bool,
    /// Again after every change
    #[arg(long)]
    watch: bool,
}

/// How many lines of log the detail view ends with.
const LAST_LINES: usize = 10;

impl Ps {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        if self.watch {
            return self.go_on(context, &connection).await;
        }
        let watch = look(context, &connection.client).await?;
        for warning in &watch.project.warnings {
            context.terminal.say(format_args!("{} {warning}", context.terminal.err.yellow("warning:")));
        }
        context.terminal.print(&self.text(context, &connection, &watch).await?)?;
        self.code(&watch)
    }

    fn chosen<'a>(&self, watch: &'a Watch) -> Result<Vec<&'a Service>, Failure> {
        let mut chosen = choose(&self.services, &watch.services)?;
        if self.services.is_empty() && !self.all {
            chosen.retain(|service| service.autostart || service.state != State::Stopped);
        }
        Ok(chosen)
    }

    async fn text(&self, context: &Context, connection: &Connection, watch: &Watch) -> Result<String, Failure> {
        let chosen = self.chosen(watch)?;
        let looked = if self.services.is_empty() { Vec::new() } else { with_listeners(connection, &chosen).await };
        let chosen = if looked.is_empty() { chosen } else { looked.iter().collect() };
        Ok(match (context.terminal.format, self.services.len(), chosen.as_slice()) {
            (Format::Json, _, _) => chosen.iter().map(json_line).collect(),
            (Format::Table, 1, [service]) => {
                let lines = last_lines(connection, &service.name).await;
                detail::service(service, &context.setting(&watch.project, &lines))
            }
            (Format::Table, _, _) => {
                table::services(&chosen, table::Mode::of(watch.project.sandbox), context.terminal.out)
            }
        })
    }

    /// With names only, as `systemctl status` does.
    fn code(&self, watch: &Watch) -> Result<Code, Failure> {
        let chosen = choose(&self.services, &watch.services)?;
        // One that is on its way up has a process.
        let running = |service: &&Service| match service.state {
            State::Running | State::Done => true,
            State::Starting => service.pid.is_some(),
            State::Stopped | State::Waiting | State::Stopping | State::Backoff | State::Failed => false,
        };
        Ok(if self.services.is_empty() || chosen.iter().all(running) { Code::OK } else { Code::NOT_RUNNING })
    }

    /// A terminal is drawn anew every second, because sentences count; anything else gets a table a change.
    async fn go_on(&self, context: &Context, connection: &Connection) -> Result<Code, Failure> {
        if context.terminal.interactive && context.terminal.format == Format::Table {
            loop {
                let watch = look(context, &connection.client).await?;
                let text = self.text(context, connection, &watch).await?;
                context.terminal.print(&format!("\x1b[H\x1b[2J{text}"))?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        let mut watching = Watching::open(&connection.client).await?;
        let mut ended_well = false;
        while let Some(watch) = watching.next().await? {
            ended_well = watch.project.shutting_down;
            context.terminal.print(&self.text(context, connection, &watch).await?)?;
        }
        if ended_well { Ok(Code::OK) } else { Err(gone()) }
    }
}

/// Asked one by one, a service also says who listens on its ports. One that has gone meanwhile is as it was.
async fn with_listeners(connection: &Connection, chosen: &[&Service]) -> Vec<Service> {
    let mut looked = Vec::new();
    for service in chosen {
        let path = format!("/v1/services/{}", service.name);
        let asked = if service.ports.is_empty() { None } else { connection.client.get(&path).await.ok() };
        looked.push(asked.unwrap_or_else(|| (*service).clone()));
    }
    looked
}

/// The newest lines, as `logs` would show them; a log that cannot be read is no reason to show nothing else.
async fn last_lines(connection: &Connection, service: &str) -> Vec<String> {
    let name = Name::new(service);
    let query = Query {
        logs: connection.found.logs.clone(),
        services: vec![name.clone()],
        tail: Some(LAST_LINES),
        follow: false,
        all: false,
        filter: Filter::default(),
    };
    let style = show::Style { format: show::Format::Text, prefix: false, times: false, color: false, terminal: false };
    let mut printer = show::Printer::new(style, &[name]);
    let mut text = Vec::new();
    if remote_logs::closed(&query.logs) {
        let Ok(mut lines) = remote_logs::open(&connection.client, &query).await else { return Vec::new() };
        while let Ok(Some(line)) = lines.next().await {
            if let Some(entry) = show::entry(&line) {
                printer.line(&entry, &mut text);
            }
        }
    } else if let Ok(mut reader) = Reader::open(query) {
        while let Ok(Some(entry)) = reader.next(None) {
            printer.line(&entry, &mut text);
        }
    }
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}
