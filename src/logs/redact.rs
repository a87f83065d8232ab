//! Masks the values devsup itself injected, in a stream that comes in pieces of any size.
//!
//! A piece's last bytes may begin a secret: they are held back until the next piece decides. So at most one secret's
//! length waits, and what is let through never holds a whole secret, however the service's writes were cut.

use std::borrow::Cow;

use memchr::memmem::Finder;

/// Shorter values are ordinary words: masking them would eat the log.
const SHORTEST: usize = 8;

struct Secret {
    finder: Finder<'static>,
    mask: Vec<u8>,
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
        let mut carry = Vec::new();
        let mut out = self.feed(&mut carry, text).into_owned();
        out.extend(self.end(&mut carry));
        out
    }

    /// What may be let through of the bytes held back before and these; the rest is held back in `carry`.
    pub(super) fn feed<'a>(&self, carry: &mut Vec<u8>, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let joined = if carry.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            carry.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(carry))
        };
        let mut next: Vec<Option<usize>> = self.0.iter().map(|secret| secret.finder.find(&joined)).collect();
        if next.iter().all(Option::is_none) {
            let cut = joined.len() - self.beginning(&joined);
            carry.extend_from_slice(&joined[cut..]);
            return match joined {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..cut]),
                Cow::Owned(mut bytes) => {
                    bytes.truncate(cut);
                    Cow::Owned(bytes)
                }
            };
        }
        let (mut out, rest) = self.masked(&joined, &mut next);
        let cut = joined.len() - self.beginning(&joined[rest..]);
        out.extend_from_slice(&joined[rest..cut]);
        carry.extend_from_slice(&joined[cut..]);
        Cow::Owned(out)
    }

    /// The stream is over: what was held back. A long beginning of a secret is as good as the secret.
    pub(super) fn end(&self, carry: &mut Vec<u8>) -> Vec<u8> {
        let rest = std::mem::take(carry);
        let begun = self.0.iter().find(|secret| rest.len() >= SHORTEST && secret.finder.needle().starts_with(&rest));
        begun.map_or(rest, |secret| secret.mask.clone())
    }

    /// Everything up to the end of the last secret, and where that is. Leftmost first; of two at one place the longer.
    fn masked(&self, bytes: &[u8], next: &mut [Option<usize>]) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        loop {
            let found = self.0.iter().zip(next.iter()).filter_map(|(secret, place)| Some(((*place)?, secret)));
            let first = found.min_by_key(|(place, secret)| (*place, std::cmp::Reverse(secret.finder.needle().len())));
            let Some((place, secret)) = first else { return (out, at) };
            out.extend_from_slice(&bytes[at..place]);
            out.extend_from_slice(&secret.mask);
            at = place + secret.finder.needle().len();
            for (secret, place) in self.0.iter().zip(next.iter_mut()) {
                if place.is_some_and(|place| place < at) {
                    *place = secret.finder.find(&bytes[at..]).map(|further| at + further);
                }
            }
        }
    }

    /// How many bytes at the end may begin a secret.
    fn beginning(&self, bytes: &[u8]) -> usize {
        let longest = |secret: &Secret| {
            let needle = secret.finder.needle();
            let window = &bytes[bytes.len().saturating_sub(needle.len() - 1)..];
            memchr::memchr_iter(needle[0], window)
                .find(|at| needle.starts_with(&window[*at..]))
                .map_or(0, |at| window.len() - at)
        };
        self.0.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(secrets: &Secrets, pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut carry = Vec::new();
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
        assert!(matches!(secrets.feed(&mut Vec::new(), b"short"), Cow::Borrowed(b"short")));
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
