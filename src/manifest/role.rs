//! `role` of a service: a string, or a table of everything AssumeRole is asked with. STS's limits are checked here, offline
//! (API reference of AssumeRole), so that a wrong length is a line of the manifest and not a refusal of AWS.
//!
//! Nothing is expanded in `role`: which production role a service gets must be readable in the file.

use std::time::Duration;

use super::desk::Desk;
use super::node::{Entry, Node, Place, Table, Value};
use super::service::{Surroundings, inherits_instead};
use super::words::Section;
use super::{Delivery, Role, RoleArn, Token, arn, session};

pub(super) const DURATION: Duration = Duration::from_hours(1);
pub(super) const SESSION_NAME: &str = "devsup-{user}-{service}";
/// Renewed at half of its life it never has under 15 minutes left, which is the widest window of an SDK (botocore's).
const RENEWED: Duration = Duration::from_mins(30);
const PLACEHOLDERS: [&str; 4] = ["{user}", "{service}", "{host}", "{project}"];
/// Inline and managed session policies together, in characters of plain text.
const POLICY_LENGTH: usize = 2048;

/// Reads the service's role. `None`: it has none, or none that can be read.
pub(super) fn read(desk: &mut Desk<'_>, service: &str, table: &Table, around: &Surroundings<'_>) -> Option<Role> {
    let entry = table.get("role")?;
    if let Value::Text(_) = entry.node.value {
        let arn = arn(desk, "role", &entry.node, around)?;
        return (!inherits_instead(desk, table, entry.key)).then(|| plain(arn));
    }
    let Value::Table(keys) = &entry.node.value else {
        desk.wrong("role", &entry.node, "a role's ARN, or a table with `arn`");
        return None;
    };
    desk.check_keys(Section::Role, keys);
    let Some(arn_entry) = keys.get("arn") else {
        no_arn(desk, entry, keys);
        let _settings = settings(desk, service, keys, around, RoleArn::checked(""));
        return None;
    };
    let arn = arn(desk, "role", &arn_entry.node, around);
    let role = settings(desk, service, keys, around, arn.clone().unwrap_or_else(|| RoleArn::checked("")));
    let inherits = inherits_instead(desk, table, arn_entry.key);
    arn.filter(|_| !inherits).map(|_| role)
}

/// Settings in `[defaults.role]` alone make no role; settings of the service itself want one.
fn no_arn(desk: &mut Desk<'_>, entry: &Entry, keys: &Table) {
    let own = keys.values().map(|key| key.key).find(|key| key.layer == super::node::Layer::Own);
    if own.is_some() || (keys.is_empty() && entry.key.layer == super::node::Layer::Own) {
        desk.refuse(entry.key, "`role` has no `arn`")
            .label("which role?")
            .help("add `arn = \"arn:aws:iam::033145145979:role/service-a\"`")
            .absent();
    }
}

fn plain(arn: RoleArn) -> Role {
    Role { duration: DURATION, session_name: SESSION_NAME.into(), ..Role::of(arn) }
}

