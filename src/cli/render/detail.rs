//! `devsup ps SVC`: one service whole: why it is so, what happens next, and its last lines.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::table::{Mode, colour, dash, next, role, status, uptime};
use super::{clock, count};
use crate::cli::paint::Paint;
use crate::control::api::{CredentialsJson, ExitJson, PastRunJson, Port, Service, Tree};
use crate::manifest::Secs;

/// What the detail view needs beside the service.
pub(crate) struct Setting<'a> {
    pub project: &'a str,
    /// Who the base identity is, once asked.
    pub base: Option<&'a str>,
    pub mode: Mode,
    pub now: Timestamp,
    pub zone: TimeZone,
    /// The newest lines of its log, ready to print.
    pub lines: &'a [String],
    pub paint: Paint,
}

pub(crate) fn service(service: &Service, setting: &Setting<'_>) -> String {
    let paint = setting.paint;
    let sandbox = if setting.mode == Mode::Sandbox { " · SANDBOX" } else { "" };
    let mut text = format!("{} · {}{sandbox}\n", paint.bold(&service.name), setting.project);
    for (label, words) in facts(service, setting) {
        if !words.is_empty() {
            writeln!(text, "  {}{words}", paint.dim(&format!("{label:<13}"))).ok();
        }
    }
    if let Some(hint) = service.credentials.as_ref().and_then(|held| held.error.as_ref()).and_then(|e| e.hint.as_ref())
    {
        text.push_str("  hint\n");
        for line in hint.lines() {
            writeln!(text, "    {line}").ok();
        }
    }
    if !service.exits.is_empty() {
        writeln!(text, "  {}", paint.dim("last exits")).ok();
        for past in service.exits.iter().rev() {
            writeln!(text, "    {}", past_run(past, setting)).ok();
        }
    }
    if !setting.lines.is_empty() {
        writeln!(text, "  {}", paint.dim("last lines")).ok();
        for line in setting.lines {
            writeln!(text, "    {line}").ok();
        }
    }
    text
}

fn facts(service: &Service, setting: &Setting<'_>) -> Vec<(&'static str, String)> {
    let at = |time: &str| clock(time, setting.now, &setting.zone);
    let tree = match service.tree {
        Tree::Cgroup => "cgroup",
        Tree::Session => "session",
    };
    let process = match (service.pid, service.run) {
        (None, None) if service.external => "not devsup's: it is only watched".to_owned(),
        (Some(pid), Some(run)) => format!("pid {pid}, run {run}, tree kept by {tree}, isolation {}", service.isolation),
        (Some(pid), None) => format!("pid {pid}"),
        (None, Some(run)) => format!("none; the last was run {run}"),
        (None, None) => "none yet".to_owned(),
    };
    let delivery = service.delivery.map(|how| format!(" (delivery {})", format!("{how:?}").to_lowercase()));
    let role = match &service.role {
        Some(arn) => format!("{arn}{}", delivery.unwrap_or_default()),
        None => match setting.base.filter(|_| service.inherit_aws) {
            Some(base) => format!("{} {base}", role(service)),
            None => role(service),
        },
    };
    vec![
        ("status", (colour(service))(setting.paint, &status(service))),
        ("why", service.why.clone().unwrap_or_default()),
        ("next", next(service).unwrap_or_default()),
        ("says", service.said.clone().unwrap_or_default()),
        ("since", at(&service.since)),
        ("process", process),
        ("uptime", uptime(service)),
        ("restarts", if service.external { String::new() } else { restarts(service) }),
        ("last exit", service.exit.map(exit).filter(|_| service.exits.is_empty()).unwrap_or_default()),
        ("role", role),
        ("credentials", dash(&service.credentials_text)),
        ("", service.credentials.as_ref().map(|held| key(held, setting)).unwrap_or_default()),
        ("refused", service.credentials.as_ref().map(|held| refusal(held, setting)).unwrap_or_default()),
        ("held", held(service, setting)),
        ("depends on", service.depends_on.join(", ")),
        ("ports", service.ports.iter().map(port).collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(15)))),
        ("lost lines", lost(service)),
    ]
}

