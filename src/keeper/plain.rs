//! What a program said, as part of a sentence: one line, bounded, nothing that moves a cursor.

/// Longer ones are cut.
const LONGEST: usize = 200;

/// The beginning of these bytes, without escape sequences, control characters and what turns text around.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut letters = text.chars().peekable();
    let mut out = String::new();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A control sequence goes on to its final letter; of any other the ESC alone is taken away.
            if letters.next_if_eq(&'[').is_some() {
                while letters.next_if(|letter| !('\u{40}'..='\u{7e}').contains(letter)).is_some() {}
                letters.next();
            }
            continue;
        }
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match letter {
            '\t' | '\n' => out.push(' '),
            _ if letter.is_control() || turns => {}
            _ => out.push(letter),
        }
        if out.len() > LONGEST {
            out.pop();
            return out.trim().to_owned() + "…";
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(plain(b"\x1b[31mno such\x1b[0m\ttable\x07\r"), "no such table");
        assert_eq!(plain("\u{202e}abc\u{9b}2J".as_bytes()), "abc2J");
        assert_eq!(plain(b"\xff"), "\u{fffd}");
        assert_eq!(plain(b"\x1b[never ends"), "ever ends");
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let cut = plain("ä".repeat(1000).as_bytes());
        assert_eq!(cut, "ä".repeat(100) + "…");
    }
}
