//! Masks the values devsup itself injected, in a stream that comes in pieces of any size.
//!
//! A piece's last bytes may begin a secret: they are held back until the next piece decides. So less than one secret's
//! length waits. Secrets may overlap, and one may begin another: every byte of every one of them is masked, and what comes
//! out depends on the stream alone, not on how the service's writes were cut.

use std::borrow::Cow;
use std::cmp::Reverse;

use memchr::memmem::Finder;

/// Shorter values are ordinary words: masking them would eat the log.
const SHORTEST: usize = 8;

struct Secret {
    finder: Finder<'static>,
    mask: Vec<u8>,
}

/// What is held back of one stream.
#[derive(Default)]
pub(super) struct Carry {
    /// May begin a secret.
    bytes: Vec<u8>,
    /// So many of them belong to a secret whose mask was let through already.
    masked: usize,
}

/// A secret in the bytes at hand, from where to where.
struct Found<'a> {
    from: usize,
    to: usize,
    mask: &'a [u8],
}

/// No Debug on purpose.
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// (what to write instead, the secret)
    pub fn new(values: Vec<(String, String)>) -> Self {
        let long = values.into_iter().filter(|(_, secret)| secret.len() >= SHORTEST);
        Self(
            long.map(|(mask, secret)| Secret {
                finder: Finder::new(secret.as_bytes()).into_owned(),
                mask: mask.into_bytes(),
            })
            .collect(),
        )
    }

    /// All of a text that is there whole.
    pub fn mask(&self, text: &[u8]) -> Vec<u8> {
        let mut carry = Carry::default();
        let mut out = self.feed(&mut carry, text).into_owned();
        out.extend(self.end(&mut carry));
        out
    }

    /// What may be let through of the bytes held back before and these; the rest is held back in `carry`.
    pub(super) fn feed<'a>(&self, carry: &mut Carry, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let masked = std::mem::take(&mut carry.masked);
        let joined = if carry.bytes.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            carry.bytes.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut carry.bytes))
        };
        let hold = joined.len() - self.beginning(&joined);
        let found = self.found(&joined);
        if found.is_empty() && masked == 0 {
            carry.bytes.extend_from_slice(&joined[hold..]);
            return match joined {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..hold]),
                Cow::Owned(mut bytes) => {
                    bytes.truncate(hold);
                    Cow::Owned(bytes)
                }
            };
        }
        let (mut out, done) = sweep(&joined, found, masked, hold);
        out.extend_from_slice(joined.get(done..hold).unwrap_or_default());
        carry.bytes.extend_from_slice(&joined[hold..]);
        carry.masked = done.saturating_sub(hold);
        Cow::Owned(out)
    }

    /// The stream is over: what was held back. A long beginning of a secret is as good as the secret.
    pub(super) fn end(&self, carry: &mut Carry) -> Vec<u8> {
        let Carry { bytes: rest, masked } = std::mem::take(carry);
        let mut found = self.found(&rest);
        for secret in &self.0 {
            let from = rest.len() - secret.beginning(&rest);
            if rest.len() - from >= SHORTEST {
                found.push(Found { from, to: rest.len(), mask: &secret.mask });
            }
        }
        let (mut out, done) = sweep(&rest, found, masked, rest.len());
        out.extend_from_slice(rest.get(done..).unwrap_or_default());
        out
    }

    /// Every place where a secret stands, those that overlap too.
    fn found(&self, bytes: &[u8]) -> Vec<Found<'_>> {
        let mut all = Vec::new();
        for Secret { finder, mask } in &self.0 {
            let mut at = 0;
            while let Some(further) = finder.find(&bytes[at..]) {
                let from = at + further;
                all.push(Found { from, to: from + finder.needle().len(), mask });
                at = from + 1;
            }
        }
        all
    }

    /// How many bytes at the end may begin a secret.
    fn beginning(&self, bytes: &[u8]) -> usize {
        self.0.iter().map(|secret| secret.beginning(bytes)).max().unwrap_or(0)
    }
}

impl Secret {
    fn beginning(&self, bytes: &[u8]) -> usize {
        let needle = self.finder.needle();
        let window = &bytes[bytes.len().saturating_sub(needle.len() - 1)..];
        memchr::memchr_iter(needle[0], window)
            .find(|at| needle.starts_with(&window[*at..]))
            .map_or(0, |at| window.len() - at)
    }
}

/// What stands before `hold`, secrets masked, and up to where that was decided. Secrets that overlap are one, and have the mask
/// of the first, the longest if several begin there. `masked`: so many bytes are dealt with. What begins at `hold` or later
/// waits: a longer one may begin there too.
fn sweep(bytes: &[u8], mut found: Vec<Found<'_>>, masked: usize, hold: usize) -> (Vec<u8>, usize) {
    found.sort_by_key(|found| (found.from, Reverse(found.to)));
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = masked;
    for Found { from, to, mask } in found {
        if from < done {
            done = done.max(to);
        } else if from < hold {
            out.extend_from_slice(&bytes[done..from]);
            out.extend_from_slice(mask);
            done = to;
        } else {
            break;
        }
    }
    (out, done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(secrets: &Secrets, pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut carry = Carry::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&secrets.feed(&mut carry, piece));
        }
        out.extend(secrets.end(&mut carry));
        out
    }

    #[test]
    fn short_values_and_none_cost_nothing() {
        let secrets = Secrets::new(vec![("[x]".into(), "short".into())]);
        assert!(secrets.0.is_empty());
        assert!(matches!(secrets.feed(&mut Carry::default(), b"short"), Cow::Borrowed(b"short")));
    }

    #[test]
    fn a_long_beginning_at_the_end_is_masked() {
        let secrets = Secrets::new(vec![("[x]".into(), "abcdefghijkl".into())]);
        assert_eq!(run(&secrets, &[b"key: abcdefghijk".to_vec()]), b"key: [x]");
        assert_eq!(run(&secrets, &[b"key: abcdefg".to_vec()]), b"key: abcdefg");
    }

    proptest! {
        /// A tiny alphabet makes near misses, overlaps and beginnings common.
        #[test]
        fn no_secret_passes_however_the_bytes_are_cut(
            a in "[ab]{8,12}", b in "[ab]{8,20}",
            text in "[ab]{0,30}", more in "[ab\n]{0,200}",
            sizes in proptest::collection::vec(1..9usize, 1..200),
        ) {
            let secrets = Secrets::new(vec![("[one]".into(), a.clone()), ("[two]".into(), b.clone())]);
            let all = format!("{text}{a}{more}{b}{text}").into_bytes();
            let mut pieces = Vec::new();
            let mut rest = all.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, further) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = further;
            }
            let out = String::from_utf8(run(&secrets, &pieces)).expect("ascii");
            prop_assert!(!out.contains(&a) && !out.contains(&b), "{out:?}");
        }

        #[test]
        fn what_is_no_secret_passes_unchanged(pieces in proptest::collection::vec(proptest::collection::vec(b'a'..=b'd', 0..20), 0..20)) {
            let secrets = Secrets::new(vec![("[x]".into(), "abcdabcdX".into())]);
            // Ends with another byte, so that no beginning of the secret is left at the end.
            let mut pieces = pieces;
            pieces.push(b"\n".to_vec());
            prop_assert_eq!(run(&secrets, &pieces), pieces.concat());
        }
    }
}
