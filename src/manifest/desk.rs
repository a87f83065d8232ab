//! Where a manifest is read: takes values out of the tree by type, and keeps what is wrong with them.
//!
//! Nothing stops at the first fault: a value that cannot be read is reported and answered with `None`, and the reader
//! goes on with a default, as the manifest as a whole is refused anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::interpolate::{self, Unexpanded, Why};
use super::node::{Entry, Node, Place, Table, Value};
use super::port_list::PortList;
use super::problem::{Draft, Severity, SourceText};
use super::references::{self, Use};
use super::scrub;
use super::words::{self, Answer, Section};

pub(super) struct Desk<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// The manifest's folder.
    pub(super) dir: PathBuf,
    pub(super) sources: Vec<SourceText>,
    pub(super) found: Vec<Draft>,
    /// Values of secret variables that were put into other texts; never shown.
    pub(super) secrets: BTreeSet<String>,
    /// Of every service, by name; read before anything that may refer to them.
    pub(super) ports: BTreeMap<String, PortList>,
    /// Services that somebody else runs.
    pub(super) externals: BTreeSet<String>,
    /// The service that is being read.
    subject: Option<String>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>, dir: &Path) -> Self {
        Self {
            env,
            dir: dir.to_owned(),
            sources: Vec::new(),
            found: Vec::new(),
            secrets: BTreeSet::new(),
            ports: BTreeMap::new(),
            externals: BTreeSet::new(),
            subject: None,
        }
    }

    /// Problems found meanwhile belong to this service, unless they stand in `[defaults]`.
    pub(super) fn about<T>(&mut self, subject: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.found.len();
        self.subject = Some(subject.to_owned());
        let answer = read(self);
        self.subject = None;
        let subject = format!("service `{subject}`");
        for draft in &mut self.found[before..] {
            draft.prefix(if draft.in_defaults() { "[defaults]" } else { &subject });
        }
        answer
    }

    /// The service that is being read, and its ports.
    pub(super) fn own_ports(&self) -> (&str, &PortList) {
        static NONE: PortList = PortList::new();
        let name = self.subject.as_deref().unwrap_or_default();
        (name, self.ports.get(name).unwrap_or(&NONE))
    }

    pub(super) fn refuse(&mut self, place: Place, title: impl Into<String>) -> &mut Draft {
        let draft = self.push(title);
        draft.at(place, "")
    }

    /// A problem without a place in a file.
    pub(super) fn push(&mut self, title: impl Into<String>) -> &mut Draft {
        let at = self.found.len();
        self.found.push(Draft::new(title));
        &mut self.found[at]
    }

    pub(super) fn warn(&mut self, place: Place, title: impl Into<String>) -> &mut Draft {
        let draft = self.refuse(place, title);
        draft.severity = Severity::Warning;
        draft
    }

    pub(super) fn wrong(&mut self, key: &str, node: &Node, expected: &str) -> &mut Draft {
        let kind = node.value.kind();
        self.refuse(node.place, format!("`{key}` is {kind}")).label(format!("expected {expected}"))
    }

    /// Reports every key that this table does not have.
    pub(super) fn check_keys(&mut self, section: Section, table: &Table) {
        for (key, entry) in table {
            if !section.keys().contains(&key.as_str()) {
                self.unknown_key(section, key, entry.key);
            }
        }
    }

    fn unknown_key(&mut self, section: Section, key: &str, place: Place) {
        match words::answer(section, key) {
            Answer::Ours { key: ours, note } => {
                let draft = self.refuse(place, format!("unknown key `{key}`"));
                draft.label(format!("devsup calls this `{ours}`"));
                if !note.is_empty() {
                    draft.help(note);
                }
            }
            Answer::Near(near) => {
                self.refuse(place, format!("unknown key `{key}`")).label(format!("did you mean `{near}`?"));
            }
            Answer::Elsewhere(other) => {
                self.refuse(place, format!("unknown key `{key}`")).label(format!("this belongs in {}", other.header()));
            }
            Answer::Nothing => {
                let known = quoted(section.keys().iter().copied());
                let title = format!("unknown key `{key}`");
                let label = format!("not a key of {}", section.header());
                self.refuse(place, title).label(label).help(format!("it has {known}"));
            }
        }
    }

    pub(super) fn table<'t>(&mut self, key: &str, entry: &'t Entry) -> Option<&'t Table> {
        if let Value::Table(table) = &entry.node.value {
            return Some(table);
        }
        self.wrong(key, &entry.node, "a table");
        None
    }

    /// A string as it stands: nothing is expanded.
    pub(super) fn raw<'t>(&mut self, key: &str, node: &'t Node) -> Option<&'t str> {
        let Value::Text(text) = &node.value else {
            self.wrong(key, node, "a string");
            return None;
        };
        if text.contains('\0') {
            self.refuse(node.place, format!("`{key}` holds a NUL byte")).label("no program can be given one");
            return None;
        }
        Some(text)
    }

    /// A string with `${VAR}` expanded.
    pub(super) fn text(&mut self, key: &str, node: &Node) -> Option<String> {
        self.text_for(Use::Text, key, node)
    }

    pub(super) fn text_for(&mut self, of: Use, key: &str, node: &Node) -> Option<String> {
        let text = self.raw(key, node)?.to_owned();
        self.expand(of, &text, node.place)
    }

    /// A string that may not be empty.
    pub(super) fn filled(&mut self, key: &str, node: &Node) -> Option<String> {
        self.filled_for(Use::Text, key, node)
    }

    pub(super) fn filled_for(&mut self, of: Use, key: &str, node: &Node) -> Option<String> {
        let text = self.text_for(of, key, node)?;
        if text.trim().is_empty() {
            self.refuse(node.place, format!("`{key}` is empty"));
            return None;
        }
        Some(text)
    }

    /// Strings in a list, or a single string for a list of one.
    pub(super) fn texts(&mut self, key: &str, node: &Node) -> Vec<(String, Place)> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| Some((self.filled(key, item)?, item.place))).collect(),
            Value::Text(_) => self.filled(key, node).map(|text| (text, node.place)).into_iter().collect(),
            _ => {
                self.wrong(key, node, "a string or a list of strings");
                Vec::new()
            }
        }
    }

    pub(super) fn expand(&mut self, of: Use, text: &str, place: Place) -> Option<String> {
        let (service, _) = self.own_ports();
        let of_run = |name: &str| references::resolve(name, service, &self.ports, of);
        let expanded = interpolate::expand(text, self.env, &of_run);
        for (name, value) in expanded.used {
            if (scrub::is_secret_name(&name) || scrub::is_secret_value(&value)) && !value.is_empty() {
                self.secrets.insert(value);
            }
        }
        let whole = expanded.faults.is_empty();
        for fault in expanded.faults {
            self.unexpanded(fault, place);
        }
        whole.then_some(expanded.text)
    }

    fn unexpanded(&mut self, fault: Unexpanded, place: Place) {
        let place = self.narrowed(place, &fault.reference);
        match fault.why {
            Why::Unset(name) => self
                .refuse(place, format!("variable `{name}` is not set"))
                .label("and there is no default")
                .help(format!("export it, or give a default: `${{{name}:-value}}`; `$${{{name}}}` is meant literally")),
            Why::OfRun(refused) => self.refuse(place, refused.title).label(refused.label).help(refused.help),
            Why::Default(name) => self
                .refuse(place, format!("`{}` has a default", fault.reference))
                .label("it would never be used: devsup itself fills this for every run")
                .help(format!("write `${{{name}}}`")),
            Why::Open => self
                .refuse(place, "`${` is not closed")
                .label("expected a `}`")
                .help("a `$` that is meant literally is written `$$`"),
            Why::Malformed => self
                .refuse(place, format!("`{}` is not a reference to a variable", fault.reference))
                .label("expected `${NAME}` or `${NAME:-default}`")
                .help("a `$` that is meant literally is written `$$`"),
        };
    }

    /// The part of a value where `part` stands as it was typed; the whole value when escapes hide it.
    fn narrowed(&self, place: Place, part: &str) -> Place {
        match self.typed(place).find(part) {
            Some(at) => Place { start: place.start + at, end: place.start + at + part.len(), ..place },
            None => place,
        }
    }

    /// The source text of a place.
    pub(super) fn typed(&self, place: Place) -> &str {
        let source = self.sources.get(place.file);
        source.and_then(|source| source.text.get(place.start..place.end)).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &str, node: &Node) -> Option<bool> {
        if let Value::Flag(flag) = node.value {
            return Some(flag);
        }
        self.wrong(key, node, "`true` or `false`");
        None
    }

    pub(super) fn count(&mut self, key: &str, node: &Node) -> Option<u32> {
        let Value::Whole(number) = node.value else {
            self.wrong(key, node, "a whole number");
            return None;
        };
        let count = u32::try_from(number).ok();
        if count.is_none() {
            let label = if number < 0 { "a count cannot be negative" } else { "too large" };
            self.refuse(node.place, format!("`{key}` is out of range")).label(label);
        }
        count
    }

    /// A duration with its unit: `500ms`, `10s`, `1h30m`, within `least..=most`.
    pub(super) fn duration(&mut self, key: &str, node: &Node, least: &str, most: &str) -> Option<Duration> {
        const SHAPE: &str = "a duration such as `500ms`, `10s` or `1h30m`";
        if let Value::Whole(number) = node.value {
            let draft = self.wrong(key, node, SHAPE);
            if number >= 0 {
                draft.help(format!("with its unit: `{key} = \"{number}s\"`"));
            }
            return None;
        }
        let Value::Text(_) = node.value else {
            self.wrong(key, node, SHAPE);
            return None;
        };
        let text = self.text(key, node)?;
        let Some(duration) = parse_duration(&text) else {
            let draft = self.refuse(node.place, format!("`{key}` is not a duration"));
            draft.label(format!("expected {SHAPE}"));
            if text.trim().starts_with('-') {
                draft.label("a duration cannot be negative");
            } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                draft.help(format!("with its unit: `{key} = \"{text}s\"`"));
            }
            return None;
        };
        let within = parse_duration(least).is_none_or(|least| least <= duration)
            && parse_duration(most).is_none_or(|most| duration <= most);
        if !within {
            self.refuse(node.place, format!("`{key}` is out of range")).label(format!("expected {least} to {most}"));
        }
        within.then_some(duration)
    }

    /// One of a few words; `foreign` are words from elsewhere and ours for them.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        node: &Node,
        words: &[(&str, T)],
        foreign: &[(&str, &str)],
    ) -> Option<T> {
        let all = one_of(words.iter().map(|(word, _)| *word));
        let hint = |typed: &str| {
            let typed = typed.to_lowercase();
            let known = foreign.iter().find(|(word, _)| *word == typed).map(|(_, ours)| *ours);
            known.or_else(|| {
                let spelled = typed.replace(['_', ' '], "-");
                words.iter().map(|(word, _)| *word).find(|word| *word == spelled)
            })
        };
        if let Value::Flag(flag) = node.value {
            let draft = self.wrong(key, node, &all);
            if let Some(ours) = hint(if flag { "true" } else { "false" }) {
                draft.help(format!("did you mean `{key} = \"{ours}\"`?"));
            }
            return None;
        }
        let text = self.text(key, node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let near = hint(&text).or_else(|| words::nearest(&text, words.iter().map(|(word, _)| *word)));
        let draft = self.refuse(node.place, format!("`{key}` cannot be `{text}`"));
        match near {
            Some(near) => draft.label(format!("did you mean `{near}`?")).help(format!("expected {all}")),
            None => draft.label(format!("expected {all}")),
        };
        None
    }

    /// Relative to the manifest's folder; `~/` is the home of who reads it.
    pub(super) fn path(&mut self, text: &str) -> PathBuf {
        let home = text.strip_prefix("~/").and_then(|rest| Some(PathBuf::from((self.env)("HOME")?).join(rest)));
        let joined = home.unwrap_or_else(|| self.dir.join(text));
        // `./x` and `x` mean the same, and equality of entries is meaning.
        joined.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
    }
}

/// "`a`, `b` and `c`"
pub(super) fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    listed(words, "and")
}

/// "`a`, `b` or `c`"
pub(super) fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    listed(words, "or")
}

fn listed<'w>(words: impl Iterator<Item = &'w str>, joint: &str) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {joint} {last}", rest.join(", ")),
    }
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(parsed).ok()
}
