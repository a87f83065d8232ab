//! What the pages say against what the binary knows: a key, a verb or a file that is gone must not live on in them.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

use crate::place::{devsup, sources};

fn page(name: &str) -> String {
    fs::read_to_string(sources().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn said(args: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(devsup());
    let output = command.args(args).env("HOME", home.path()).env_remove("DEVSUP_FILE").output().expect("ran");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_manifest_page_has_every_key() {
    let page = page("docs/manifest.md");
    let schema: serde_json::Value = serde_json::from_str(&said(&["schema"])).expect("JSON");
    let tables = schema["$defs"].as_object().expect("tables").values().chain([&schema]);
    let keys: Vec<&String> =
        tables.filter_map(|table| table["properties"].as_object()).flat_map(|keys| keys.keys()).collect();
    assert!(keys.len() > 30, "the schema has lost its keys");
    for key in keys {
        let named = [format!("`{key}"), format!("`[{key}"), format!(".{key}`"), format!("{key} = ")];
        assert!(named.iter().any(|form| page.contains(form)), "docs/manifest.md does not name `{key}`");
    }
}

/// Those of the supervisor are the variants of one enum; the daemon's own are told by name.
#[test]
fn the_command_line_page_has_every_kind_of_event() {
    let page = page("docs/cli.md");
    let source = self::page("src/supervisor/event.rs");
    let (_, happenings) = source.split_once("pub enum Happening {").expect("the enum");
    let (happenings, _) = happenings.split_once("\n}").expect("its end");
    let variants = happenings.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix([',', '{']));
    let mut kinds: Vec<String> = variants.filter(|line| line.starts_with(char::is_uppercase)).map(kebab).collect();
    for file in fs::read_dir(sources().join("src/daemon")).expect("the daemon").flatten() {
        let source = fs::read_to_string(file.path()).unwrap_or_default();
        let told = source.split(".tell(now().wall, \"").skip(1).filter_map(|rest| rest.split('"').next());
        kinds.extend(told.map(str::to_owned));
    }
    assert!(kinds.len() > 35 && kinds.iter().any(|kind| kind == "lease-granted"), "{kinds:?}");
    let lacking: Vec<&String> = kinds.iter().filter(|kind| !page.contains(&format!("`{kind}`"))).collect();
    assert!(lacking.is_empty(), "docs/cli.md does not name {lacking:?}");
}

fn kebab(name: &str) -> String {
    let mut words = String::new();
    for letter in name.trim_end().chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[test]
fn the_command_line_page_has_every_verb() {
    let page = page("docs/cli.md");
    let help = said(&["--help"]);
    let (_, verbs) = help.split_once("\nRun\n").expect("the verbs");
    let (verbs, _) = verbs.split_once("\nOptions").expect("the options");
    // A verb stands two columns in; what it does begins farther right, or on the next line.
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let verbs: Vec<&str> = verbs.flat_map(|line| line.split("  ").next().unwrap_or(line).split(", ")).collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        assert!(page.contains(&format!("`{verb}")), "docs/cli.md does not name `{verb}`");
    }
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let top = sources();
    let examples = [
        "three-buckets",
        "terraform",
        "terraform/problem",
        "terraform/solution-by-role",
        "terraform/solution-by-account",
    ];
    let mut pages: Vec<PathBuf> =
        examples.iter().map(|name| top.join("examples").join(name).join("README.md")).collect();
    for folder in [top.clone(), top.join("docs")] {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = page.parent().unwrap_or(Path::new("/")).join(link.split('#').next().unwrap_or(link));
            assert!(target.exists(), "{}: `{link}` leads nowhere", page.display());
        }
    }
}

#[test]
fn both_acts_of_the_example_are_valid() {
    for act in ["act-one.toml", "act-two.toml"] {
        let file = sources().join("examples/three-buckets").join(act);
        said(&["-f", file.to_str().expect("a path"), "config", "--insecure-manifest", "-q"]);
    }
}
