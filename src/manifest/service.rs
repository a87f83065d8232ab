//! One `[services.NAME]`, laid over `[defaults]`, as a typed entry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::desk::{Desk, one_of};
use super::node::{Entry, Layer, Node, Place, Table, Value};
use super::references::{self, Use};
use super::words::{self, Section};
use super::{Backoff, Handover, Name, Replace, Restart, Service, StopMode};
use super::{command, dependencies, external, handover, identity, kept, readiness, role, scrub, signal, watch};

const BACKOFF: Backoff = Service::BACKOFF;
const SIGTERM: i32 = 15;

/// How listening sockets are passed (sd_listen_fds(3)).
const PASSED: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// What a service needs to know of the rest of the manifest.
pub(super) struct Surroundings<'a> {
    pub(super) project: &'a str,
    pub(super) role_prefix: Option<&'a str>,
    /// The manifest says so by `[aws] base_role`.
    pub(super) base_is_a_role: bool,
    /// Services that somebody else runs.
    pub(super) externals: &'a BTreeSet<String>,
}

/// Reads the entry; what cannot be read has been reported and holds its default. `None`: there is no command.
pub(super) fn read(
    desk: &mut Desk<'_>,
    name: &str,
    head: Place,
    table: &Table,
    around: &Surroundings<'_>,
) -> Option<Service> {
    desk.check_keys(Section::Service, table);
    if around.externals.contains(name) {
        return Some(external::read(desk, name, head, table));
    }
    let get = |key: &str| table.get(key).map(|entry| &entry.node);
    let command = get("command").and_then(|node| command::read(desk, "command", node));
    if get("command").is_none() {
        external::no_command(desk, head, table);
    }
    let role = role::read(desk, name, table, around);
    let env = get("env").map(|_| env(desk, table, role.is_some())).unwrap_or_default();
    let mut service = Service {
        command: command.clone(),
        working_dir: match get("working_dir").and_then(|node| desk.filled("working_dir", node)) {
            Some(path) => desk.path(&path),
            None => desk.dir.clone(),
        },
        env,
        env_file: match get("env_file") {
            Some(node) => desk.texts("env_file", node).into_iter().map(|(path, _)| desk.path(&path)).collect(),
            None => Vec::new(),
        },
        clean_env: get("clean_env").and_then(|node| desk.flag("clean_env", node)).unwrap_or(false),
        autostart: get("autostart").and_then(|node| desk.flag("autostart", node)).unwrap_or(true),
        depends_on: get("depends_on").map(|node| dependencies::read(desk, node, around.externals)).unwrap_or_default(),
        inherit_aws: role.is_none()
            && get("inherit_aws").and_then(|node| desk.flag("inherit_aws", node)).unwrap_or(false),
        role,
        replace: get("replace").and_then(|node| replace(desk, node)).unwrap_or(Replace::Restart),
        ports: desk.own_ports().1.iter().map(|(name, listed)| (name.clone(), listed.port.clone())).collect(),
        ready: readiness::ready(desk, table.get("ready")),
        live: table.get("live").and_then(|entry| readiness::live(desk, entry)),
        logs: table.get("logs").map(|entry| kept::read(desk, entry)).unwrap_or_default(),
        watch: get("watch").map(|node| watch::read(desk, node)).unwrap_or_default(),
        ..Service::of(Name::new(name), None, desk.dir.clone())
    };
    ending(desk, table, &mut service);
    identity::read(desk, table, &mut service);
    handover::check(desk, head, table, &service);
    check_time_to_rotate(desk, table, &service);
    command.map(|_| service)
}

/// How it ends, and what comes after.
fn ending(desk: &mut Desk<'_>, table: &Table, service: &mut Service) {
    let get = |key: &str| table.get(key).map(|entry| &entry.node);
    service.restart = get("restart").and_then(|node| restart(desk, node)).unwrap_or(Restart::OnFailure);
    service.backoff = table.get("backoff").map_or(BACKOFF, |entry| backoff(desk, entry));
    service.max_restarts = get("max_restarts").and_then(|node| max_restarts(desk, node));
    service.stop_signal = get("stop_signal").and_then(|node| stop_signal(desk, node)).unwrap_or(SIGTERM);
    service.stop_mode = get("stop_mode").and_then(|node| stop_mode(desk, node)).unwrap_or(StopMode::Group);
    service.stop_timeout = get("stop_timeout")
        .and_then(|node| desk.duration("stop_timeout", node, "0s", "1h"))
        .unwrap_or(Service::STOP_TIMEOUT);
    service.stop_command = get("stop_command").and_then(|node| command::read(desk, "stop_command", node));
}

