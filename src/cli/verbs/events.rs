//! `devsup events`: told by the daemon, or read from the journal when the project is down.

use std::fs;
use std::io;
use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{connect, locate};
use crate::cli::render;
use crate::cli::values::Moment;
use crate::control::Found;
use crate::control::api::Event;

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
        let found = locate(context)?;
        if found.pid.is_none() {
            return self.history(context, &found);
        }
        let connection = connect(context).await?;
        let mut path = format!("/v1/events?follow={}", self.follow);
        if let Some(since) = &self.since {
            path.extend(["&since=", &since.before(&context.here_and_now()).to_string()]);
        }
        let mut lines = connection.client.lines(&path).await?;
        while let Some(line) = lines.next().await? {
            show(context, &line)?;
        }
        Ok(Code::OK)
    }

    /// Of a project that is down: what its daemons have left.
    fn history(&self, context: &Context, found: &Found) -> Result<Code, Failure> {
        let since = self.since.as_ref().map(|since| since.before(&context.here_and_now()));
        // The daemon rolls its journal, and keeps one old file.
        for file in ["events.1.jsonl", "events.jsonl"] {
            for line in lines_of(&found.folder.join(file))?.lines().filter(|line| is_since(line, since)) {
                show(context, line)?;
            }
        }
        let down = format!("project `{}` is not up", found.name);
        if self.follow {
            return Err(Failure::new(Kind::ProjectDown, format!("{down}: nothing to follow")).hint("devsup up"));
        }
        context.terminal.say(format_args!("{down}; this is its history"));
        Ok(Code::OK)
    }
}

fn lines_of(path: &Path) -> Result<String, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::new(Kind::Failed, format!("`{}` cannot be read", path.display())).cause(error)),
    }
}

/// A daemon that was killed may have left half a line, which is no event.
fn is_since(line: &str, since: Option<Timestamp>) -> bool {
    let Ok(event) = serde_json::from_str::<Event>(line) else { return false };
    since.is_none_or(|since| event.time.parse::<Timestamp>().is_ok_and(|time| time >= since))
}

fn show(context: &Context, line: &str) -> Result<(), Failure> {
    let (terminal, zone) = (&context.terminal, TimeZone::system());
    match (terminal.format, serde_json::from_str::<Event>(line)) {
        (Format::Table, Ok(event)) => terminal.print(&render::event::event(&event, context.now(), &zone, terminal.out)),
        // What a crash tore off is no event, and no JSON.
        (_, Err(_)) if serde_json::from_str::<serde_json::Value>(line).is_err() => Ok(()),
        // A line of a newer daemon is shown as it is, rather than not.
        (Format::Json, _) | (Format::Table, Err(_)) => terminal.print(&format!("{line}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_begins_where_it_is_asked_to_and_skips_half_lines() {
        let line =
            r#"{"time":"2026-03-02T14:05:12.123Z","service":null,"run":null,"event":"x","reason":null,"by":null}"#;
        let at = |text: &str| Some(text.parse().expect("a time"));
        assert!(is_since(line, None) && is_since(line, at("2026-03-02T14:05:12.123Z")));
        assert!(!is_since(line, at("2026-03-02T14:05:13Z")));
        assert!(!is_since(&line[..40], None));
    }
}
