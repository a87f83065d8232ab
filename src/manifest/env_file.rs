//! Files of `KEY=VALUE` lines, read again at every start.
//!
//! As in docker compose and most shells: empty lines and `#` comments, an optional `export`, values bare (cut at ` #`),
//! in single quotes (as they stand) or in double quotes (`\n`, `\t`, `\"`, `\\`, `\$`). A quoted value may span lines.
//! Nothing is expanded. An error names file and line and never shows a value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Service, interpolate, load, scrub};

/// Why an env_file cannot be used. Holds no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    #[error("env_file `{file}` cannot be read: {reason}", file = file.display())]
    Unreadable { file: PathBuf, reason: String },
    #[error("{file}:{line}: {problem}", file = file.display())]
    Line { file: PathBuf, line: usize, problem: String },
}

/// A file as it is said to people, and its variables.
pub type EnvFile = (String, BTreeMap<String, String>);

/// The variables of every `env_file`, in order, each with the file as it is said to people. Beside a role, a variable
/// that carries an AWS identity is an error.
pub fn read_env_files(service: &Service) -> Result<Vec<EnvFile>, EnvFileError> {
    let mut files = Vec::new();
    for file in &service.env_file {
        let unreadable = |reason: String| EnvFileError::Unreadable { file: file.clone(), reason };
        let bytes = load::bounded(file).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
        let at = |(line, problem): (usize, String)| EnvFileError::Line { file: file.clone(), line, problem };
        let mut variables = BTreeMap::new();
        for (line, name, value) in parse(&text).map_err(at)? {
            if service.role.is_some() && scrub::is_scrubbed(&name) {
                return Err(at((line, format!("`{name}` is set beside a role: remove it, or remove `role`"))));
            }
            variables.insert(name, value);
        }
        files.push((file.display().to_string(), variables));
    }
    Ok(files)
}

type Line = (usize, String, String);

fn parse(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |problem: &str| (number, problem.to_owned());
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or_else(|| fault("expected `KEY=VALUE`"))?;
        let name = name.trim_end();
        if !interpolate::is_name(name) {
            return Err(fault("the name before `=` is not one of a variable"));
        }
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let mut rest = value[1..].to_owned();
                loop {
                    if let Some((value, after)) = quoted(&rest, quote) {
                        let after = after.trim_start();
                        if !after.is_empty() && !after.starts_with('#') {
                            return Err(fault("text after the closing quote"));
                        }
                        break value;
                    }
                    let Some((_, next)) = lines.next() else { return Err(fault("a quote that is never closed")) };
                    rest.push('\n');
                    rest.push_str(next);
                }
            }
            _ => bare(value).to_owned(),
        };
        if value.contains('\0') {
            return Err(fault("the value holds a NUL byte"));
        }
        variables.push((number, name.to_owned(), value));
    }
    Ok(variables)
}

/// Up to a comment: a `#` at the beginning or after a blank.
fn bare(value: &str) -> &str {
    let comment = value
        .char_indices()
        .find(|(at, letter)| *letter == '#' && value[..*at].chars().next_back().is_none_or(char::is_whitespace));
    comment.map_or(value, |(at, _)| &value[..at]).trim_end()
}

/// The value up to the closing quote and what comes after it; `None`: not closed yet.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => match letters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        parse(text).expect("well formed").into_iter().map(|(_, name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn reads_what_people_write() {
        let text = "\u{feff}# comment\r\nA=1\r\n\nexport B = two words # why\nC='a # b'\nD=\"x\\ny\" # c\nE=\nF=a#b\nG=\"1\n2\"\nH=$A";
        let expected = ["A=1", "B=two words", "C=a # b", "D=x\ny", "E=", "F=a#b", "G=1\n2", "H=$A"];
        assert_eq!(values(text), expected);
    }

    #[test]
    fn only_a_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| {
            let service = Service { env_file: vec![folder.path().join(name)], ..Service::of("a", None, "/") };
            read_env_files(&service).map(|files| files.len()).map_err(|error| error.to_string())
        };
        let large = std::fs::File::create(folder.path().join("large")).expect("made");
        large.set_len(10 << 20).expect("grown");
        std::fs::write(folder.path().join("env"), "A=1\n").expect("written");
        assert_eq!(read("env"), Ok(1));
        let others = [("/dev/zero", "it is not a file"), (".", "it is not a file"), ("large", "larger than 1024 KiB")];
        for (name, why) in others {
            assert!(read(name).is_err_and(|said| said.contains(why)), "{name}: {:?}", read(name));
        }
    }

    #[test]
    fn faults_have_lines_and_no_values() {
        for (text, line, word) in [
            ("A=1\nhunter2", 2, "KEY=VALUE"),
            ("1A=hunter2", 1, "not one of a variable"),
            ("A='hunter2", 1, "never closed"),
            ("A='x' hunter2", 1, "after the closing"),
        ] {
            let (at, problem) = parse(text).expect_err(text);
            assert!(at == line && problem.contains(word) && !problem.contains("hunter2"), "{problem}");
        }
    }
}
