//! What a program has switched on in our terminal and may leave on: the other screen, a hidden cursor, the mouse. Watched as
//! it passes, so that it can be switched back when we leave the program, or it has crashed.

/// The private modes of xterm that outlive a program, and whether one is on ordinarily.
const MODES: &[(u16, bool)] = &[
    (1, false),
    (7, true),
    (25, true),
    (47, false),
    (1000, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1015, false),
    (1047, false),
    (1049, false),
    (2004, false),
];

#[derive(Debug, Default)]
pub(crate) struct Screen {
    at: At,
    /// Numbers of the sequence so far.
    numbers: Vec<u16>,
    /// Not as ordinarily, in the order they were changed.
    changed: Vec<u16>,
    /// Colours and such may be left.
    styled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    Escape,
    /// `ESC [`
    Sequence,
    /// `ESC [ ?`
    Private,
}

impl Screen {
    pub(crate) fn saw(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.at = self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) -> At {
        match (self.at, byte) {
            (_, 0x1b) => At::Escape,
            (At::Sequence, b'?') => {
                self.numbers = vec![0];
                At::Private
            }
            (At::Escape, b'[') | (At::Sequence, b'0'..=b'9' | b';' | b':') => At::Sequence,
            (At::Sequence, b'm') => {
                self.styled = true;
                At::Text
            }
            (At::Private, b'0'..=b'9') => {
                if let Some(number) = self.numbers.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                At::Private
            }
            (At::Private, b';') if self.numbers.len() < 32 => {
                self.numbers.push(0);
                At::Private
            }
            (At::Private, b'h' | b'l') => {
                for number in std::mem::take(&mut self.numbers) {
                    self.switched(number, byte == b'h');
                }
                At::Text
            }
            _ => At::Text,
        }
    }

    fn switched(&mut self, number: u16, on: bool) {
        let Some((_, ordinarily)) = MODES.iter().find(|(mode, _)| *mode == number) else { return };
        self.changed.retain(|mode| *mode != number);
        if on != *ordinarily {
            self.changed.push(number);
        }
    }

    /// What to write so that the terminal is as it was; the last change is undone first.
    pub(crate) fn undo(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in self.changed.drain(..).rev() {
            let on = MODES.iter().any(|(mode, ordinarily)| *mode == number && *ordinarily);
            out.extend(format!("\x1b[?{number}{}", if on { 'h' } else { 'l' }).into_bytes());
        }
        if std::mem::take(&mut self.styled) {
            out.extend_from_slice(b"\x1b[0m");
        }
        self.at = At::Text;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Screen;

    fn undone(pieces: &[&[u8]]) -> String {
        let mut screen = Screen::default();
        for piece in pieces {
            screen.saw(piece);
        }
        let text = String::from_utf8(screen.undo()).expect("ASCII");
        assert!(screen.undo().is_empty(), "once");
        text
    }

    #[test]
    fn what_was_left_on_is_switched_back() {
        assert_eq!(undone(&[b"plain text"]), "");
        assert_eq!(undone(&[b"\x1b[?1049h\x1b[?25l\x1b[2Jvi"]), "\x1b[?25h\x1b[?1049l");
        assert_eq!(undone(&[b"\x1b[?1049h", b"\x1b[?1049l"]), "", "a program that ended well");
        assert_eq!(undone(&[b"\x1b[", b"?10", b"00;1006h"]), "\x1b[?1006l\x1b[?1000l", "cut anywhere");
        assert_eq!(undone(&[b"\x1b[1;31mred"]), "\x1b[0m");
        assert_eq!(undone(&[b"\x1b[?9999h\x1b[?25h"]), "", "unknown, or as it is anyway");
    }
}
