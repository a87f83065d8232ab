//! `devsup logs`: the owner reads the files itself, whether the project is up or not.

use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::paint::Paint;
use crate::cli::project::{locate, no_such_service};
use crate::cli::remote_logs;
use crate::cli::seam::api::Service;
use crate::cli::seam::control::{Client, Found, Ownership};
use crate::cli::seam::show::{Printer, Style};
use crate::cli::values::Tail;
use crate::logs::{Query, Reader};
use crate::manifest::Name;

/// What the services wrote
#[derive(Debug, Args)]
#[command(
    after_help = "Without -n: everything when piped, the last 200 lines of each on a terminal.\n\nExamples:\n  devsup logs -f\n  devsup logs -n 50 a b\n  devsup logs -n all a | grep -i error\n  less \"$(devsup logs --path a)\"\n"
)]
pub(crate) struct Logs {
    /// All, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// devsup's own log
    #[arg(long, conflicts_with = "services")]
    daemon: bool,
    /// Go on, over restarts and rotations
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of each, or `all`
    #[arg(short = 'n', long, value_name = "N|all")]
    tail: Option<Tail>,
    /// The time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Without `name | `
    #[arg(long)]
    no_log_prefix: bool,
    /// Print where the log is, and nothing else
    #[arg(long, conflicts_with_all = ["follow", "tail", "timestamps"])]
    path: bool,
}

/// One wait for more; a read is given some end only because it must have one.
const AN_HOUR: Duration = Duration::from_hours(1);

/// On a terminal a person wants the end, not the week.
const TERMINAL_TAIL: usize = 200;

impl Logs {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let found = locate(context)?;
        let folder = found.logs.clone();
        if self.daemon {
            return self.own_log(context, &found.folder.join("daemon.log"), found.kind);
        }
        let names = self.names(&found, &folder).await?;
        if self.path {
            return paths(context, &folder, &self.services);
        }
        for name in self.services.iter().filter(|name| !remote_logs::closed(&folder) && !folder.join(name).exists()) {
            context.terminal.say(format_args!("{name} has no log: devsup has not run it"));
        }
        let tail = self.lines(context);
        let style = Style {
            format: context.terminal.log_format(),
            prefix: !self.no_log_prefix,
            times: self.timestamps,
            color: context.terminal.out == Paint::Ansi,
            terminal: context.terminal.interactive,
        };
        if self.follow && found.pid.is_none() {
            context
                .terminal
                .say(format_args!("{} is not up; this is its history, and what comes once it is", found.name));
        }
        let printer = Printer::new(style, &names);
        let query = Query { logs: folder, services: names, tail, follow: self.follow };
        if remote_logs::closed(&query.logs) {
            let client = Client::connect(&found.socket).await?;
            remote_logs::print(&client, &query, printer).await?;
        } else {
            print(context, query, printer)?;
        }
        Ok(Code::OK)
    }

    /// How much of the past; `None`: all.
    fn lines(&self, context: &Context) -> Option<usize> {
        match self.tail {
            Some(Tail::Lines(lines)) => Some(lines),
            None if context.terminal.interactive => {
                context
                    .terminal
                    .say(format_args!("the last {TERMINAL_TAIL} lines of each; all of them: devsup logs -n all"));
                Some(TERMINAL_TAIL)
            }
            Some(Tail::All) | None => None,
        }
    }

    /// Those named, checked; else all that have a log or could have one.
    async fn names(&self, found: &Found, folder: &Path) -> Result<Vec<Name>, Failure> {
        let mut known = folders(folder);
        if remote_logs::closed(folder) {
            let client = Client::connect(&found.socket).await?;
            let services: Vec<Service> = client.get("/v1/services").await?;
            known = services.into_iter().map(|service| service.name).collect();
        } else if known.is_empty() || self.services.iter().any(|name| !known.contains(name)) {
            known.extend(ask(found).await);
        }
        known.sort();
        known.dedup();
        let all: Vec<&str> = known.iter().map(String::as_str).collect();
        if let Some(unknown) = self.services.iter().find(|name| !known.contains(name)) {
            return Err(no_such_service(unknown, &all));
        }
        let names = if self.services.is_empty() { &known } else { &self.services };
        Ok(names.iter().map(|name| Name::new(name)).collect())
    }

    /// `daemon.log` is plain text; following it looks four times a second.
    fn own_log(&self, context: &Context, path: &Path, kind: Ownership) -> Result<Code, Failure> {
        if self.path {
            context.terminal.print(&format!("{}\n", path.display()))?;
            return Ok(Code::OK);
        }
        let unreadable = |error: io::Error| {
            Failure::new(Kind::Failed, format!("devsup's own log `{}` cannot be read", path.display())).cause(error)
        };
        if kind == Ownership::System {
            return Err(Failure::new(Kind::Failed, "the log of a unit's devsup is in the journal")
                .hint("journalctl -u UNIT, the name of its unit"));
        }
        let mut file = fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(last(&bytes, self.tail))?;
        stdout.flush()?;
        if !self.follow {
            return Ok(Code::OK);
        }
        loop {
            std::thread::sleep(Duration::from_millis(250));
            // A new daemon begins a new file.
            if fs::metadata(path).map_err(unreadable)?.len() < file.stream_position().map_err(unreadable)? {
                file = fs::File::open(path).map_err(unreadable)?;
            }
            bytes.clear();
            file.read_to_end(&mut bytes).map_err(unreadable)?;
            stdout.write_all(&bytes)?;
            stdout.flush()?;
        }
    }
}

