//! The architecture of `src/lib.rs`, kept true: every path of a source file stands to the right of its layer, and the
//! words a layer must not know are not in it. What a message says is the reason, not the rule's number.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::sources;

/// Who may import whom. Everyone may import themselves.
const LAYERS: &[(&str, &[&str])] = &[
    ("cli", &["daemon", "keeper", "aws", "logs", "ports", "control", "supervisor", "manifest", "sys", "sandbox"]),
    ("daemon", &["keeper", "aws", "logs", "ports", "control", "supervisor", "manifest", "sys"]),
    ("keeper", &["aws", "logs", "control", "supervisor", "manifest", "sys"]),
    ("aws", &["supervisor", "manifest", "sys"]),
    ("logs", &["supervisor", "manifest", "sys"]),
    ("ports", &["supervisor", "manifest", "sys"]),
    ("control", &["supervisor", "manifest", "sys"]),
    ("supervisor", &["manifest"]),
    ("manifest", &[]),
    ("sandbox", &["manifest", "sys"]),
    ("sys", &[]),
];

struct Ban {
    words: &'static [&'static str],
    /// In these folders only; none: in all.
    within: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["nix", "rustix", "signal_hook", "libc", "close_fds", "landlock"],
        within: &[],
        except: &["sys"],
        why: "syscalls live in src/sys only, so that there is one place to look for what may go wrong with them",
    },
    Ban {
        words: &["tokio", "hyper", "axum", "aws_config", "aws_sdk_sts", "secrecy", "tracing"],
        within: &["supervisor", "manifest"],
        except: &[],
        why: "these layers know nothing of the runtime, the network or secrets: a test may call them from any thread",
    },
    Ban {
        words: &["Instant", "SystemTime", "getrandom", "rand", "std::thread", "std::net", "std::process"],
        within: &["supervisor", "manifest"],
        except: &[],
        why: "time, chance and processes are inputs here, so that a seed repeats a whole day",
    },
    Ban {
        words: &["std::fs", "std::io", "std::env", "std::os"],
        within: &["supervisor"],
        except: &[],
        why: "the supervisor decides and does nothing: what it wants done is an effect",
    },
    Ban {
        words: &["tokio", "aws_config", "aws_sdk_sts", "hyper", "axum"],
        within: &["keeper"],
        except: &[],
        why: "a keeper is small and single-threaded: there is one beside every run",
    },
];

/// (file, word, why it is sound all the same). One that is needed no more is a fault too.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("supervisor/sim/mod.rs", "std::thread", "days that know nothing of each other run side by side; tests only"),
    ("supervisor/sim/mod.rs", "std::env", "DEVSUP_SIM_RUNS; tests only"),
    ("supervisor/sim/world.rs", "std::env", "DEVSUP_SIM_SEED; tests only"),
];

const LONGEST: usize = 450;
/// Written so that this file does not find itself.
const LEFT_OPEN: &[&str] = &["TO\u{44}O", "FIX\u{4d}E", "to\u{64}o!", "unimplemente\u{64}!", "#[ignor\u{65}"];

