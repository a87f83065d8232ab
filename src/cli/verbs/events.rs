//! `devsup events`.

use clap::Args;
use jiff::tz::TimeZone;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure};
use crate::cli::project::connect;
use crate::cli::render;
use crate::cli::seam::api::Event;
use crate::cli::values::Moment;

/// Who did what, and what happened: starts, exits, rotations, refusals, commands
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup events --since 10m\n  devsup events -f --format json\n")]
pub(crate) struct Events {
    /// Go on with what happens from now
    #[arg(short, long)]
    follow: bool,
    /// From then on: `10m` ago, `14:05`, or RFC 3339
    #[arg(long, value_name = "T")]
    since: Option<Moment>,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let mut path = format!("/v1/events?follow={}", self.follow);
        if let Some(since) = &self.since {
            path.extend(["&since=", &since.before(&context.here_and_now()).to_string()]);
        }
        let mut lines = connection.client.lines(&path).await?;
        let zone = TimeZone::system();
        while let Some(line) = lines.next().await? {
            match (context.terminal.format, serde_json::from_str::<Event>(&line)) {
                (Format::Table, Ok(event)) => {
                    context.terminal.print(&render::event::event(
                        &event,
                        context.now(),
                        &zone,
                        context.terminal.out,
                    ))?;
                }
                // A line of a newer daemon is shown as it is, rather than not.
                (Format::Json, _) | (Format::Table, Err(_)) => context.terminal.print(&format!("{line}\n"))?,
            }
        }
        Ok(Code::OK)
    }
}