/// The services that have ever written.
fn folders(logs: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(logs) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The services the daemon knows; none if it is not up.
async fn ask(found: &Found) -> Vec<String> {
    if found.pid.is_none() {
        return Vec::new();
    }
    let Ok(client) = Client::connect(&found.socket).await else { return Vec::new() };
    let services: Vec<Service> = client.get("/v1/services").await.unwrap_or_default();
    services.into_iter().map(|service| service.name).collect()
}

fn paths(context: &Context, folder: &Path, services: &[String]) -> Result<Code, Failure> {
    let mut all: Vec<PathBuf> = services.iter().map(|name| folder.join(name).join("current")).collect();
    if all.is_empty() {
        all.push(folder.to_owned());
    }
    for path in all {
        if !remote_logs::closed(folder) && !path.exists() {
            context.terminal.say(format_args!("it is not there: devsup has not run it"));
        }
        context.terminal.print(&format!("{}\n", path.display()))?;
    }
    Ok(Code::OK)
}

fn print(context: &Context, query: Query, mut printer: Printer) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::new(Kind::Failed, "the logs cannot be read").cause(error);
    let follow = query.follow;
    let mut reader = Reader::open(query).map_err(unreadable)?;
    if let Some(notice) = reader.notice() {
        context.terminal.say(notice);
    }
    let mut lines = Vec::new();
    // History goes out in large pieces; live lines at once, when there is nothing more to read.
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut patience = follow.then_some(Duration::ZERO);
    loop {
        if let Some(entry) = reader.next(patience).map_err(unreadable)? {
            printer.line(&entry, &mut lines);
            out.write_all(&lines)?;
            lines.clear();
            patience = follow.then_some(Duration::ZERO);
        } else {
            out.flush()?;
            if !follow {
                return Ok(());
            }
            patience = Some(AN_HOUR);
        }
    }
}

/// The last lines of a text, or all of it.
fn last(bytes: &[u8], tail: Option<Tail>) -> &[u8] {
    let Some(Tail::Lines(lines)) = tail else { return bytes };
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if lines == 0 {
        return &[];
    }
    let start = memchr::memrchr_iter(b'\n', body).nth(lines - 1).map_or(0, |at| at + 1);
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_text_is_whole_lines() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last(text, Some(Tail::Lines(2))), b"two\nthree\n");
        assert_eq!(last(text, Some(Tail::Lines(9))), text);
        assert_eq!(last(text, Some(Tail::Lines(0))), b"");
        assert_eq!(last(text, Some(Tail::All)), text);
        assert_eq!(last(b"a\nb", Some(Tail::Lines(1))), b"b");
    }
}
