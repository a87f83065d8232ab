//! What a keeper and an attached terminal say to each other once the connection of `POST /v1/attach/{service}` is theirs:
//! a letter, a length of four bytes (big end first), and so many bytes.
//!
//! | letter | says | bytes |
//! |---|---|---|
//! | `k` | terminal: these keys were typed | as they are |
//! | `s` | terminal: this is its size | rows, columns, two bytes each, big end first |
//! | `r` | which run this is, once at the beginning | JSON `{"run": 4, "why": ["credentials"]}` |
//! | `o` | keeper: the service wrote | as they are |
//! | `m` | keeper: so much was not sent, because it was not read | eight bytes, big end first |
//! | `e` | keeper: the run has ended so | JSON, as `exit` of a service |

use serde::{Deserialize, Serialize};

use crate::supervisor::Exit;
use crate::sys::pty::Size;

/// What both sides name in `Upgrade:`.
pub const PROTOCOL: &str = "devsup-attach";

/// More in one word is garbage.
const LARGEST: usize = 64 << 10;
const HEAD: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Keys(Vec<u8>),
    Size(Size),
    Run(Begun),
    Output(Vec<u8>),
    Missed(u64),
    Ended(Exit),
}

/// The run that was attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub run: u32,
    /// Why it was started; empty for a first start and after a crash.
    pub why: Vec<String>,
}

/// What came is no word of ours.
#[derive(Debug, thiserror::Error)]
#[error("what the other side of the attached terminal says is not understood")]
pub struct Garbled;

impl Word {
    /// Keys and output of any length become as many words as it takes.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Keys(bytes) => pieces(b'k', bytes, out),
            Self::Output(bytes) => pieces(b'o', bytes, out),
            Self::Size(size) => {
                let [a, b] = size.rows.to_be_bytes();
                let [c, d] = size.cols.to_be_bytes();
                piece(b's', &[a, b, c, d], out);
            }
            Self::Missed(bytes) => piece(b'm', &bytes.to_be_bytes(), out),
            // Our own shapes have no failing serializer.
            Self::Run(begun) => piece(b'r', &serde_json::to_vec(begun).unwrap_or_default(), out),
            Self::Ended(exit) => piece(b'e', &serde_json::to_vec(exit).unwrap_or_default(), out),
        }
    }

    fn read(letter: u8, bytes: &[u8]) -> Result<Self, Garbled> {
        let word = match letter {
            b'k' => Self::Keys(bytes.to_vec()),
            b'o' => Self::Output(bytes.to_vec()),
            b's' => {
                let [a, b, c, d] = <[u8; 4]>::try_from(bytes).map_err(|_| Garbled)?;
                Self::Size(Size { rows: u16::from_be_bytes([a, b]), cols: u16::from_be_bytes([c, d]) })
            }
            b'm' => Self::Missed(u64::from_be_bytes(bytes.try_into().map_err(|_| Garbled)?)),
            b'r' => Self::Run(serde_json::from_slice(bytes).map_err(|_| Garbled)?),
            b'e' => Self::Ended(serde_json::from_slice(bytes).map_err(|_| Garbled)?),
            _ => return Err(Garbled),
        };
        Ok(word)
    }
}

/// The shape of output, without owning it.
pub fn put_output(bytes: &[u8], out: &mut Vec<u8>) {
    pieces(b'o', bytes, out);
}

fn pieces(letter: u8, bytes: &[u8], out: &mut Vec<u8>) {
    for bytes in bytes.chunks(LARGEST) {
        piece(letter, bytes, out);
    }
}

fn piece(letter: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(letter);
    // At most LARGEST, so it fits.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Bytes as they come, until they are words.
#[derive(Debug, Default)]
pub struct Words {
    bytes: Vec<u8>,
}

impl Words {
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole word.
    pub fn next_word(&mut self) -> Result<Option<Word>, Garbled> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [letter, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Garbled)?;
        if length > LARGEST {
            return Err(Garbled);
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let word = Word::read(letter, bytes)?;
        self.bytes.drain(..HEAD + length);
        Ok(Some(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], at_once: usize) -> Result<Vec<Word>, Garbled> {
        let (mut words, mut found) = (Words::default(), Vec::new());
        for piece in bytes.chunks(at_once) {
            words.take(piece);
            while let Some(word) = words.next_word()? {
                found.push(word);
            }
        }
        Ok(found)
    }

    #[test]
    fn every_word_arrives_however_it_is_cut() {
        let all = [
            Word::Keys(b"ls\r".to_vec()),
            Word::Size(Size { rows: 50, cols: 300 }),
            Word::Run(Begun { run: 4, why: vec!["credentials".into()] }),
            Word::Output(b"\x1b[1mhi".to_vec()),
            Word::Missed(u64::MAX),
            Word::Ended(Exit::Signal(9)),
            Word::Ended(Exit::Code(0)),
        ];
        let mut bytes = Vec::new();
        for word in &all {
            word.put(&mut bytes);
        }
        for at_once in [1, 2, 7, bytes.len()] {
            assert_eq!(read(&bytes, at_once).unwrap(), all);
        }
    }

    #[test]
    fn long_output_is_several_words() {
        let long = vec![b'x'; LARGEST + 1];
        let mut bytes = Vec::new();
        put_output(&long, &mut bytes);
        let words = read(&bytes, 4096).unwrap();
        assert_eq!(words, [Word::Output(long[..LARGEST].to_vec()), Word::Output(b"x".to_vec())]);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut words = Words::default();
            words.take(&bytes);
            while let Ok(Some(_)) = words.next_word() {}
        }
    }
}
