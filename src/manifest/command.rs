//! Commands. Does a command line need a shell, and if not, which words is it?
//!
//! A string is split into words and exec'd, so that signals reach the program itself and no value is read twice. It goes
//! to `/bin/sh -c` when it uses what only a shell understands: outside quotes any of `| & ; < > $ * ? ( ) { }`, a
//! backtick or a newline, `~` or `#` where a word begins; inside double quotes `$` and a backtick; `NAME=value` before
//! the program; or a word of the shell's own (`cd`, `exec`, `while` …) as the first. A `[` alone does not: it is in
//! every IPv6 address. `${VAR}` is the manifest's and does not count; `$$` is a `$` for the shell and does.

use super::desk::Desk;
use super::node::{Node, Value};
use super::references::Use;
use super::{Command, interpolate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Split into words, expand each, exec.
    Words,
    /// Expand the whole, `/bin/sh -c`.
    Shell,
    /// A quote that is never closed.
    OpenQuote(char),
}

/// First words that no program on disk stands for.
const BUILTINS: &[&str] = &[
    ".", ":", "alias", "case", "cd", "eval", "exec", "exit", "export", "for", "if", "set", "source", "trap", "ulimit",
    "umask", "unset", "until", "while",
];

/// A command as a list of words or as one line.
pub(super) fn read(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Command> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            desk.refuse(node.place, format!("`{key}` is empty")).label("expected a program and its arguments");
            None
        }
        Value::List(items) => {
            let words: Vec<Option<String>> = items.iter().map(|item| desk.text_for(Use::Run, key, item)).collect();
            let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
            if words.first().is_some_and(|program| program.trim().is_empty()) {
                desk.refuse(items[0].place, format!("`{key}` has no program")).label("the first word is empty");
                return None;
            }
            Some(Command::Exec(words))
        }
        Value::Text(_) => line(desk, key, node),
        _ => {
            desk.wrong(key, node, "a string or a list of strings");
            None
        }
    }
}

fn line(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Command> {
    let text = desk.raw(key, node)?.to_owned();
    if text.trim().is_empty() {
        desk.refuse(node.place, format!("`{key}` is empty")).label("expected a program and its arguments");
        return None;
    }
    match way(&text) {
        Way::OpenQuote(quote) => {
            desk.refuse(node.place, format!("`{key}` has an unbalanced quote"))
                .label(format!("a `{quote}` is opened and not closed"))
                .help("a list needs no quotes: `command = [\"echo\", \"it's\"]`");
            None
        }
        Way::Shell => desk.expand(Use::Run, &text, node.place).map(Command::Shell),
        Way::Words => {
            let words = words(&text).unwrap_or_default();
            let words: Vec<Option<String>> = words.iter().map(|word| desk.expand(Use::Run, word, node.place)).collect();
            let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
            if words.first().is_none_or(|program| program.trim().is_empty()) {
                desk.refuse(node.place, format!("`{key}` has no program")).label("the first word is empty");
                return None;
            }
            Some(Command::Exec(words))
        }
    }
}

pub(super) fn way(line: &str) -> Way {
    let mut shell = false;
    let mut quote = None;
    let mut word_begins = true;
    let mut letters = line.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let begins = std::mem::replace(&mut word_begins, false);
        match (quote, letter) {
            (None | Some('"'), '\\') => {
                letters.next();
            }
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '$') if line[at..].starts_with("${") => {
                while letters.next_if(|(_, letter)| *letter != '}').is_some() {}
                letters.next();
            }
            (None | Some('"'), '$' | '`') | (None, '|' | '&' | ';' | '<' | '>' | '*' | '?' | '(' | ')' | '{' | '}') => {
                shell = true;
            }
            (None, '~' | '#') => shell |= begins,
            (None, '\n') => {
                shell |= !line[at..].trim().is_empty();
                word_begins = true;
            }
            (None, ' ' | '\t' | '\r') => word_begins = true,
            _ => {}
        }
    }
    match quote {
        Some(open) => Way::OpenQuote(open),
        None if shell || first_word_is_the_shells(line) => Way::Shell,
        None => Way::Words,
    }
}

fn first_word_is_the_shells(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    BUILTINS.contains(&first) || first.split_once('=').is_some_and(|(name, _)| interpolate::is_name(name))
}

/// The words of a line that needs no shell. A `${VAR:-a b}` stays in one word whatever it holds; its own quotes are its own.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut guarded = String::new();
    let mut references = Vec::new();
    let mut quote = None;
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let reference = if quote == Some('\'') { None } else { reference_at(rest) };
        if let Some(reference) = reference {
            guarded.push(mark(references.len())?);
            references.push(reference);
            rest = &rest[reference.len()..];
            continue;
        }
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        // What a backslash guards opens and closes nothing.
        let guards = letter == '\\' && quote != Some('\'');
        let taken = rest.chars().take(if guards { 2 } else { 1 }).map(char::len_utf8).sum();
        guarded.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    let words = shell_words::split(&guarded).ok()?;
    let restore = |word: String| {
        let mut restored = String::new();
        for letter in word.chars() {
            match number(letter).and_then(|index| references.get(index)) {
                Some(reference) => restored.push_str(reference),
                None => restored.push(letter),
            }
        }
        restored
    };
    Some(words.into_iter().map(restore).collect())
}

fn reference_at(text: &str) -> Option<&str> {
    let end = text.strip_prefix("${")?.find('}')?;
    text.get(..end + 3)
}

/// References are hidden from the splitter behind characters of the last private plane, which no text has.
fn mark(index: usize) -> Option<char> {
    char::from_u32(0x0010_0000 + u32::try_from(index).ok().filter(|index| *index < 0xFFFE)?)
}

fn number(letter: char) -> Option<usize> {
    (u32::from(letter)).checked_sub(0x0010_0000).and_then(|index| usize::try_from(index).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_split() {
        for line in [
            "./a --port 8001",
            "a 'x | y' \"z;\" \\$HOME",
            "curl http://[::1]:80/a#b",
            "./a ${X} a~b",
            "./a --key=value\n",
            "python -c 'print($x)'",
        ] {
            assert_eq!(way(line), Way::Words, "{line}");
        }
    }

    #[test]
    fn shell_syntax_is_seen() {
        for line in [
            "a | b",
            "a && b",
            "a; b",
            "a > f",
            "a $HOME",
            "a \"$HOME\"",
            "a `b`",
            "a *.c",
            "(a)",
            "{ a; }",
            "a ~/x",
            "a # why",
            "a\nb",
            "A=1 a",
            "exec a",
            "cd x",
            "a $$HOME",
            "while :; do a; done",
        ] {
            assert_eq!(way(line), Way::Shell, "{line}");
        }
    }

    #[test]
    fn open_quotes_are_named() {
        assert_eq!(way("a 'b"), Way::OpenQuote('\''));
        assert_eq!(way("a \"b | c"), Way::OpenQuote('"'));
    }

    #[test]
    fn a_reference_stays_one_word() {
        assert_eq!(words("./a --x ${A:-b c}d 'e f'").expect("closed"), ["./a", "--x", "${A:-b c}d", "e f"]);
    }
}
