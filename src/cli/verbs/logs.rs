//! `devsup logs`: the owner reads the files itself, whether the project is up or not.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::daemon_log;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::followed::{self, unreadable};
use crate::cli::paint::Paint;
use crate::cli::project::{locate, no_such_service};
use crate::cli::remote_logs;
use crate::cli::values::{Moment, Tail, run_number};
use crate::control::api::Service;
use crate::control::{Client, Found, Kind as Ownership};
use crate::logs::show::{Printer, Style};
use crate::logs::{Filter, Pattern, Query, Reader, Runs, Stream, files_of, last_run};
use crate::manifest::{self, Name, Source, Trust};
use crate::sys::users;

/// What the services wrote
#[derive(Debug, Args)]
#[command(
    after_help = "Without -n: everything when piped, the last 200 lines of each on a terminal.\n\nExamples:\n  devsup logs -f\n  devsup logs -n 50 a b\n  devsup logs a --since 10m -g error\n  devsup logs a --previous -n 20\n  less \"$(devsup logs --path a)\"\n"
)]
pub(crate) struct Logs {
    /// All, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// devsup's own log; with -f it goes on after a `down` too
    #[arg(long, conflicts_with_all = ["services", "timestamps", "since", "until", "grep", "run", "previous", "stdout", "stderr"])]
    daemon: bool,
    /// Go on, over restarts and rotations, until the project goes down
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
    /// From then on, lines that had begun included: `10m` ago, `14:05`, or RFC 3339
    #[arg(long, value_name = "T")]
    since: Option<Moment>,
    /// Up to then
    #[arg(long, value_name = "T", conflicts_with = "follow")]
    until: Option<Moment>,
    /// Only lines that match; without capitals in it, case does not matter
    #[arg(short = 'g', long, value_name = "RE")]
    grep: Option<String>,
    /// Of one run only; with --path, its files
    #[arg(long, value_name = "N", value_parser = run_number, conflicts_with = "follow")]
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
    /// Print where the log is, and nothing else; of no service, the folder of all
    #[arg(long, conflicts_with_all = ["follow", "tail", "timestamps", "since", "until", "grep", "previous", "stdout", "stderr"])]
    path: bool,
}

/// On a terminal a person wants the end, not the week.
const TERMINAL_TAIL: usize = 200;

