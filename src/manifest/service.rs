//! One `[services.NAME]`, laid over `[defaults]`, as a typed entry.

use std::collections::BTreeMap;

use super::command::{self, Way};
use super::desk::{Desk, one_of};
use super::node::{Entry, Layer, Node, Place, Table, Value};
use super::words::{self, Section};
use super::{Backoff, Command, Condition, Dependency, Name, Restart, Service, StopMode, role, scrub, signal};

const BACKOFF: Backoff = Service::BACKOFF;
const SIGTERM: i32 = 15;

/// Variables that say who a run is; devsup sets them and nobody else.
const MARKS: &[&str] = &["DEVSUP", "DEVSUP_SERVICE", "DEVSUP_RUN"];

/// What a service needs to know of the rest of the manifest.
pub(super) struct Surroundings<'a> {
    pub(super) project: &'a str,
    pub(super) role_prefix: Option<&'a str>,
    /// The manifest says so by `[aws] base_role`.
    pub(super) base_is_a_role: bool,
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
    let get = |key: &str| table.get(key).map(|entry| &entry.node);
    let command = get("command").and_then(|node| command(desk, "command", node));
    if get("command").is_none() {
        no_command(desk, head, table);
    }
    let role = role::read(desk, name, table, around);
    let env = get("env").map(|_| env(desk, table, role.is_some())).unwrap_or_default();
    let service = Service {
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
        depends_on: get("depends_on").map(|node| depends_on(desk, node)).unwrap_or_default(),
        restart: get("restart").and_then(|node| restart(desk, node)).unwrap_or(Restart::OnFailure),
        backoff: table.get("backoff").map_or(BACKOFF, |entry| backoff(desk, entry)),
        max_restarts: get("max_restarts").and_then(|node| max_restarts(desk, node)),
        stop_signal: get("stop_signal").and_then(|node| stop_signal(desk, node)).unwrap_or(SIGTERM),
        stop_mode: get("stop_mode").and_then(|node| stop_mode(desk, node)).unwrap_or(StopMode::Group),
        stop_timeout: get("stop_timeout")
            .and_then(|node| desk.duration("stop_timeout", node, "0s", "1h"))
            .unwrap_or(Service::STOP_TIMEOUT),
        stop_command: get("stop_command").and_then(|node| self::command(desk, "stop_command", node)),
        inherit_aws: role.is_none()
            && get("inherit_aws").and_then(|node| desk.flag("inherit_aws", node)).unwrap_or(false),
        role,
        ..Service::of(Name::new(name), None, desk.dir.clone())
    };
    check_stop_timeout(desk, get("stop_timeout"), &service);
    command.map(|_| service)
}

/// A rotation must be over before the lease is: it begins at the latest at half of the lease's life.
fn check_stop_timeout(desk: &mut Desk<'_>, node: Option<&Node>, service: &Service) {
    let (Some(node), Some(role)) = (node, &service.role) else { return };
    if service.stop_timeout > role.duration / 2 {
        desk.warn(node.place, "`stop_timeout` is more than half of the lease's life")
            .label(format!("the lease lives {}", super::Secs(role.duration)))
            .help("while it stops, its credentials may expire; shorten it, or give the role a longer `duration`");
    }
}

fn no_command(desk: &mut Desk<'_>, head: Place, table: &Table) {
    let probed = table.contains_key("ready") || table.contains_key("ports");
    // A word for `command` from elsewhere, or a slip, is reported as such; saying it twice helps nobody.
    let meant = |key: &String| {
        matches!(
            words::answer(Section::Service, key),
            words::Answer::Ours { key: "command", .. } | words::Answer::Near("command")
        )
    };
    if table.keys().any(|key| !Section::Service.keys().contains(&key.as_str()) && meant(key)) {
        return;
    }
    let draft = desk.refuse(head, "`command` is missing").absent();
    draft.label("what is to be run?");
    if probed {
        draft.help("a service without a command is an external one, which is not yet supported in this version");
    } else {
        draft.help("add `command = [\"./program\", \"--flag\"]`");
    }
}

/// A command as a list of words or as one line.
fn command(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Command> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            desk.refuse(node.place, format!("`{key}` is empty")).label("expected a program and its arguments");
            None
        }
        Value::List(items) => {
            let words: Vec<Option<String>> = items.iter().map(|item| desk.text(key, item)).collect();
            let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
            if words.first().is_some_and(|program| program.trim().is_empty()) {
                desk.refuse(items[0].place, format!("`{key}` has no program")).label("the first word is empty");
                return None;
            }
            Some(Command::Exec(words))
        }
        Value::Text(_) => line(desk, key, node),
        _ => {
            desk.wrong(key, node, "a string or a list of strings");
            None
        }
    }
}