#[test]
fn every_source_keeps_to_its_layer() {
    let top = sources();
    let (mut faults, mut used) = (Vec::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for file in rust_files(&top.join("src")) {
        let inside = file.strip_prefix(top.join("src")).expect("below it").to_owned();
        let text = fs::read_to_string(&file).expect("a source");
        seen.extend(layer(&inside).map(str::to_owned));
        faults.extend(imports(&inside, &text));
        for (word, why) in banned(&inside, &text) {
            let excepted = EXCEPTIONS.iter().find(|(file, said, _)| inside == Path::new(file) && *said == word);
            match excepted {
                Some(exception) => drop(used.insert(exception)),
                None => faults.push(format!("src/{}: `{word}`: {why}", inside.display())),
            }
        }
    }
    for exception in EXCEPTIONS.iter().filter(|exception| !used.contains(exception)) {
        faults.push(format!("src/{}: `{}` is excepted here and not used any more", exception.0, exception.1));
    }
    for (name, _) in LAYERS {
        assert!(seen.contains(*name), "the table names `{name}`, and src/{name} is not there");
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_file_is_long_or_left_open() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        for file in rust_files(&sources().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source");
            let lines = text.lines().count();
            if lines > LONGEST {
                faults.push(format!("{}: {lines} lines, {LONGEST} are the most: split it by topic", file.display()));
            }
            for word in LEFT_OPEN.iter().filter(|word| text.contains(**word)) {
                faults.push(format!("{}: `{word}`: finish it, or open an issue", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_rules_find_what_breaks_them() {
    let found = |file: &str, text: &str| {
        let inside = Path::new(file);
        imports(inside, text).len() + banned(inside, text).len()
    };
    assert_eq!(found("logs/reader.rs", "use crate::aws::Base;"), 1, "a neighbour");
    assert_eq!(found("supervisor/a/b.rs", "fn f() { crate::{manifest::x, sys::y}; }"), 1, "in braces");
    assert_eq!(found("manifest/load.rs", "use super::super::cli;"), 1, "around the table");
    assert_eq!(found("manifest/load.rs", "mod tests {\n use super::super::words;\n}"), 0, "a test's own folder");
    assert_eq!(found("keeper/run.rs", "use nix::unistd;"), 1, "a syscall");
    assert_eq!(found("supervisor/time.rs", "let now = std::time::Instant::now();"), 1, "a clock");
    assert_eq!(
        found("supervisor/time.rs", "// crate::cli, Instant\nlet text = \"nix \\\" crate::aws\";"),
        0,
        "only said"
    );
    assert_eq!(found("cli/mod.rs", "use crate::cli::x; use crate::sandbox::y; let unix = 'a';"), 0, "all allowed");
    assert_eq!(found("elsewhere/mod.rs", "use std::fmt;"), 1, "a folder that no layer is");
}

/// The first folder of a source file; `lib.rs` and `main.rs` have none: they tie the layers together.
fn layer(inside: &Path) -> Option<&str> {
    let mut parts = inside.iter();
    let first = parts.next()?.to_str()?;
    parts.next().map(|_| first)
}

fn imports(inside: &Path, text: &str) -> Vec<String> {
    let Some(own) = layer(inside) else { return Vec::new() };
    let at = inside.display();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("src/{at}: `{own}` has no place in the table of layers (src/lib.rs, tests/it/layers.rs)")];
    };
    let mut faults = Vec::new();
    let code = code_of(text);
    // A file is as deep as its folders, `mod.rs` one less; a test module inside it is one more.
    let depth = inside.iter().count() - usize::from(inside.ends_with("mod.rs"));
    let mut inner = 0;
    for line in code.lines() {
        inner = if line.starts_with("mod ") && line.ends_with('{') { 1 } else { inner };
        for (start, _) in line.match_indices("super::") {
            let chain = line[start..].split("super::").take_while(|between| between.is_empty()).count();
            if chain >= depth + inner && !line[..start].ends_with("super::") {
                faults.push(format!("src/{at}: `{}` leaves its layer unseen: write `crate::`", line.trim()));
            }
        }
    }
    for (start, _) in code.match_indices("crate::").filter(|(start, _)| !inside_word(&code, *start)) {
        for name in heads(&code[start + "crate::".len()..]) {
            if name != own && !allowed.contains(&name.as_str()) {
                let list = allowed.join(", ");
                faults.push(format!(
                    "src/{at}: `{own}` imports `crate::{name}`, which stands to its left; it may import: {list}"
                ));
            }
        }
    }
    faults
}

/// `a::b` → `a`; `{a::b, c}` → `a`, `c`.
fn heads(rest: &str) -> Vec<String> {
    let word =
        |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    let Some(list) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut level, mut fresh, mut names) = (0, true, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '}' if level == 0 => break,
            '{' => level += 1,
            '}' => level -= 1,
            ',' => fresh |= level == 0,
            _ if fresh && level == 0 && !letter.is_whitespace() => {
                names.push(word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The words that are used, and why they must not be.
fn banned(inside: &Path, text: &str) -> Vec<(&'static str, &'static str)> {
    let Some(own) = layer(inside) else { return Vec::new() };
    let code = code_of(text);
    let concerns = |ban: &&Ban| (ban.within.is_empty() || ban.within.contains(&own)) && !ban.except.contains(&own);
    let mut faults = Vec::new();
    for ban in BANS.iter().filter(concerns) {
        for word in ban.words.iter().filter(|word| has_word(&code, word)) {
            faults.push((*word, ban.why));
        }
    }
    faults
}

/// A crate's name counts as the head of a path (`nix::…`), a type's or a path's anywhere.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(start, _)| {
        let after = &code[start + word.len()..];
        let is_crate = word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        let ends = !after.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let heads = !is_crate || (after.starts_with("::") && !code[..start].ends_with("::"));
        !inside_word(code, start) && ends && heads
    })
}

fn inside_word(code: &str, start: usize) -> bool {
    code[..start].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$')
}

/// The text without comments and without what strings hold; lines stay.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if letter == '"' {
            string(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            escaped.find('\'').map_or(2, |end| end + 3)
        } else {
            0
        };
        if skipped == 0 {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            code.extend(rest[..skipped].matches('\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

fn string(text: &str) -> usize {
    let mut escaped = true;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `r#"…"#`; `r#word` is a name and is left alone.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|letter| *letter == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