/// A rotation must be over before the lease is: it begins at the latest at half of the lease's life.
fn check_time_to_rotate(desk: &mut Desk<'_>, table: &Table, service: &Service) {
    let Some(role) = &service.role else { return };
    // Who is forwarded may finish first: at most `stop_timeout` once more.
    let drain = if service.hands_over(Handover::Forward) { service.stop_timeout } else { Duration::ZERO };
    if drain + service.stop_timeout + service.ready_timeout() <= role.duration / 2 {
        return;
    }
    let stop = table.get("stop_timeout").map(|entry| entry.node.place);
    let ready = table.get("ready").and_then(|entry| match &entry.node.value {
        Value::Table(table) => table.get("timeout").map(|entry| entry.node.place),
        _ => None,
    });
    let ready = ready.filter(|_| service.ready.is_some());
    let lives = format!("the lease lives {}", super::Secs(role.duration));
    let both = "`stop_timeout` and `ready.timeout` together are more than half of the lease's life";
    let draft = match (stop, ready) {
        (Some(stop), None) if service.ready.is_none() => {
            desk.warn(stop, "`stop_timeout` is more than half of the lease's life").label(lives)
        }
        (Some(stop), Some(ready)) => desk.warn(stop, both).label(lives).at(ready, "and this comes on top"),
        (Some(place), None) | (None, Some(place)) => desk.warn(place, both).label(lives),
        (None, None) => return,
    };
    if !drain.is_zero() {
        draft.help("callers of a `forward` port may take `stop_timeout` to finish, before it is asked to stop");
    }
    draft.help("while it is replaced, its credentials may expire; shorten it, or give the role a longer `duration`");
}

fn env(desk: &mut Desk<'_>, table: &Table, has_role: bool) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(variables) = table.get("env").and_then(|entry| desk.table("env", entry)) else { return env };
    for (name, entry) in variables {
        check_variable(desk, name, entry.key, has_role);
        let value = match &entry.node.value {
            Value::Text(_) => desk.text_for(Use::Run, name, &entry.node),
            Value::Whole(number) => Some(number.to_string()),
            Value::Fraction(number) => Some(number.clone()),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Date | Value::List(_) | Value::Table(_) => {
                desk.wrong(name, &entry.node, "a string");
                None
            }
        };
        if let Some(value) = value {
            env.insert(name.clone(), value);
        }
    }
    env
}

fn check_variable(desk: &mut Desk<'_>, name: &str, place: Place, has_role: bool) {
    if name.is_empty() || name.contains(['=', '\0']) {
        desk.refuse(place, "not a name of a variable").label("expected a name without `=`");
    } else if references::MARKS.contains(&name) {
        desk.refuse(place, format!("`{name}` is set by devsup itself")).label("remove it");
    } else if is_of_ports(desk, name) {
        desk.refuse(place, format!("`{name}` is set by devsup itself"))
            .label("it tells a run of the service's `ports`")
            .help("remove it, or remove the port");
    } else if has_role && scrub::is_scrubbed(name) {
        desk.refuse(place, format!("`{name}` is set beside a role"))
            .label("devsup sets the AWS identity of a service with a `role`")
            .help("remove it, or remove `role`");
    }
}

fn is_of_ports(desk: &Desk<'_>, name: &str) -> bool {
    let list = desk.own_ports().1;
    let passed = list.values().any(|listed| listed.port.handover == Handover::Socket);
    (passed && PASSED.contains(&name)) || references::variables(list).iter().any(|variable| variable == name)
}

fn replace(desk: &mut Desk<'_>, node: &Node) -> Option<Replace> {
    let words = [("restart", Replace::Restart), ("overlap", Replace::Overlap)];
    let foreign = [
        ("rolling", "overlap"),
        ("rolling-update", "overlap"),
        ("rollingupdate", "overlap"),
        ("start-first", "overlap"),
        ("start_first", "overlap"),
        ("blue-green", "overlap"),
        ("zero-downtime", "overlap"),
        ("graceful", "overlap"),
        ("true", "overlap"),
        ("stop-first", "restart"),
        ("stop_first", "restart"),
        ("recreate", "restart"),
        ("stop", "restart"),
        ("false", "restart"),
    ];
    desk.choice("replace", node, &words, &foreign)
}