fn settings(desk: &mut Desk<'_>, service: &str, keys: &Table, around: &Surroundings<'_>, arn: RoleArn) -> Role {
    let get = |key: &str| keys.get(key).map(|entry| &entry.node);
    let mut role = plain(arn);
    if let Some(node) = get("duration") {
        role.duration = desk.duration("duration", node, "15m", "12h").unwrap_or(DURATION);
    }
    if let Some(node) = get("duration").filter(|_| around.base_is_a_role && role.duration > DURATION) {
        desk.warn(node.place, "AWS will cap this lease at 1h")
            .label("more is for base identities that are no role themselves")
            .help("`[aws] base_role` says that devsup is a role: role chaining (AWS's rule)");
    }
    if let Some(node) = get("rotate_before") {
        role.rotate_before = desk.duration("rotate_before", node, "1s", "12h");
        if role.rotate_before.is_some_and(|before| before >= role.duration) {
            let duration = super::Secs(role.duration);
            let draft = desk.refuse(node.place, "`rotate_before` is not shorter than `duration`");
            draft.label(format!("the lease lives {duration}; it would be replaced before it is held"));
        }
    }
    if let Some(node) = get("delivery") {
        let words = [("env", Delivery::Env), ("endpoint", Delivery::Endpoint), ("process", Delivery::Process)];
        role.delivery = desk.choice("delivery", node, &words, &[]).unwrap_or(Delivery::Env);
    }
    if let Some(node) = get("delivery").filter(|_| role.delivery != Delivery::Env && role.duration < RENEWED) {
        let lives = super::Secs(role.duration);
        desk.warn(node.place, "some SDKs ask at every use when a lease is this short")
            .label(format!("it lives {lives}; boto3 asks again whenever under 15m are left"))
            .help("`duration = \"30m\"` or more");
    }
    if let Some(node) = get("token") {
        role.token = desk.choice("token", node, &[("env", Token::Env), ("file", Token::File)], &[]).unwrap_or_default();
        if role.delivery != Delivery::Endpoint {
            desk.refuse(node.place, "`token` without `delivery = \"endpoint\"`")
                .label("only the endpoint asks for a token");
        }
    }
    role.external_id = get("external_id").and_then(|node| external_id(desk, node));
    if let Some(name) = get("session_name").and_then(|node| pattern(desk, "session_name", node, service, around)) {
        role.session_name = name;
    }
    session::read(desk, service, keys, around, &mut role);
    role.policy = get("policy").and_then(|node| policy(desk, node));
    role.policy_arns = get("policy_arns").map(|node| policy_arns(desk, node)).unwrap_or_default();
    let managed: usize = role.policy_arns.iter().map(|arn| arn.chars().count()).sum();
    let sum = role.policy.as_deref().map_or(0, |policy| policy.chars().count()) + managed;
    if sum > POLICY_LENGTH
        && let Some(node) = get("policy").or_else(|| get("policy_arns"))
    {
        desk.refuse(node.place, "the session policies are too long for STS")
            .label(format!("{sum} characters with `policy_arns`, minified; STS takes {POLICY_LENGTH}"));
    }
    role
}

/// A role's ARN, or what follows `role_prefix`.
pub(super) fn arn(desk: &mut Desk<'_>, key: &str, node: &Node, around: &Surroundings<'_>) -> Option<RoleArn> {
    let text = desk.raw(key, node)?.to_owned();
    let whole = match around.role_prefix {
        Some(prefix) if !text.starts_with("arn:") && !text.is_empty() => {
            format!("{prefix}{}", text.trim_start_matches('/'))
        }
        _ => text.clone(),
    };
    let Err(bad) = arn::check_role(&whole) else { return Some(RoleArn::checked(&whole)) };
    let bare = around.role_prefix.is_none() && !text.is_empty() && text.chars().all(|l| arn::is_word(l) || l == '/');
    let draft = desk.refuse(node.place, format!("`{text}` is not a role's ARN"));
    draft.label(bad.label);
    if let Some(help) = bad.help {
        draft.help(help);
    }
    if bare {
        draft.help("or set `role_prefix = \"arn:aws:iam::ACCOUNT:role/\"` in `[aws]`, and a name is enough");
    }
    None
}

fn external_id(desk: &mut Desk<'_>, node: &Node) -> Option<String> {
    let text = desk.raw("external_id", node)?.to_owned();
    limits(desk, "external_id", node.place, &text, 2..=1224, ":/")?;
    Some(text)
}

