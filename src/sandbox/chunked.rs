//! The `aws-chunked` coding, in which SDKs send a body they have not hashed beforehand.
//!
//! `<hex size>[;chunk-signature=<hex>]\r\n<data>\r\n` … `0[;…]\r\n` then trailing headers. Trailers are read over: they
//! carry checksums, which the sandbox does not keep.

use subtle::ConstantTimeEq;

use super::sigv4::Signer;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the chunked body ends too early or is not chunked")]
    Framing,
    #[error("a chunk's signature does not match")]
    Signature,
}

/// The data of a chunked body. With a signer every chunk must carry its signature, the first one chained to `seed`.
pub(super) fn decode(mut body: &[u8], signer: Option<&Signer>, seed: &str) -> Result<Vec<u8>, Malformed> {
    let mut data = Vec::with_capacity(body.len());
    let mut previous = seed.to_owned();
    loop {
        let (line, rest) = line(body)?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| Malformed::Framing)?;
        let chunk = rest.get(..size).ok_or(Malformed::Framing)?;
        if let Some(signer) = signer {
            let due = signer.chunk(&previous, chunk);
            let given = extension.strip_prefix("chunk-signature=").unwrap_or_default().trim();
            if !bool::from(due.as_bytes().ct_eq(given.as_bytes())) {
                return Err(Malformed::Signature);
            }
            previous = due;
        }
        if size == 0 {
            return Ok(data);
        }
        data.extend_from_slice(chunk);
        body = rest[size..].strip_prefix(b"\r\n").ok_or(Malformed::Framing)?;
    }
}

fn line(body: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    // A size and a signature fit into this many bytes.
    let end = body.iter().take(256).position(|byte| *byte == b'\n').ok_or(Malformed::Framing)?;
    let text = std::str::from_utf8(&body[..end]).map_err(|_| Malformed::Framing)?;
    Ok((text.strip_suffix('\r').ok_or(Malformed::Framing)?, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_trailers_left_out() {
        let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(decode(body, None, ""), Ok(b"hello world".to_vec()));
        assert_eq!(decode(b"0\r\n\r\n", None, ""), Ok(Vec::new()));
    }

    #[test]
    fn a_body_that_is_cut_or_not_chunked_is_refused() {
        for bad in [
            &b"5\r\nhel"[..],
            b"",
            b"zz\r\n",
            b"5\r\nhello",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"ffffffffffffffffff\r\n",
            b"5\nhello",
        ] {
            assert_eq!(decode(bad, None, ""), Err(Malformed::Framing), "{bad:?}");
        }
    }
}