impl Logs {
    pub(crate) async fn run(mut self, context: &Context) -> Result<Code, Failure> {
        let found = locate(context)?;
        let folder = found.logs.clone();
        if self.daemon {
            return self.own_log(context, &found.folder.join("daemon.log"), found.kind);
        }
        let filter = self.filter(context)?;
        let mut named = BTreeSet::new();
        self.services.retain(|name| named.insert(name.clone()));
        let names = self.names(context, &found, &folder).await?;
        if let Some(run) = self.run.filter(|_| !remote_logs::closed(&folder)) {
            has_run(&folder, &names, run)?;
        }
        if self.path {
            return self.paths(context, &folder, &names);
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
        let all = self.services.is_empty();
        let query = Query { logs: folder, services: names, tail, follow: self.follow, all, filter };
        if remote_logs::closed(&query.logs) {
            let client = Client::connect(&found.socket).await?;
            remote_logs::print(&client, &query, printer).await?;
            if self.follow {
                context.terminal.say(format_args!("{} went down", found.name));
            }
        } else if self.follow {
            followed::follow(context, &found.folder, query, printer).await?;
        } else if print(&found, query, printer)? == 0 && self.narrowed() && tail != Some(0) {
            context.terminal.say("nothing in the logs is what was asked for");
        }
        Ok(Code::OK)
    }

    /// How much of the past; `None`: all. Who says what is wanted wants all of it.
    fn lines(&self, context: &Context) -> Option<usize> {
        let narrowed = self.narrowed();
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

    fn narrowed(&self) -> bool {
        self.since.is_some()
            || self.until.is_some()
            || self.grep.is_some()
            || self.run.is_some()
            || self.previous
            || self.stdout
            || self.stderr
    }

    fn filter(&self, context: &Context) -> Result<Filter, Failure> {
        let now = context.here_and_now();
        let nanoseconds = |moment: &Moment| {
            let at = moment.before(&now).as_nanosecond();
            i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
        };
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
    async fn names(&self, context: &Context, found: &Found, folder: &Path) -> Result<Vec<Name>, Failure> {
        let mut known = folders(folder);
        if remote_logs::closed(folder) {
            let client = Client::connect(&found.socket).await?;
            let services: Vec<Service> = client.get("/v1/services").await?;
            known = services.into_iter().map(|service| service.name).collect();
        } else if self.services.is_empty() || self.services.iter().any(|name| !known.contains(name)) {
            let all = ask(found).await.unwrap_or_else(|| written(context, found));
            // What devsup does not run has no log, unless it was asked for.
            known.extend(all.into_iter().filter(|one| !one.1 || self.services.contains(&one.0)).map(|one| one.0));
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

    /// A line each: the live file of each service that is named, all files of one run, or else the folder of all.
    fn paths(&self, context: &Context, folder: &Path, names: &[Name]) -> Result<Code, Failure> {
        let closed = remote_logs::closed(folder);
        let mut all: Vec<(Option<&str>, PathBuf)> = Vec::new();
        match self.run {
            Some(_) if closed => {
                let what = "the files of a run cannot be listed: the folder of the logs is its owner's";
                return Err(Failure::new(Kind::Failed, what).hint("what it wrote: devsup logs SVC --run N"));
            }
            Some(run) => {
                for name in names.iter().map(Name::as_str) {
                    all.extend(files_of(&folder.join(name), run).into_iter().map(|path| (Some(name), path)));
                }
            }
            None if self.services.is_empty() => all.push((None, folder.to_owned())),
            None => {
                all.extend(names.iter().map(Name::as_str).map(|name| (Some(name), folder.join(name).join("current"))));
            }
        }
        for (service, path) in all {
            if !closed && !path.exists() {
                context.terminal.say("it is not there: devsup has not run it");
            }
            print_path(context, service, self.run, &path)?;
        }
        Ok(Code::OK)
    }

    fn own_log(&self, context: &Context, path: &Path, kind: Ownership) -> Result<Code, Failure> {
        if self.path {
            print_path(context, None, None, path)?;
            return Ok(Code::OK);
        }
        if kind == Ownership::System {
            return Err(Failure::new(Kind::Failed, "the log of a unit's devsup is in the journal")
                .hint("journalctl -u UNIT, the name of its unit"));
        }
        daemon_log::print(context, path, self.tail, self.follow)?;
        Ok(Code::OK)
    }
}

fn print_path(context: &Context, service: Option<&str>, run: Option<u32>, path: &Path) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Place<'a> {
        service: Option<&'a str>,
        run: Option<u32>,
        path: Cow<'a, str>,
    }
    match context.terminal.format {
        Format::Json => context.terminal.json(&Place { service, run, path: path.to_string_lossy() }),
        Format::Table => context.terminal.print(&format!("{}\n", path.display())),
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

/// The services the daemon knows, and whether somebody else runs them; `None` if it does not answer.
async fn ask(found: &Found) -> Option<Vec<(String, bool)>> {
    found.pid?;
    let client = Client::connect(&found.socket).await.ok()?;
    let services: Vec<Service> = client.get("/v1/services").await.ok()?;
    Some(services.into_iter().map(|service| (service.name, service.external)).collect())
}

/// The same by the manifest; none if it cannot be read, which is no matter here.
fn written(context: &Context, found: &Found) -> Vec<(String, bool)> {
    let source = Source {
        file: Some(found.manifest.clone()),
        cwd: context.cwd.clone(),
        env: &|name| context.variable(name),
        trust: Trust::Strict,
        group_is_shared: &users::group_is_shared,
    };
    let Ok(loaded) = manifest::load(&source) else { return Vec::new() };
    loaded.manifest.services.iter().map(|(name, service)| (name.to_string(), service.external())).collect()
}

/// History, to its end. What keepers that were killed left without a record belongs to it.
/// Answers how much there was.
fn print(found: &Found, query: Query, mut printer: Printer) -> Result<usize, Failure> {
    let alive = followed::alive(&found.folder, &query.logs, found.pid.is_some());
    let mut reader = Reader::open(query).map_err(unreadable)?.alive(alive);
    let mut lines = Vec::new();
    let mut entries = 0;
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    while let Some(entry) = reader.next(None).map_err(unreadable)? {
        printer.line(&entry, &mut lines);
        out.write_all(&lines)?;
        lines.clear();
        entries += 1;
    }
    out.flush()?;
    Ok(entries)
}