/// Length and letters as STS wants them: `[\w+=,.@-]` and `more`.
fn limits(
    desk: &mut Desk<'_>,
    key: &str,
    place: Place,
    text: &str,
    length: std::ops::RangeInclusive<usize>,
    more: &str,
) -> Option<()> {
    let count = text.chars().count();
    if let Some(letter) = text.chars().find(|letter| !arn::is_word(*letter) && !more.contains(*letter)) {
        let draft = desk.refuse(place, format!("`{key}` is not one that STS takes"));
        let what = if letter == ' ' { "a space".to_owned() } else { format!("`{letter}`") };
        draft.label(format!("{what} cannot be in it: expected letters, digits and `_+=,.@-{more}`"));
        if letter == '$' {
            draft.help("nothing is expanded in `role`");
        }
        return None;
    }
    if !length.contains(&count) {
        let word = if count < *length.start() { "too short" } else { "too long" };
        desk.refuse(place, format!("`{key}` is {word} for STS")).label(format!(
            "it has {count}; STS takes {} to {} characters",
            length.start(),
            length.end()
        ));
        return None;
    }
    Some(())
}

/// A name of 2 to 64 letters in which places are filled in at every ask.
pub(super) fn pattern(
    desk: &mut Desk<'_>,
    key: &str,
    node: &Node,
    service: &str,
    around: &Surroundings<'_>,
) -> Option<String> {
    let text = desk.raw(key, node)?.to_owned();
    let user = (desk.env)("USER").or_else(|| (desk.env)("LOGNAME")).unwrap_or_else(|| "user".into());
    // The host is not known here: one letter, so that no name is refused for a machine it does not run on.
    let values = [user.as_str(), service, "h", around.project];
    let mut expanded = text.clone();
    for (placeholder, value) in PLACEHOLDERS.iter().zip(values) {
        let value: String = value.chars().map(|letter| if arn::is_word(letter) { letter } else { '-' }).collect();
        expanded = expanded.replace(placeholder, &value);
    }
    if let Some(open) = expanded.find('{') {
        let end = expanded[open..].find('}').map_or(expanded.len(), |end| open + end + 1);
        let unknown = expanded[open..end].to_owned();
        let draft = desk.refuse(node.place, format!("`{unknown}` is not known in `{key}`"));
        draft.label("expected `{user}`, `{service}`, `{host}` or `{project}`");
        return None;
    }
    limits(desk, key, node.place, &expanded, 2..=64, "")?;
    Some(text)
}

/// Inline JSON, or the path of a file that holds it; minified, as its length counts.
fn policy(desk: &mut Desk<'_>, node: &Node) -> Option<String> {
    let text = desk.raw("policy", node)?.to_owned();
    let (json, whose) = if text.trim_start().starts_with('{') {
        (text, "`policy`".to_owned())
    } else {
        let path = desk.path(&text);
        match std::fs::read_to_string(&path) {
            Ok(json) => (json, format!("`{text}`")),
            Err(error) => {
                desk.refuse(node.place, format!("`policy` cannot be read from `{text}`"))
                    .label(reason(&error))
                    .help("expected JSON that begins with `{`, or the path of a file that holds it");
                return None;
            }
        }
    };
    let value: serde_json::Value = match serde_json::from_str(&json) {
        Ok(value) => value,
        Err(error) => {
            desk.refuse(node.place, format!("{whose} is not JSON")).label(error.to_string());
            return None;
        }
    };
    if !value.get("Statement").is_some_and(|statement| statement.is_array() || statement.is_object()) {
        desk.refuse(node.place, format!("{whose} is not an IAM policy")).label("it has no `Statement`");
        return None;
    }
    Some(value.to_string())
}

fn policy_arns(desk: &mut Desk<'_>, node: &Node) -> Vec<String> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.len() > 10 {
        let label = format!("{} of them; STS takes at most 10", items.len());
        desk.refuse(node.place, "too many `policy_arns`").label(label);
    }
    let mut arns = Vec::new();
    for item in items {
        let Some(text) = desk.raw("policy_arns", item).map(str::to_owned) else { continue };
        if arn::is_policy(&text) {
            arns.push(text);
        } else {
            desk.refuse(item.place, format!("`{text}` is not a policy's ARN"))
                .label("a policy's ARN looks like `arn:aws:iam::aws:policy/ReadOnlyAccess`");
        }
    }
    arns
}

/// An I/O error in a person's words.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "you may not read it".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8".into(),
        kind => kind.to_string(),
    }
}
