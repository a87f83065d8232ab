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
use crate::cli::values::{Moment, Tail};
use crate::control::api::Service;
use crate::control::{Client, Found, Kind as Ownership};
use crate::logs::show::{Printer, Style};
use crate::logs::{Filter, Pattern, Query, Reader, Runs, Stream, files_of, last_run};
use crate::manifest::Name;

/// What the services wrote
#[derive(Debug, Args)]
#[command(
    after_help = "Without -n: everything when piped, the last 200 lines of each on a terminal.\n\nExamples:\n  devsup logs -f\n  devsup logs -n 50 a b\n  devsup logs a --since 10m -g error\n  devsup logs a --previous -n 20\n  less \"$(devsup logs --path a)\"\n"
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
    /// From then on: `10m` ago, `14:05`, or RFC 3339
    #[arg(long, value_name = "T")]
    since: Option<Moment>,
    /// Up to then
    #[arg(long, value_name = "T", conflicts_with = "follow")]
    until: Option<Moment>,
    /// Only lines that match; without capitals in it, case does not matter
    #[arg(short = 'g', long, value_name = "RE")]
    grep: Option<String>,
    /// Of one run only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "follow")]
    run: Option<u32>,
    /// Of the run before the newest one: what it said before it was replaced or crashed
    #[arg(long, conflicts_with_all = ["follow", "run"])]
    previous: bool,
    /// Only what it wrote to its standard output
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Only what it wrote to its standard error
    #[arg(long)]
    stderr: bool,
    /// Print where the log is, and nothing else
    #[arg(long, conflicts_with_all = ["follow", "tail", "timestamps", "since", "until", "grep", "previous", "stdout", "stderr"])]
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
        let filter = self.filter(context)?;
        let names = self.names(&found, &folder).await?;
        if let Some(run) = self.run {
            has_run(&folder, &names, run)?;
        }
        if self.path {
            return paths(context, &folder, &self.services, self.run);
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
        let query = Query { logs: folder, services: names, tail, follow: self.follow, filter };
        if remote_logs::closed(&query.logs) {
            let client = Client::connect(&found.socket).await?;
            remote_logs::print(&client, &query, printer).await?;
        } else {
            print(context, query, printer)?;
        }
        Ok(Code::OK)
    }

    /// How much of the past; `None`: all. Who says what is wanted wants all of it.
    fn lines(&self, context: &Context) -> Option<usize> {
        let narrowed =
            self.since.is_some() || self.until.is_some() || self.grep.is_some() || self.run.is_some() || self.previous;
        match self.tail {
            Some(Tail::Lines(lines)) => Some(lines),
            None if context.terminal.interactive && !narrowed => {
                context
                    .terminal
                    .say(format_args!("the last {TERMINAL_TAIL} lines of each; all of them: devsup logs -n all"));
                Some(TERMINAL_TAIL)
            }
            Some(Tail::All) | None => None,
        }
    }

    fn filter(&self, context: &Context) -> Result<Filter, Failure> {
        let now = context.here_and_now();
        let nanoseconds = |moment: &Moment| i64::try_from(moment.before(&now).as_nanosecond()).unwrap_or(i64::MAX);
        let pattern = self.grep.as_deref().map(Pattern::new).transpose().map_err(|error| {
            Failure::new(Kind::Usage, "-g: this is not a regular expression").cause(error.trim_end())
        })?;
        let (since, until) = (self.since.as_ref().map(nanoseconds), self.until.as_ref().map(nanoseconds));
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            return Err(Failure::new(Kind::Usage, "--until is not after --since: there is nothing between them"));
        }
        Ok(Filter {
            since,
            until,
            runs: match (self.run, self.previous) {
                (Some(run), _) => Runs::One(run),
                (None, true) => Runs::Previous,
                (None, false) => Runs::All,
            },
            stream: match (self.stdout, self.stderr) {
                (true, _) => Some(Stream::Stdout),
                (false, true) => Some(Stream::Stderr),
                (false, false) => None,
            },
            pattern,
        })
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

/// A number that is slipped is worth a word; one that was removed by the bounds too.
fn has_run(folder: &Path, names: &[Name], run: u32) -> Result<(), Failure> {
    if names.iter().any(|name| !files_of(&folder.join(name.as_str()), run).is_empty()) {
        return Ok(());
    }
    let of = match names {
        [one] => format!("service `{one}`: "),
        _ => String::new(),
    };
    let newest = names.iter().map(|name| last_run(&folder.join(name.as_str()))).max().unwrap_or_default();
    let failure = Failure::new(Kind::Failed, format!("{of}there is no run {run} in the logs"));
    Err(failure.hint(if newest == 0 { "nothing has run yet".into() } else { format!("the newest is run {newest}") }))
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

fn paths(context: &Context, folder: &Path, services: &[String], run: Option<u32>) -> Result<Code, Failure> {
    let mut all: Vec<PathBuf> = match run {
        None => services.iter().map(|name| folder.join(name).join("current")).collect(),
        Some(run) => services.iter().flat_map(|name| files_of(&folder.join(name), run)).collect(),
    };
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
