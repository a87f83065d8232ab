//! `ready` and `live` out of their tables.

use std::time::Duration;

use super::desk::{Desk, one_of};
use super::node::{Entry, Layer, Node, Place, Table, Value};
use super::port_list::{Listed, PortList};
use super::words::Section;
use super::{Check, Command, Handover, Live, Probe, Ready, Target, address, command};

const READY: [&str; 6] = ["http", "tcp", "exec", "log", "notify", "fd"];
const LIVE: [&str; 3] = ["http", "tcp", "exec"];
const TIMING: [&str; 2] = ["timeout", "interval"];

/// The port that is meant where none is named.
const HTTP: &str = "http";

/// Callers wait for it at every replacement, and it is a connection within the machine.
const BY_PORT: Duration = Duration::from_millis(100);

/// Descriptors a service may promise to write to: after its own three, before what programs like to take for themselves.
const FDS: std::ops::RangeInclusive<u32> = 3..=63;

/// Reads `ready`; a service that says nothing is asked at its port, if it has one. `None`: it has been refused, or alive
/// is ready.
pub(super) fn ready(desk: &mut Desk<'_>, entry: Option<&Entry>) -> Option<Ready> {
    let by_port = by_port(desk.own_ports().1);
    let Some(entry) = entry else {
        return by_port.map(|check| Ready { check, timeout: Ready::TIMEOUT, interval: BY_PORT });
    };
    let table = checks(desk, "ready", entry)?;
    desk.check_keys(Section::Ready, table);
    let timeout = table.get("timeout").and_then(|entry| desk.duration("timeout", &entry.node, "100ms", "24h"));
    let interval = table.get("interval").and_then(|entry| desk.duration("interval", &entry.node, "50ms", "1h"));
    let (check, usual) = match by_port {
        // Timing alone is of the check that would be made anyway.
        Some(check) if table.keys().all(|key| TIMING.contains(&key.as_str())) => (check, BY_PORT),
        _ => {
            let (key, chosen) = only(desk, "ready", entry, table, Section::Ready, &READY)?;
            let check = check(desk, key, &chosen.node)?;
            if !matches!(check, Check::Probe(_)) {
                refuse_interval(desk, key, table);
            }
            (check, Ready::INTERVAL)
        }
    };
    let asked = matches!(check, Check::Probe(_));
    let (timeout, interval) = match (timeout, interval.filter(|_| asked)) {
        // One that is not said follows the one that is.
        (Some(timeout), None) => (timeout, if asked { usual.min(timeout) } else { usual }),
        (None, Some(interval)) => (Ready::TIMEOUT.max(interval), interval),
        (None, None) => (Ready::TIMEOUT, usual),
        (Some(timeout), Some(interval)) => (timeout, interval),
    };
    if let Some(entry) = table.get("interval")
        && asked
        && interval > timeout
    {
        desk.refuse(entry.node.place, "`ready.interval` is longer than `ready.timeout`")
            .label("it would be asked once and never again in time");
    }
    Some(Ready { check, timeout, interval })
}

/// A port that nobody listens at before the run does: to connect to it costs nothing, and says enough.
fn by_port(list: &PortList) -> Option<Check> {
    let good = |listed: &Listed| listed.port.is_tcp() && listed.port.handover != Handover::Socket;
    let mut names = list.iter().filter(|(_, listed)| good(listed)).map(|(name, _)| name.as_str());
    let name = names.clone().find(|name| *name == HTTP).or_else(|| names.next())?;
    Some(Check::Probe(Probe::Tcp(Target::Own(name.to_owned()))))
}

/// The port that `http = "/path"` means; an error names those that it could be.
pub(super) fn own_http(list: &PortList) -> Result<&str, Vec<&str>> {
    let tcp = list.iter().filter(|(_, listed)| listed.port.is_tcp()).map(|(name, _)| name.as_str());
    let tcp: Vec<&str> = tcp.collect();
    match tcp[..] {
        [only] => Ok(only),
        _ => tcp.iter().copied().find(|name| *name == HTTP).ok_or(tcp),
    }
}

/// Does it say more than timing? What is refused in it does.
pub(super) fn says_how(node: &Node) -> bool {
    match &node.value {
        Value::Table(table) => table.keys().any(|key| !TIMING.contains(&key.as_str())),
        _ => true,
    }
}

/// Reads `live`.
pub(super) fn live(desk: &mut Desk<'_>, entry: &Entry) -> Option<Live> {
    let table = checks(desk, "live", entry)?;
    let mut known = table.clone();
    for (key, why) in [
        ("log", "a line is written once: it cannot be asked for again"),
        ("notify", "`READY=1` is said once: it cannot be asked for again"),
        ("fd", "it is written to once: it cannot be asked again"),
    ] {
        if let Some(entry) = known.remove(key) {
            desk.refuse(entry.key, format!("`{key}` cannot say that a service is still well"))
                .label(why)
                .help("ask by `http`, `tcp` or `exec`");
        }
    }
    desk.check_keys(Section::Live, &known);
    let get = |key: &str| table.get(key).map(|entry| &entry.node);
    let interval = get("interval").and_then(|node| desk.duration("interval", node, "50ms", "24h"));
    let timeout = get("timeout").and_then(|node| desk.duration("timeout", node, "50ms", "1h"));
    let failures = get("failures").and_then(|node| desk.count("failures", node)).unwrap_or(Live::FAILURES);
    if let Some(node) = get("failures").filter(|_| !(1..=1000).contains(&failures)) {
        desk.refuse(node.place, "`failures` is out of range").label("expected 1 to 1000");
    }
    let (key, chosen) = only(desk, "live", entry, table, Section::Live, &LIVE)?;
    let probe = probe(desk, key, &chosen.node)?;
    let (interval, timeout) = (interval.unwrap_or(Live::INTERVAL), timeout.unwrap_or(Live::TIMEOUT));
    Some(Live { probe, interval, timeout, failures })
}