fn line(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Command> {
    let text = desk.raw(key, node)?.to_owned();
    if text.trim().is_empty() {
        desk.refuse(node.place, format!("`{key}` is empty")).label("expected a program and its arguments");
        return None;
    }
    match command::way(&text) {
        Way::OpenQuote(quote) => {
            desk.refuse(node.place, format!("`{key}` has an unbalanced quote"))
                .label(format!("a `{quote}` is opened and not closed"))
                .help("a list needs no quotes: `command = [\"echo\", \"it's\"]`");
            None
        }
        Way::Shell => desk.expand(&text, node.place).map(Command::Shell),
        Way::Words => {
            let words = command::words(&text).unwrap_or_default();
            let words: Vec<Option<String>> = words.iter().map(|word| desk.expand(word, node.place)).collect();
            let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
            if words.first().is_none_or(|program| program.trim().is_empty()) {
                desk.refuse(node.place, format!("`{key}` has no program")).label("the first word is empty");
                return None;
            }
            Some(Command::Exec(words))
        }
    }
}

fn env(desk: &mut Desk<'_>, table: &Table, has_role: bool) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(variables) = table.get("env").and_then(|entry| desk.table("env", entry)) else { return env };
    for (name, entry) in variables {
        check_variable(desk, name, entry.key, has_role);
        let value = match &entry.node.value {
            Value::Text(_) => desk.text(name, &entry.node),
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
    } else if MARKS.contains(&name) {
        desk.refuse(place, format!("`{name}` is set by devsup itself")).label("remove it");
    } else if has_role && scrub::is_scrubbed(name) {
        desk.refuse(place, format!("`{name}` is set beside a role"))
            .label("devsup sets the AWS identity of a service with a `role`")
            .help("remove it, or remove `role`");
    }
}

fn depends_on(desk: &mut Desk<'_>, node: &Node) -> BTreeMap<Name, Dependency> {
    const STARTED: Dependency = Dependency { condition: Condition::Started, restart: false };
    let mut all = BTreeMap::new();
    match &node.value {
        Value::Table(table) => {
            for (name, entry) in table {
                all.insert(Name::new(name), dependency(desk, entry).unwrap_or(STARTED));
            }
        }
        Value::List(_) | Value::Text(_) => {
            for (name, place) in desk.texts("depends_on", node) {
                if all.insert(Name::new(&name), STARTED).is_some() {
                    desk.refuse(place, format!("`depends_on` names `{name}` twice")).label("once is enough");
                }
            }
        }
        _ => {
            desk.wrong("depends_on", node, "a list of services, or a table `{ db = \"started\" }`");
        }
    }
    all
}

fn dependency(desk: &mut Desk<'_>, entry: &Entry) -> Option<Dependency> {
    match &entry.node.value {
        Value::Table(table) => {
            desk.check_keys(Section::Dependency, table);
            let restart = table.get("restart").and_then(|entry| desk.flag("restart", &entry.node));
            let condition = match table.get("condition") {
                Some(entry) => condition(desk, &entry.node)?,
                None => Condition::Started,
            };
            Some(Dependency { condition, restart: restart.unwrap_or(false) })
        }
        _ => Some(Dependency { condition: condition(desk, &entry.node)?, restart: false }),
    }
}

fn condition(desk: &mut Desk<'_>, node: &Node) -> Option<Condition> {
    const LATER: [(&str, &str); 7] = [
        ("ready", "ready"),
        ("completed", "completed"),
        ("service_healthy", "ready"),
        ("process_healthy", "ready"),
        ("healthy", "ready"),
        ("service_completed_successfully", "completed"),
        ("process_completed_successfully", "completed"),
    ];
    let foreign = [("service_started", "started"), ("process_started", "started")];
    if let Value::Text(text) = &node.value
        && let Some((word, ours)) = LATER.iter().find(|(word, _)| word == text)
    {
        let title = format!("condition `{ours}` is not yet supported in this version");
        let draft = desk.refuse(node.place, title);
        draft.label("write `started` for now");
        if word != ours {
            draft.help(format!("devsup calls `{word}` `{ours}`"));
        }
        return None;
    }
    desk.choice("condition", node, &[("started", Condition::Started)], &foreign)
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
