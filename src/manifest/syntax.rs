//! Text that is no TOML, in a person's words, and without the noise that follows from it.

use std::ops::Range;

use super::desk::Desk;
use super::node::{Layer, Place};
use super::problem::{Draft, Fault, SourceText};

/// Reports the parser's errors, one for each line: the first; further ones on a line come of it.
pub(super) fn report(desk: &mut Desk<'_>, file: usize, errors: &[toml::de::Error]) {
    let text = desk.sources[file].text.clone();
    let mut lines: Vec<usize> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = line_of(&text, span.start);
        if lines.contains(&line.start) {
            continue;
        }
        let first = lines.is_empty();
        lines.push(line.start);
        let place = Place { file, start: span.start, end: span.end, layer: Layer::Own };
        let draft = one(desk, place, error.message(), text.get(span).unwrap_or_default());
        if first && looks_like_yaml(&text) {
            draft.help("this looks like YAML; a manifest is TOML: `[services.web]`, below it `command = \"./web\"`");
        } else if let Some(digits) = octal(&text[line.clone()]) {
            draft.label("no number begins with 0").help(format!("octal digits are a string: `umask = \"{digits}\"`"));
        } else if let Some(key) = unquoted(&text[line]) {
            draft.help(format!("a string needs quotes: `{key} = \"…\"`"));
        }
    }
}

fn one<'d>(desk: &'d mut Desk<'_>, place: Place, message: &str, key: &str) -> &'d mut Draft {
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, format!("expected {expected}")),
        None => (message, String::new()),
    };
    let draft = if what == "duplicate key" {
        desk.refuse(place, format!("`{key}` is written twice")).label("once is enough")
    } else {
        desk.refuse(place, format!("not TOML: {what}")).label(expected)
    };
    draft.fault = Fault::Syntax;
    draft
}

/// The line around a byte, without its end.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// The key of `key = value` where the value is a bare word, which TOML does not have.
fn unquoted(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let bare = |letter: char| letter.is_alphabetic() || "./~$".contains(letter);
    (value.trim_start().starts_with(bare) && !value.contains(['"', '\''])).then(|| key.trim())
}

/// The digits of `umask = 022`, which is no number in TOML.
fn octal(line: &str) -> Option<&str> {
    let digits = line.trim().strip_prefix("umask")?.trim_start().strip_prefix('=')?.trim();
    digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)).then_some(digits).filter(|digits| digits.len() > 1)
}

fn looks_like_yaml(text: &str) -> bool {
    text.lines().any(|line| {
        let key = line.trim().strip_suffix(':').unwrap_or_default();
        !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
    })
}

/// Drops what only echoes a syntax error: whatever seems to be wrong on its line, or below a header that could not be
/// read; and what seems to be missing, as it may stand in the lines that could not be read.
pub(super) fn without_echoes(drafts: Vec<Draft>, sources: &[SourceText]) -> Vec<Draft> {
    let mut unread: Vec<(usize, Range<usize>)> = Vec::new();
    for place in drafts.iter().filter(|draft| draft.fault == Fault::Syntax).filter_map(Draft::place) {
        let Some(text) = sources.get(place.file).map(|source| &source.text) else { continue };
        let mut lines = line_of(text, place.start);
        if text[lines.clone()].trim_start().starts_with('[') {
            lines.end = text[lines.end..].find("\n[").map_or(text.len(), |next| lines.end + next);
        }
        unread.push((place.file, lines));
    }
    let echo = |draft: &Draft| match draft.fault {
        Fault::Syntax | Fault::Unreadable => false,
        Fault::Absent => !unread.is_empty(),
        Fault::Present => draft.place().is_some_and(|place| {
            unread.iter().any(|(file, lines)| *file == place.file && lines.contains(&place.start))
        }),
    };
    drafts.into_iter().filter(|draft| !echo(draft)).collect()
}