/// The table, or what the shorter thing that stands there would be as one.
fn checks<'t>(desk: &mut Desk<'_>, of: &str, entry: &'t Entry) -> Option<&'t Table> {
    if let Value::Table(table) = &entry.node.value {
        return Some(table);
    }
    let meant = match &entry.node.value {
        Value::Text(text) if text.starts_with("http://") && !text.contains('@') => format!("http = \"{text}\""),
        Value::Text(text) if of == "ready" && text == "notify" => "notify = true".to_owned(),
        _ => "http = \"http://127.0.0.1:8001/health\"".to_owned(),
    };
    desk.wrong(of, &entry.node, "a table").help(format!("`{of} = {{ {meant} }}`"));
    None
}

/// The one check of the table. What is said nearer to the service beats what is said for all: its own entry `[defaults]`,
/// and services.local.toml the file beside it.
fn only<'t>(
    desk: &mut Desk<'_>,
    of: &str,
    entry: &Entry,
    table: &'t Table,
    section: Section,
    words: &[&'static str],
) -> Option<(&'static str, &'t Entry)> {
    let near = |place: Place| (place.layer == Layer::Own, place.file);
    let said: Vec<_> = words.iter().filter_map(|word| Some((*word, table.get(*word)?))).collect();
    let nearest = said.iter().map(|(_, entry)| near(entry.key)).max();
    let Some(nearest) = nearest else {
        // A word from elsewhere, or a slip, has been reported; and timing alone may stand in `[defaults]`.
        if entry.key.layer == Layer::Own && table.keys().all(|key| section.keys().contains(&key.as_str())) {
            let expected = one_of(words.iter().copied());
            desk.refuse(entry.key, format!("`{of}` does not say how it is known"))
                .absent()
                .label(format!("expected {expected}"));
        }
        return None;
    };
    let mut chosen = said.into_iter().filter(|(_, entry)| near(entry.key) == nearest);
    let first = chosen.next()?;
    for (word, entry) in chosen {
        desk.refuse(entry.key, format!("`{of}` has both `{}` and `{word}`", first.0))
            .label("one check decides")
            .at(first.1.key, "and this is the other")
            .help("keep one of them; a program of `exec` can ask for several things");
    }
    Some(first)
}

/// Who says by itself that it is ready is not asked again and again.
fn refuse_interval(desk: &mut Desk<'_>, check: &str, table: &Table) {
    if let Some(entry) = table.get("interval")
        && entry.key.layer == Layer::Own
    {
        desk.refuse(entry.key, format!("`interval` beside `{check}`"))
            .label("the service says it by itself: it is not asked again and again")
            .help("remove it");
    }
}

fn check(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Check> {
    match key {
        "log" => pattern(desk, node).map(Check::Log),
        "notify" => notify(desk, node),
        "fd" => fd(desk, node).map(Check::Fd),
        _ => probe(desk, key, node).map(Check::Probe),
    }
}

fn probe(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Probe> {
    match key {
        "http" => address::http(desk, node).map(Probe::Http),
        "tcp" => address::tcp(desk, node).map(Probe::Tcp),
        _ => exec(desk, node).map(Probe::Exec),
    }
}

fn exec(desk: &mut Desk<'_>, node: &Node) -> Option<Command> {
    let command = command::read(desk, "exec", node)?;
    if let Command::Exec(words) = &command
        && let Some(word @ ("CMD" | "CMD-SHELL" | "NONE")) = words.first().map(String::as_str)
    {
        let word = word.to_owned();
        desk.refuse(node.place, format!("`{word}` is no program"))
            .label("expected the command itself")
            .help("a list is executed as it is; a string that uses shell syntax is given to `/bin/sh -c`");
        return None;
    }
    Some(command)
}

fn pattern(desk: &mut Desk<'_>, node: &Node) -> Option<String> {
    let text = desk.filled("log", node)?;
    if let Err(error) = regex_lite::Regex::new(&text) {
        desk.refuse(node.place, "`log` is not a regular expression").label(error.to_string()).help(
            "it is sought in each line of output; what is meant literally needs a `\\` before `.`, `(`, `[`, `*` …",
        );
        return None;
    }
    Some(text)
}

fn notify(desk: &mut Desk<'_>, node: &Node) -> Option<Check> {
    if desk.flag("notify", node)? {
        return Some(Check::Notify);
    }
    desk.refuse(node.place, "`notify` cannot be `false`")
        .label("expected `true`")
        .help("leave `ready` out, and the service is ready once it has lived for 1 s");
    None
}

fn fd(desk: &mut Desk<'_>, node: &Node) -> Option<u32> {
    let Value::Whole(number) = node.value else {
        desk.wrong("fd", node, "the number of a descriptor, such as `3`");
        return None;
    };
    let fd = u32::try_from(number).ok().filter(|fd| FDS.contains(fd));
    if fd.is_none() {
        let label = match number {
            0 => "0 is the service's input",
            1 | 2 => "1 and 2 are the service's output, which is its log",
            3.. => "so high a number may be beyond its limit of open files",
            _ => "no descriptor is negative",
        };
        let draft = desk.refuse(node.place, format!("`fd` cannot be {number}"));
        draft.label(label).help(format!("expected {} to {}", FDS.start(), FDS.end()));
    }
    fd
}
