//! Where each value of the manifest came from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::node::{Layer, Table, Value};
use super::problem::SourceText;

/// File and line of every key that was written, by its path: `services.a.role.arn`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Origins {
    places: BTreeMap<String, Origin>,
    /// Values of secret variables that were put into other texts.
    secrets: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// `[defaults]` said it, not the entry itself.
    pub from_defaults: bool,
}

/// Not the secrets.
impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Origins {
    pub(super) fn of(tree: &Table, sources: &[SourceText], secrets: BTreeSet<String>) -> Self {
        let mut origins = Self { places: BTreeMap::new(), secrets };
        let lines: Vec<Vec<usize>> =
            sources.iter().map(|source| source.text.match_indices('\n').map(|(at, _)| at).collect()).collect();
        origins.walk("", tree, sources, &lines);
        origins
    }

    fn walk(&mut self, above: &str, table: &Table, sources: &[SourceText], lines: &[Vec<usize>]) {
        for (name, entry) in table {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let Some(source) = sources.get(entry.key.file) else { continue };
            let line = lines[entry.key.file].partition_point(|newline| *newline < entry.key.start) + 1;
            let from_defaults = entry.key.layer == Layer::Defaults;
            self.places.insert(path.clone(), Origin { file: source.name.clone(), line, from_defaults });
            if let Value::Table(table) = &entry.node.value {
                self.walk(&path, table, sources, lines);
            }
        }
    }

    /// Where the value with this path was written; `None`: nowhere, it is devsup's default.
    pub fn get(&self, path: &str) -> Option<&Origin> {
        self.places.get(path)
    }

    /// `services.toml:12`, `[defaults], services.toml:3`, or `default`.
    pub(super) fn say(&self, path: &str) -> String {
        match self.get(path) {
            None => "default".into(),
            Some(origin) if origin.from_defaults => format!("[defaults], {}:{}", origin.file, origin.line),
            Some(origin) => format!("{}:{}", origin.file, origin.line),
        }
    }

    /// `text` without the values of secret variables.
    pub(super) fn masked(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}
