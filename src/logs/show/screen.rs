//! Keeps one service from spoiling a screen that several share: colours stay, everything that moves the cursor, clears
//! or sets titles goes, other control characters are made visible.

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

pub(super) fn tame(line: &[u8], out: &mut Vec<u8>) {
    let mut rest = last_overwrite(line);
    let mut colored = false;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            ESC => {
                let (sequence, further) = rest.split_at(length(rest));
                if is_color(sequence) {
                    colored = true;
                    out.extend_from_slice(sequence);
                }
                rest = further;
            }
            // The eight-bit controls as UTF-8: a terminal may take one for the beginning of a sequence.
            0xc2 if after.first().is_some_and(|next| (0x80..=0x9f).contains(next)) => rest = &after[1..],
            b'\t' => {
                out.push(byte);
                rest = after;
            }
            0..0x20 | 0x7f => {
                out.extend([b'^', byte ^ 0x40]);
                rest = after;
            }
            _ => {
                let plain =
                    rest.iter().position(|b| *b < 0x20 || *b == 0x7f || *b == 0xc2).unwrap_or(rest.len()).max(1);
                out.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
            }
        }
    }
    if colored {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// A progress bar goes back to the line's beginning: what it wrote last is what would be seen.
fn last_overwrite(line: &[u8]) -> &[u8] {
    line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or_default()
}

/// How long the escape sequence at the beginning is (ECMA-48); one that does not end takes all.
fn length(bytes: &[u8]) -> usize {
    let all = bytes.len();
    match bytes.get(1) {
        Some(b'[') => bytes[2..].iter().position(|b| (0x40..=0x7e).contains(b)).map_or(all, |at| at + 3),
        // Strings (titles, links, device control) end with BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let bell = memchr::memchr(BEL, bytes).map(|at| at + 1);
            let end = memchr::memmem::find(&bytes[2..], b"\x1b\\").map(|at| at + 4);
            bell.into_iter().chain(end).min().unwrap_or(all)
        }
        Some(0x20..=0x2f) => bytes[1..].iter().position(|b| *b >= 0x30).map_or(all, |at| at + 2),
        Some(0x30..) => 2,
        _ => 1,
    }
}

fn is_color(sequence: &[u8]) -> bool {
    let inner = sequence.strip_prefix(b"\x1b[").and_then(|rest| rest.strip_suffix(b"m"));
    inner.is_some_and(|inner| inner.iter().all(|b| matches!(b, b'0'..=b'9' | b';' | b':')))
}

#[cfg(test)]
mod tests {
    use super::tame;
    use proptest::prelude::*;

    fn tamed(line: &[u8]) -> String {
        let mut out = Vec::new();
        tame(line, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn colours_stay_and_the_rest_goes() {
        for (line, expected) in [
            (&b"plain \xe2\x82\xac \xc2\xb5"[..], "plain € µ"),
            (b"\x1b[31mred\x1b[0m.", "\x1b[31mred\x1b[0m.\x1b[0m"),
            (b"\x1b[2J\x1b[H\x1b[?25lx\x1b[3Ay", "xy"),
            (b"\x1b]0;title\x07x\x1b]8;;http://y\x1b\\link", "xlink"),
            (b"\x1bcx\x1b(By\x1b7", "xy"),
            (b"10%\r20%\r30%\r", "30%"),
            (b"dos\r", "dos"),
            (b"a\tb\x07c\x00", "a\tb^Gc^@"),
            (b"\xc2\x9b2Jx", "2Jx"),
            (b"cut \x1b[3", "cut "),
            (b"\x1b]0;never ends", ""),
            (b"\x1b", ""),
        ] {
            assert_eq!(tamed(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_colours_reaches_the_screen(line in proptest::collection::vec(prop_oneof![
            2 => any::<u8>(), 2 => Just(0x1b), 1 => Just(b'['), 1 => Just(b'm'), 1 => Just(b']'), 1 => b'0'..=b'9',
        ], 0..40)) {
            let mut out = Vec::new();
            tame(&line, &mut out);
            let mut rest = out.as_slice();
            while let Some(at) = memchr::memchr(0x1b, rest) {
                rest = &rest[at..];
                let end = super::length(rest);
                prop_assert!(super::is_color(&rest[..end]), "{:?}", out);
                rest = &rest[end..];
            }
            prop_assert!(!out.iter().any(|b| *b < 0x20 && *b != b'\t' && *b != 0x1b));
        }
    }
}
