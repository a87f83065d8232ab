//! What a role's session carries and how it is reached: `via`, `source_identity`, `tags`, `transitive_tags`.
//!
//! STS's limits (API reference of AssumeRole and of Tag) are checked here, as for the rest of `role`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::desk::{Desk, quoted};
use super::node::{Entry, Node, Place, Table, Value};
use super::role::{self, DURATION};
use super::service::Surroundings;
use super::{Role, Secs};

/// STS's most session tags.
const TAGS: usize = 50;
/// STS's `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, one letter of it.
static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{Z}\p{N}_.:/=+\-@]$").ok());

/// Into `role`, whose ARN and duration have been read.
pub(super) fn read(desk: &mut Desk<'_>, service: &str, keys: &Table, around: &Surroundings<'_>, role: &mut Role) {
    let get = |key: &str| keys.get(key).map(|entry| &entry.node);
    if let Some(node) = get("via") {
        via(desk, node, around, role);
    }
    let chained = !role.via.is_empty() && !around.base_is_a_role;
    if let Some(node) = get("duration").filter(|_| chained && role.duration > DURATION) {
        desk.warn(node.place, "AWS will cap this lease at 1h")
            .label(format!("{} are asked for", Secs(role.duration)))
            .help("`via` makes it a role that is assumed by a role: role chaining (AWS's rule)");
    }
    role.source_identity = get("source_identity").and_then(|node| source_identity(desk, node, service, around));
    if let Some(entry) = keys.get("tags") {
        role.tags = tags(desk, entry);
    }
    if let Some(node) = get("transitive_tags") {
        role.transitive_tags = transitive(desk, node, keys.get("tags"));
    }
}

/// Roles on the way, in order.
fn via(desk: &mut Desk<'_>, node: &Node, around: &Surroundings<'_>, role: &mut Role) {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        let Some(arn) = role::arn(desk, "via", item, around) else { continue };
        if arn == role.arn {
            desk.refuse(item.place, "`via` leads through the role itself")
                .label("this is the service's own role")
                .help("name only the roles on the way to it; without any, drop `via`");
        } else if role.via.contains(&arn) {
            desk.refuse(item.place, "`via` leads through a role twice").label("it was assumed before");
        } else {
            role.via.push(arn);
        }
    }
}

fn source_identity(desk: &mut Desk<'_>, node: &Node, service: &str, around: &Surroundings<'_>) -> Option<String> {
    let text = desk.raw("source_identity", node)?.to_owned();
    if text.to_ascii_lowercase().starts_with("aws:") {
        desk.refuse(node.place, "`source_identity` begins with `aws:`").label("AWS keeps that for itself");
        return None;
    }
    role::pattern(desk, "source_identity", node, service, around)
}

/// Each key and value within STS's limits; nothing is expanded.
fn tags(desk: &mut Desk<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let Some(table) = desk.table("tags", entry) else { return tags };
    if table.len() > TAGS {
        let label = format!("{} of them; STS takes at most {TAGS}", table.len());
        desk.refuse(entry.key, "too many `tags`").label(label);
    }
    for (key, entry) in table {
        let name = format!("tags.{key}");
        let twin = tags.keys().find(|known: &&String| known.to_lowercase() == key.to_lowercase()).cloned();
        if let Some(twin) = twin {
            desk.refuse(entry.key, format!("tags `{twin}` and `{key}` differ only in case"))
                .label("for STS that is one key, and twice");
        }
        check(desk, &format!("the key of `{name}`"), entry.key, key, 1..=128);
        if key.to_ascii_lowercase().starts_with("aws:") {
            desk.refuse(entry.key, format!("the tag `{key}` begins with `aws:`")).label("AWS keeps that for itself");
        }
        let Some(value) = desk.raw(&name, &entry.node).map(str::to_owned) else { continue };
        check(desk, &format!("`{name}`"), entry.node.place, &value, 0..=256);
        tags.insert(key.clone(), value);
    }
    tags
}

fn check(desk: &mut Desk<'_>, what: &str, place: Place, text: &str, length: std::ops::RangeInclusive<usize>) {
    let count = text.chars().count();
    let bad = text.chars().find(|letter| {
        let mut buffer = [0; 4];
        let letter: &str = letter.encode_utf8(&mut buffer);
        LETTER.as_ref().is_some_and(|set| !set.is_match(letter))
    });
    if let Some(letter) = bad {
        let label = format!("`{}` cannot be in it", letter.escape_debug());
        desk.refuse(place, format!("{what} is not one that STS takes"))
            .label(label)
            .help("tags take letters, digits, blanks and `_.:/=+-@`");
    } else if !length.contains(&count) {
        let label = format!("it has {count}; STS takes {} to {} characters", length.start(), length.end());
        let word = if count == 0 { "empty" } else { "too long for STS" };
        desk.refuse(place, format!("{what} is {word}")).label(label);
    }
}

fn transitive(desk: &mut Desk<'_>, node: &Node, tags: Option<&Entry>) -> Vec<String> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let known: Vec<&str> = match tags.map(|entry| &entry.node.value) {
        Some(Value::Table(table)) => table.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let mut keys: Vec<String> = Vec::new();
    for item in items {
        let Some(key) = desk.raw("transitive_tags", item).map(str::to_owned) else { continue };
        if keys.contains(&key) {
            desk.refuse(item.place, format!("`{key}` is twice in `transitive_tags`"));
        } else if known.contains(&key.as_str()) {
            keys.push(key);
        } else {
            let near = known.iter().find(|tag| tag.to_lowercase() == key.to_lowercase()).copied();
            let near = near.or_else(|| super::words::nearest(&key, known.iter().copied()));
            let draft = desk.refuse(item.place, format!("`{key}` is none of `tags`"));
            match near {
                Some(near) => draft.label(format!("did you mean `{near}`?")),
                None if known.is_empty() => draft.label("there are no `tags`"),
                None => draft.label(format!("there are {}", quoted(known.iter().copied()))),
            };
        }
    }
    keys
}
