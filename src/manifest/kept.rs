//! `logs` of a service and `[logs]` of the project: how much is kept, and what is masked in it.

use super::desk::Desk;
use super::node::{Entry, Node, Value};
use super::words::Section;
use super::{Logs, size};

/// A keeper appends up to a megabyte at once.
const LEAST_FILE: u64 = 64 << 10;
const LEAST_TOTAL: u64 = 1 << 20;

pub(super) fn read(desk: &mut Desk<'_>, entry: &Entry) -> Logs {
    let mut logs = Logs::default();
    let Some(table) = desk.table("logs", entry) else { return logs };
    desk.check_keys(Section::Logs, table);
    let node = |key: &str| table.get(key).map(|entry| &entry.node);
    let total = node("total").and_then(|node| bytes(desk, "total", node, LEAST_TOTAL));
    let file = node("file").and_then(|node| bytes(desk, "file", node, LEAST_FILE));
    // One that is not said follows the one that is.
    logs.total = total.unwrap_or_else(|| logs.total.max(file.unwrap_or_default()));
    logs.file = file.unwrap_or_else(|| logs.file.min(logs.total));
    if logs.file > logs.total
        && let Some(node) = node("file")
    {
        desk.refuse(node.place, "`logs.file` is more than `logs.total`").label("expected at most the total");
    }
    if let Some(node) = node("redact") {
        logs.redact = patterns(desk, node);
    }
    logs
}

/// `[logs] max_total`.
pub(super) fn in_all(desk: &mut Desk<'_>, entry: &Entry) -> Option<u64> {
    let table = desk.table("logs", entry)?;
    desk.check_keys(Section::AllLogs, table);
    table.get("max_total").and_then(|entry| bytes(desk, "max_total", &entry.node, LEAST_TOTAL))
}

fn bytes(desk: &mut Desk<'_>, key: &str, node: &Node, least: u64) -> Option<u64> {
    if !matches!(node.value, Value::Text(_)) {
        desk.wrong(key, node, "a size such as `\"64MiB\"`");
        return None;
    }
    let text = desk.text(key, node)?;
    let Some(bytes) = size::parse(&text) else {
        let draft = desk.refuse(node.place, format!("`{key}` cannot be `{text}`"));
        match size::meant(&text) {
            Some(meant) => draft.label(format!("did you mean `{meant}`?")),
            None => draft.label("expected a size such as `64MiB`"),
        };
        return None;
    };
    if bytes < least {
        let least = size::show(least);
        desk.refuse(node.place, format!("`{key}` is too little")).label(format!("expected at least `{least}`"));
        return None;
    }
    Some(bytes)
}

fn patterns(desk: &mut Desk<'_>, node: &Node) -> Vec<String> {
    let mut good = Vec::new();
    for (pattern, place) in desk.texts("redact", node) {
        match regex::bytes::Regex::new(&pattern) {
            // It would mask between all bytes.
            Ok(regex) if regex.is_match(b"") => {
                desk.refuse(place, "this pattern matches nothing at all, everywhere")
                    .label("expected one that needs a byte at least")
                    .help("`.+` or `\\S+` where it says `.*`");
            }
            Ok(_) => good.push(pattern),
            Err(error) => {
                let text = error.to_string();
                let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                desk.refuse(place, "this is not a regular expression").label(what);
            }
        }
    }
    good
}

/// As an inline table.
pub(super) fn show(logs: &Logs) -> String {
    let redact: Vec<String> = logs.redact.iter().map(|pattern| super::print::text(pattern)).collect();
    let (total, file) = (size::show(logs.total), size::show(logs.file));
    format!("{{ total = \"{total}\", file = \"{file}\", redact = [{}] }}", redact.join(", "))
}
