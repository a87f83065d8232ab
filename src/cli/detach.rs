//! The keys that leave an attached terminal: written as docker writes them (`ctrl-p,ctrl-q`), and found among what is typed.

use std::fmt;
use std::str::FromStr;

/// A sequence of keys, one byte each; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no key: a letter, or ctrl- and one of a-z @ [ \\ ] ^ _, with commas between")]
pub(crate) struct NoKey(String);

impl FromStr for Keys {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        text.split(',').map(|key| one(key).ok_or_else(|| NoKey(key.to_owned()))).collect::<Result<_, _>>().map(Self)
    }
}

fn one(key: &str) -> Option<u8> {
    let single = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() => Some(*byte),
        _ => None,
    };
    let Some(with_ctrl) = key.strip_prefix("ctrl-").or_else(|| key.strip_prefix("Ctrl-")) else { return single(key) };
    let letter = single(with_ctrl)?.to_ascii_uppercase();
    matches!(letter, b'@'..=b'_').then_some(letter & 0x1f)
}

/// `Ctrl-P Ctrl-Q`
impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            match key {
                0..=0x1f => write!(f, "{gap}Ctrl-{}", char::from(key | 0x40))?,
                _ => write!(f, "{gap}{}", char::from(*key))?,
            }
        }
        Ok(())
    }
}

/// Looks for the sequence. What may be its beginning is held back until the next key shows that it is not.
#[derive(Debug)]
pub(crate) struct Lookout {
    keys: Keys,
    held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Stay,
    Leave,
}

impl Lookout {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, held: 0 }
    }

    /// Appends what is for the service.
    pub(crate) fn typed(&mut self, bytes: &[u8], through: &mut Vec<u8>) -> Wish {
        for &byte in bytes {
            // The held keys, less as many as it takes until the rest with this one is a beginning again.
            while self.held > 0 && !self.goes_on(byte) {
                let held = self.keys.0[..self.held].to_vec();
                let keep = (0..self.held).rev().find(|keep| held[self.held - keep..] == self.keys.0[..*keep]);
                let keep = keep.unwrap_or(0);
                through.extend_from_slice(&held[..self.held - keep]);
                self.held = keep;
            }
            if self.goes_on(byte) {
                self.held += 1;
            } else {
                through.push(byte);
            }
            if self.held == self.keys.0.len() {
                self.held = 0;
                return Wish::Leave;
            }
        }
        Wish::Stay
    }

    fn goes_on(&self, byte: u8) -> bool {
        self.keys.0.get(self.held) == Some(&byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> Keys {
        text.parse().expect("keys")
    }

    #[test]
    fn keys_are_written_as_docker_writes_them() {
        assert_eq!(keys("ctrl-p,ctrl-q").0, [0x10, 0x11]);
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-_,~,.").0, [0, 0x1b, 0x1f, b'~', b'.']);
        assert_eq!(keys("ctrl-p,x").to_string(), "Ctrl-P x");
        for wrong in ["", "ctrl-", "ctrl-1", "ctrl-pq", "ab", "a,,b", " ", "é", "ctrl-é"] {
            assert!(wrong.parse::<Keys>().is_err(), "`{wrong}`");
        }
    }

    #[test]
    fn a_beginning_is_held_back_and_passed_on_when_it_is_none() {
        let mut lookout = Lookout::new(keys("ctrl-p,ctrl-q"));
        let mut through = Vec::new();
        assert_eq!(lookout.typed(b"a\x10", &mut through), Wish::Stay);
        assert_eq!(through, b"a");
        assert_eq!(lookout.typed(b"b\x10\x10", &mut through), Wish::Stay);
        assert_eq!(through, b"a\x10b\x10");
        assert_eq!(lookout.typed(b"\x11never", &mut through), Wish::Leave);
        assert_eq!(through, b"a\x10b\x10");
    }

    proptest! {
        /// However it is cut: it leaves exactly where the sequence is, and all before it was passed on.
        #[test]
        fn it_leaves_where_the_sequence_is(
            typed in proptest::collection::vec(b'a'..=b'b', 0..40), keys in proptest::collection::vec(b'a'..=b'b', 1..5),
            cut in 1..5_usize,
        ) {
            let mut lookout = Lookout::new(Keys(keys.clone()));
            let (mut through, mut left) = (Vec::new(), false);
            for piece in typed.chunks(cut) {
                if lookout.typed(piece, &mut through) == Wish::Leave {
                    left = true;
                    break;
                }
            }
            match typed.windows(keys.len()).position(|window| window == keys) {
                Some(at) => prop_assert!(left && through == typed[..at]),
                None => prop_assert!(!left && typed.starts_with(&through) && typed.len() - through.len() < keys.len()),
            }
        }
    }
}
