//! `limits` out of its table.

use super::desk::{Desk, parse_duration};
use super::node::{Entry, Node, Table, Value};
use super::words::Section;
use super::{Limits, Resource, Rlimit, size};

/// A tree with less memory than this never gets through its own start; it was meant in another unit.
const LEAST_MEMORY: u64 = 1 << 20;

/// `None`: unlimited.
type Amount = Option<u64>;

/// What an amount is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Bytes,
    Seconds,
    Things,
}

fn of(resource: Resource) -> Of {
    match resource {
        Resource::As | Resource::Core | Resource::Data | Resource::Fsize | Resource::Memlock | Resource::Stack => {
            Of::Bytes
        }
        Resource::Cpu => Of::Seconds,
        Resource::Nofile | Resource::Nproc => Of::Things,
    }
}

pub(super) fn read(desk: &mut Desk<'_>, entry: &Entry) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = desk.table("limits", entry) else { return limits };
    desk.check_keys(Section::Limits, table);
    for resource in Resource::ALL {
        let word = resource.word();
        if let Some(limit) = table.get(word).and_then(|entry| rlimit(desk, word, of(resource), entry)) {
            limits.resources.insert(resource, limit);
        }
    }
    let mut whole = |key: &str, of: Of, least: u64, label: &str| {
        let node = &table.get(key)?.node;
        let amount = amount(desk, key, of, node)??;
        if amount < least {
            desk.refuse(node.place, format!("`{key}` is too little")).label(label);
        }
        Some(amount)
    };
    limits.memory = whole("memory", Of::Bytes, LEAST_MEMORY, "a number is of bytes; expected at least `1MiB`");
    limits.pids = whole("pids", Of::Things, 1, "the service itself is one");
    limits
}

/// One amount for both, or `{ soft, hard }`.
fn rlimit(desk: &mut Desk<'_>, word: &str, of: Of, entry: &Entry) -> Option<Rlimit> {
    let Value::Table(table) = &entry.node.value else {
        let both = amount(desk, word, of, &entry.node)?;
        return Some(Rlimit { soft: both, hard: both });
    };
    desk.check_keys(Section::Limit, table);
    for (missing, other) in [("soft", "hard"), ("hard", "soft")] {
        if !table.contains_key(missing) && table.keys().all(|key| key == other) {
            let both = table.get(other).map_or(example(of), |entry| desk.typed(entry.node.place)).to_owned();
            desk.refuse(entry.key, format!("`limits.{word}` has no `{missing}`"))
                .absent()
                .label("expected `soft` and `hard`")
                .help(format!("one amount for both is shorter: `{word} = {both}`"));
            return None;
        }
    }
    let [soft, hard] = ["soft", "hard"].map(|key| table.get(key).and_then(|entry| amount(desk, key, of, &entry.node)));
    let (soft, hard) = (soft?, hard?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        say_over(desk, word, table);
        return None;
    }
    Some(Rlimit { soft, hard })
}

fn say_over(desk: &mut Desk<'_>, word: &str, table: &Table) {
    let place = |key: &str| table.get(key).map(|entry| entry.node.place);
    if let (Some(soft), Some(hard)) = (place("soft"), place("hard")) {
        desk.refuse(soft, format!("`limits.{word}.soft` is over `hard`"))
            .label("expected at most `hard`")
            .at(hard, "which is this");
    }
}

fn amount(desk: &mut Desk<'_>, key: &str, of: Of, node: &Node) -> Option<Amount> {
    match &node.value {
        Value::Whole(number) => {
            // The kernel's "unlimited" is the largest number of 64 bits.
            let amount = u64::try_from(*number).ok().filter(|amount| *amount < u64::MAX);
            if amount.is_none() {
                let draft = desk.refuse(node.place, format!("`{key}` is out of range"));
                draft.label(if *number < 0 { "a limit cannot be negative" } else { "too large" });
                draft.help(format!("no limit is `{key} = \"unlimited\"`"));
            }
            amount.map(Some)
        }
        Value::Text(_) => {
            let text = desk.text(key, node)?;
            if text == "unlimited" {
                return Some(None);
            }
            let amount = match of {
                Of::Bytes => size::parse(&text),
                Of::Seconds => parse_duration(&text).filter(|span| span.subsec_nanos() == 0).map(|span| span.as_secs()),
                Of::Things => None,
            };
            if amount.is_none() {
                not_an_amount(desk, key, of, node, &text);
            }
            amount.map(Some)
        }
        _ => {
            desk.wrong(key, node, expected(of));
            None
        }
    }
}

fn not_an_amount(desk: &mut Desk<'_>, key: &str, of: Of, node: &Node, text: &str) {
    let draft = desk.refuse(node.place, format!("`{key}` cannot be `{text}`"));
    draft.label(format!("expected {}", expected(of)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if ["infinity", "infinite", "none", "max", "-1", "inf"].contains(&text.to_lowercase().as_str()) {
        draft.label("did you mean `unlimited`?");
    } else if is_number(text) {
        draft.help(format!("a number needs no quotes: `{key} = {text}`"));
    } else if let Some((soft, hard)) = text.split_once(':').filter(|(soft, hard)| is_number(soft) && is_number(hard)) {
        draft.help(format!("`{key} = {{ soft = {soft}, hard = {hard} }}`"));
    } else if of == Of::Bytes
        && let Some(meant) = size::meant(text)
    {
        draft.label(format!("did you mean `{meant}`?"));
    }
}

fn expected(of: Of) -> &'static str {
    match of {
        Of::Bytes => "a number of bytes, a size such as `64MiB`, or `unlimited`",
        Of::Seconds => "a number of seconds, a duration such as `10m`, or `unlimited`",
        Of::Things => "a whole number, or `unlimited`",
    }
}

fn example(of: Of) -> &'static str {
    match of {
        Of::Bytes => "\"64MiB\"",
        Of::Seconds => "\"10m\"",
        Of::Things => "4096",
    }
}

/// As it is read again.
pub(super) fn show(limits: &Limits) -> String {
    let mut all: Vec<String> = Vec::new();
    for (resource, limit) in &limits.resources {
        let [soft, hard] = [limit.soft, limit.hard].map(|amount| show_amount(of(*resource), amount));
        let word = resource.word();
        if soft == hard {
            all.push(format!("{word} = {soft}"));
        } else {
            all.push(format!("{word} = {{ soft = {soft}, hard = {hard} }}"));
        }
    }
    all.extend(limits.memory.map(|bytes| format!("memory = {}", show_amount(Of::Bytes, Some(bytes)))));
    all.extend(limits.pids.map(|count| format!("pids = {count}")));
    if all.is_empty() { "{}".into() } else { format!("{{ {} }}", all.join(", ")) }
}

fn show_amount(of: Of, amount: Amount) -> String {
    match (amount, of) {
        (None, _) => "\"unlimited\"".into(),
        (Some(0), _) => "0".into(),
        (Some(bytes), Of::Bytes) => format!("\"{}\"", size::show(bytes)),
        (Some(count), Of::Seconds | Of::Things) => count.to_string(),
    }
}
