//! `docs/scenarios.md` against the sources: every number is there, in order, and every test it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::sources;

/// `module::test` of every test function: the file's path within its crate, and the name.
fn tests(top: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests(top, &path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let module = module(top, &path);
            let text = fs::read_to_string(&path).expect("a source");
            found.extend(names(&text).into_iter().map(|name| format!("{module}::{name}")));
        }
    }
}

/// `tests/it/up/order.rs` is `up::order`, `src/keeper/mod.rs` is `keeper`; a file's inner `tests` is left out.
fn module(top: &Path, path: &Path) -> String {
    let within = path.strip_prefix(top).expect("below it").with_extension("");
    let parts: Vec<&str> = within.iter().filter_map(|part| part.to_str()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// The function below each `#[test]` or `#[tokio::test…]`.
fn names(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(name) = function.and_then(|rest| rest.split(['(', '<']).next()).filter(|_| is_test) {
            found.push(name);
            is_test = false;
        }
    }
    found
}

fn page() -> String {
    let path: PathBuf = sources().join("docs/scenarios.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of `| 7 | … | … |`.
fn rows(page: &str) -> Vec<(u32, &str, &str)> {
    let cells = |line| {
        let mut cells = str::split(line, " | ");
        let number = cells.next()?.trim_start_matches("| ").parse().ok()?;
        Some((number, cells.next()?, cells.next()?.trim_end_matches(" |")))
    };
    page.lines().filter_map(cells).collect()
}

#[test]
fn all_ninety_are_there_and_each_has_a_test_or_a_reason() {
    let mut known = BTreeSet::new();
    for (top, folder) in [("tests/it", "tests/it"), ("src", "src")] {
        tests(&sources().join(top), &sources().join(folder), &mut known);
    }
    assert!(known.len() > 300, "the tests were not found: {known:#?}");
    let page = page();
    let rows = rows(&page);
    assert_eq!(rows.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), (1..=90).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (number, what, shown) in rows {
        let named: Vec<&str> = shown.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        let missing: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
        if !missing.is_empty() {
            wrong.push(format!("{number}: no such test: {missing:?}"));
        }
        if what.trim().is_empty() || named.is_empty() && !shown.contains("Not shown: ") {
            wrong.push(format!("{number}: neither a test nor `Not shown: ` with the reason"));
        }
        if shown.contains("TBD") {
            wrong.push(format!("{number}: still to be named"));
        }
    }
    assert!(wrong.is_empty(), "docs/scenarios.md: {wrong:#?}");
}
