//! What a service shows at the endpoint: 256 bits in the alphabet of URLs, so that it needs no quoting anywhere.

use std::io;

use secrecy::SecretString;
use zeroize::Zeroizing;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 256 bits.
pub(super) fn token() -> io::Result<SecretString> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes)?;
    Ok(base64url(&*bytes).into())
}

/// 128 bits: no secret, but nobody's to guess.
pub(super) fn id() -> io::Result<String> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(base64url(&bytes))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    let letter = |bits: u32| char::from(LETTERS[(bits & 63) as usize]);
    // Its whole length at once: what grows leaves copies.
    let mut out = String::with_capacity((bytes.len() * 8).div_ceil(6));
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        out.extend((0..=three.len()).map(|at| letter(bits >> (18 - 6 * at))));
    }
    out
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_alphabet_is_that_of_urls() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn a_token_has_256_bits_and_no_two_are_alike() {
        let (one, two) = (token().expect("random"), token().expect("random"));
        assert_eq!(one.expose_secret().len(), 43);
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_ne!(id().expect("random"), id().expect("random"));
        assert!(one.expose_secret().bytes().all(|letter| LETTERS.contains(&letter)));
    }
}