fn restart(desk: &mut Desk<'_>, node: &Node) -> Option<Restart> {
    let words = [("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)];
    let foreign = [
        ("unless-stopped", "always"),
        ("unless_stopped", "always"),
        ("true", "always"),
        ("yes", "always"),
        ("no", "never"),
        ("false", "never"),
        ("none", "never"),
        ("unexpected", "on-failure"),
        ("on-abnormal", "on-failure"),
        ("on-abort", "on-failure"),
        ("on_failure", "on-failure"),
        ("exit_on_failure", "on-failure"),
    ];
    if let Value::Text(text) = &node.value
        && let Some(count) = text.strip_prefix("on-failure:")
    {
        desk.refuse(node.place, format!("`restart` cannot be `{text}`"))
            .label("did you mean `on-failure`?")
            .help(format!("the count is a key of its own: `max_restarts = {count}`"));
        return None;
    }
    desk.choice("restart", node, &words, &foreign)
}

fn stop_mode(desk: &mut Desk<'_>, node: &Node) -> Option<StopMode> {
    let words = [("group", StopMode::Group), ("main", StopMode::Main)];
    let foreign = [("control-group", "group"), ("process", "main"), ("mixed", "main"), ("all", "group")];
    desk.choice("stop_mode", node, &words, &foreign)
}

fn stop_signal(desk: &mut Desk<'_>, node: &Node) -> Option<i32> {
    if let Value::Whole(number) = node.value {
        let name = i32::try_from(number).ok().and_then(signal::name);
        let draft = desk.wrong("stop_signal", node, "a signal's name");
        if let Some(name) = name {
            draft.help(format!("signal {number} is `{name}`"));
        }
        return None;
    }
    let text = desk.text("stop_signal", node)?;
    let number = signal::number(&text);
    if number.is_none() {
        let near = words::nearest(&text, signal::names());
        let draft = desk.refuse(node.place, format!("`stop_signal` cannot be `{text}`"));
        match near {
            Some(near) => draft.label(format!("did you mean `{near}`?")),
            None => draft.label("not a signal that a service can be stopped with"),
        };
        draft.help(format!("expected {}", one_of(signal::names())));
    }
    number
}

fn max_restarts(desk: &mut Desk<'_>, node: &Node) -> Option<u32> {
    if let Value::Text(text) = &node.value
        && text == "none"
    {
        return None;
    }
    desk.count("max_restarts", node)
}

fn backoff(desk: &mut Desk<'_>, entry: &Entry) -> Backoff {
    if let Value::Text(_) = entry.node.value {
        desk.wrong("backoff", &entry.node, "a table").help("`backoff = { first = \"500ms\", max = \"30s\" }`");
        return BACKOFF;
    }
    let Some(table) = desk.table("backoff", entry) else { return BACKOFF };
    desk.check_keys(Section::Backoff, table);
    let mut get = |key: &str, least: &str, most: &str| {
        table.get(key).and_then(|entry| desk.duration(key, &entry.node, least, most))
    };
    let (first, max) = (get("first", "10ms", "1h"), get("max", "10ms", "24h"));
    let reset_after = get("reset_after", "0s", "24h").unwrap_or(BACKOFF.reset_after);
    // One that is not said follows the one that is.
    let (first, max) = match (first, max) {
        (Some(first), None) => (first, BACKOFF.max.max(first)),
        (None, Some(max)) => (BACKOFF.first.min(max), max),
        (first, max) => (first.unwrap_or(BACKOFF.first), max.unwrap_or(BACKOFF.max)),
    };
    if max < first
        && let Some(entry) = table.get("max")
    {
        desk.refuse(entry.node.place, "`backoff.max` is shorter than `backoff.first`").label("expected the longer one");
    }
    Backoff { first, max, reset_after }
}

/// Checks a service's name and says what it could be instead.
pub(super) fn check_name(desk: &mut Desk<'_>, name: &str, place: Place) {
    if is_name(name) {
        return;
    }
    let draft = desk.refuse(place, format!("`{name}` is not a name for a service"));
    draft.label("expected `a-z`, `0-9`, `-` and `_`, at most 40 of them, a letter or digit first");
    let better = better_name(name);
    if is_name(&better) {
        draft.help(format!("did you mean `{better}`?"));
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= 40
        && name.starts_with(plain)
        && name.chars().all(|letter| plain(letter) || letter == '-' || letter == '_')
}

/// The name with everything that may not be in it made a `-`.
pub(super) fn better_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| letter.to_ascii_lowercase())
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' })
        .collect();
    let mut name = name.trim_matches(['-', '_']).to_owned();
    name.truncate(40);
    name
}

/// `role` and `inherit_aws` exclude each other; what the entry says itself beats `[defaults]`.
pub(super) fn inherits_instead(desk: &mut Desk<'_>, table: &Table, arn: Place) -> bool {
    let Some(entry) = table.get("inherit_aws") else { return false };
    if !matches!(entry.node.value, Value::Flag(true)) {
        return false;
    }
    if entry.key.layer == arn.layer {
        desk.refuse(entry.key, "`inherit_aws` beside a `role`")
            .label("the base identity, or a role of its own?")
            .at(arn, "the role is here")
            .help("keep one of them");
        return false;
    }
    entry.key.layer == Layer::Own
}
