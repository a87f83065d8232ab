//! The manifest's text as a tree in which every key and value remembers its place.
//!
//! The toml crate parses and recovers; this is its answer in the one shape that merging, reading and printing need.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Where something was written: bytes `start..end` of the file with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) layer: Layer,
}

/// Did the entry say it itself, or did `[defaults]` say it for all?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Own,
    Defaults,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i128),
    Fraction(String),
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

pub(super) type Table = BTreeMap<String, Entry>;

/// One `key = value`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) node: Node,
}

impl Value {
    /// What a person calls it, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Whole(_) => "a number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Flag(_) => "a boolean",
            Self::Date => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The parser's table as ours.
pub(super) fn table(parsed: &DeTable<'_>, file: usize) -> Table {
    let mut table = Table::new();
    for (key, value) in parsed {
        let span = key.span();
        let place = Place { file, start: span.start, end: span.end, layer: Layer::Own };
        let span = value.span();
        let node = Node {
            place: Place { file, start: span.start, end: span.end, layer: Layer::Own },
            value: self::value(value.get_ref(), file),
        };
        table.insert(key.get_ref().to_string(), Entry { key: place, node });
    }
    table
}

fn value(parsed: &DeValue<'_>, file: usize) -> Value {
    match parsed {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let text = number.as_str();
            let edge = if text.starts_with('-') { i128::MIN } else { i128::MAX };
            Value::Whole(i128::from_str_radix(text, number.radix()).unwrap_or(edge))
        }
        DeValue::Float(number) => Value::Fraction(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| {
                    let span = item.span();
                    Node {
                        place: Place { file, start: span.start, end: span.end, layer: Layer::Own },
                        value: value(item.get_ref(), file),
                    }
                })
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, file)),
    }
}

/// Marks everything in the tree as said by `[defaults]`.
pub(super) fn mark_defaults(table: &mut Table) {
    for entry in table.values_mut() {
        entry.key.layer = Layer::Defaults;
        mark_node(&mut entry.node);
    }
}

fn mark_node(node: &mut Node) {
    node.place.layer = Layer::Defaults;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(mark_node),
        Value::Table(table) => mark_defaults(table),
        _ => {}
    }
}

/// Lays `over` upon `under`, key by key: tables merge, anything else is replaced. A short form (`role = "arn"`,
/// `depends_on = ["db"]`) that meets the table form of the same key is first written out as a table.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (name, mut entry) in over {
        let Some(old) = under.get_mut(&name) else {
            under.insert(name, entry);
            continue;
        };
        let is_table = |node: &Node| matches!(node.value, Value::Table(_));
        if is_table(&old.node) || is_table(&entry.node) {
            write_out(&name, &mut old.node);
            write_out(&name, &mut entry.node);
        }
        match (&mut old.node.value, entry.node.value) {
            (Value::Table(under), Value::Table(over)) => {
                merge(under, over);
                old.key = entry.key;
                old.node.place = entry.node.place;
            }
            (_, value) => {
                old.node = Node { place: entry.node.place, value };
                old.key = entry.key;
            }
        }
    }
}

/// `role = "arn"` becomes `{ arn = "arn" }`; `depends_on = ["db"]` becomes `{ db = {} }`, and `{ db = "ready" }` becomes
/// `{ db = { condition = "ready" } }`; `ports = { http = "[::1]:80" }` becomes `{ http = { listen = "[::1]:80" } }`.
fn write_out(name: &str, short: &mut Node) {
    let place = short.place;
    let nested = |key: &str, node: &Node| {
        Value::Table(Table::from([(key.to_owned(), Entry { key: node.place, node: node.clone() })]))
    };
    match (name, &mut short.value) {
        ("role", Value::Text(_)) => short.value = nested("arn", short),
        ("depends_on", Value::Text(service)) => {
            let node = Node { place, value: Value::Table(Table::new()) };
            short.value = Value::Table(Table::from([(service.clone(), Entry { key: place, node })]));
        }
        ("depends_on", Value::List(items)) if items.iter().all(|item| matches!(item.value, Value::Text(_))) => {
            let mut table = Table::new();
            for item in items {
                if let Value::Text(service) = &item.value {
                    let node = Node { place: item.place, value: Value::Table(Table::new()) };
                    table.insert(service.clone(), Entry { key: item.place, node });
                }
            }
            short.value = Value::Table(table);
        }
        ("depends_on" | "ports", Value::Table(table)) => {
            let key = if name == "ports" { "listen" } else { "condition" };
            for entry in table.values_mut().filter(|entry| matches!(entry.node.value, Value::Text(_))) {
                entry.node.value = nested(key, &entry.node);
            }
        }
        _ => {}
    }
}