/// `http 127.0.0.1:8001, forwarded to run 4: 3 connections`
fn port(port: &Port) -> String {
    let run = port.routed_to.map(|run| format!(" to run {run}")).unwrap_or_default();
    let how = match port.handover.as_str() {
        "forward" => {
            let open = port.open.unwrap_or_default();
            let waiting = port.waiting.filter(|waiting| *waiting > 0).map(|waiting| format!(", {waiting} waiting"));
            let plural = if open == 1 { "" } else { "s" };
            format!("forwarded{run}: {open} connection{plural}{}", waiting.unwrap_or_default())
        }
        "socket" => "devsup's socket, passed to each run".to_owned(),
        _ => match &port.listener {
            Some(who) => format!("{who} listens"),
            None => "nobody listens".to_owned(),
        },
    };
    format!("{} {}, {how}", port.name, port.listen)
}

/// `14:05:12  run 4  exit 1 after 2s, crashed`
fn past_run(past: &PastRunJson, setting: &Setting<'_>) -> String {
    let at = clock(&past.at, setting.now, &setting.zone);
    let after = past.uptime_s.map(|seconds| format!(" after {}", Secs(Duration::from_secs(seconds))));
    let ended = past.exit.map(|how| format!("{}{}, ", exit(how), after.unwrap_or_default())).unwrap_or_default();
    format!("{at}  run {}  {ended}{}", past.run, past.what)
}

fn restarts(service: &Service) -> String {
    let mut parts = vec![count(service.restarts as usize, "restart")];
    if service.rotations > 0 {
        parts.push(format!("{} of them for credentials", service.rotations));
    }
    if service.crashes > 0 {
        parts.push(format!("{} in a row", count(service.crashes as usize, "crash").replace("crashs", "crashes")));
    }
    parts.join(", ")
}

pub(crate) fn exit(exit: ExitJson) -> String {
    match exit {
        ExitJson::Code(code) => format!("exit {code}"),
        ExitJson::Signal(signal) => format!("signal {signal}"),
    }
}

/// The key id is no secret: CloudTrail shows it.
pub(crate) fn key(held: &CredentialsJson, setting: &Setting<'_>) -> String {
    let at = |time: &Option<String>| time.as_ref().map(|time| clock(time, setting.now, &setting.zone));
    let mut parts = Vec::new();
    parts.extend(held.access_key_id.as_ref().map(|id| format!("key {id}")));
    parts.extend(at(&held.issued).map(|time| format!("issued {time}")));
    parts.extend(at(&held.expires).map(|time| format!("expires {time}")));
    parts.extend(at(&held.rotates).map(|time| format!("rotates {time}")));
    if held.scoped {
        parts.push("scoped by a session policy".to_owned());
    }
    parts.join(", ")
}

pub(crate) fn refusal(held: &CredentialsJson, setting: &Setting<'_>) -> String {
    let Some(error) = &held.error else { return String::new() };
    let mut text = format!("{}: {}", error.code, error.message);
    let mut more = vec![format!("at {}", clock(&error.at, setting.now, &setting.zone))];
    more.extend(error.side.as_ref().map(|side| format!("denied by the {side} side")));
    more.extend(error.caller.as_ref().map(|caller| format!("asked as {caller}")));
    more.extend(error.request_id.as_ref().map(|id| format!("request {id}")));
    write!(text, " ({})", more.join(", ")).ok();
    text
}

fn held(service: &Service, setting: &Setting<'_>) -> String {
    let Some(held) = &service.held else { return String::new() };
    let at = |time: &str| clock(time, setting.now, &setting.zone);
    let until = held.until.as_ref().map(|until| format!(" until {}", at(until))).unwrap_or_default();
    format!("by {} since {}{until} (devsup release {})", held.by, at(&held.since), service.name)
}

fn lost(service: &Service) -> String {
    match service.log_dropped {
        0 => String::new(),
        bytes => format!("{bytes} bytes of log were not taken by the disk"),
    }
}
