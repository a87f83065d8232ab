//! Signature Version 4, the server's side: reads who signed what, and computes the signature that should stand there.
//!
//! The contract is AWS's "Create a signed AWS API request"; S3 differs in that its path is escaped once and never
//! normalised, and in what may stand for the hash of the body.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// All but RFC 3986's unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const STRICT_BUT_SLASH: &AsciiSet = &STRICT.remove(b'/');
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The claims of a signed request. Nothing in here is believed before the signature was computed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) key_id: String,
    /// `YYYYMMDD`.
    pub(super) day: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: String,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: String,
    pub(super) token: Option<String>,
    /// Seconds a presigned address is good; `None` when the signature stands in a header.
    pub(super) presigned: Option<u64>,
}

/// Why a request has no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    Missing,
    Malformed(&'static str),
}

/// Reads the Authorization header, or the query of a presigned address.
pub(super) fn claims(parts: &Parts) -> Result<Claims, Unsigned> {
    match text(&parts.headers, "authorization") {
        Some(header) => from_header(header, &parts.headers),
        None if parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature=")) => from_query(&parts.uri),
        None => Err(Unsigned::Missing),
    }
}

fn from_header(header: &str, headers: &HeaderMap) -> Result<Claims, Unsigned> {
    let rest =
        header.strip_prefix(ALGORITHM).ok_or(Unsigned::Malformed("Authorization header requires AWS4-HMAC-SHA256."))?;
    let field = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let time = text(headers, "x-amz-date")
        .ok_or(Unsigned::Malformed("Authorization header requires existence of an 'X-Amz-Date' header."))?;
    scoped(
        field("Credential").ok_or(Unsigned::Malformed("Authorization header requires 'Credential' parameter."))?,
        field("SignedHeaders")
            .ok_or(Unsigned::Malformed("Authorization header requires 'SignedHeaders' parameter."))?,
        field("Signature").ok_or(Unsigned::Malformed("Authorization header requires 'Signature' parameter."))?,
        time,
    )
    .map(|claims| Claims { token: text(headers, "x-amz-security-token").map(str::to_owned), ..claims })
}

fn from_query(uri: &http::Uri) -> Result<Claims, Unsigned> {
    let pairs = pairs(uri.query().unwrap_or_default());
    let field = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let need = |name: &str| field(name).ok_or(Unsigned::Malformed("a query parameter of the signature is missing"));
    let expires = need("X-Amz-Expires").ok().and_then(|text| text.parse().ok()).unwrap_or(900).min(604_800);
    let claims =
        scoped(need("X-Amz-Credential")?, need("X-Amz-SignedHeaders")?, need("X-Amz-Signature")?, need("X-Amz-Date")?)?;
    Ok(Claims { token: field("X-Amz-Security-Token").map(str::to_owned), presigned: Some(expires), ..claims })
}

fn scoped(credential: &str, signed_headers: &str, signature: &str, time: &str) -> Result<Claims, Unsigned> {
    let words: Vec<&str> = credential.split('/').collect();
    let [key_id, day, region, service, "aws4_request"] = words[..] else {
        return Err(Unsigned::Malformed("Credential must be <key>/<date>/<region>/<service>/aws4_request."));
    };
    if !time.starts_with(day) || day.len() != 8 {
        return Err(Unsigned::Malformed("Date in Credential scope does not match the date of the request."));
    }
    let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_lowercase).collect();
    if !signed_headers.iter().any(|name| name == "host") {
        return Err(Unsigned::Malformed("'Host' must be a signed header."));
    }
    Ok(Claims {
        key_id: key_id.to_owned(),
        day: day.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers,
        signature: signature.to_owned(),
        time: time.to_owned(),
        token: None,
        presigned: None,
    })
}

/// Signs for one key and one scope; also the links of a body that is signed chunk by chunk.
#[derive(Clone)]
pub(super) struct Signer {
    key: [u8; 32],
    time: String,
    scope: String,
}

impl Signer {
    pub(super) fn new(secret: &str, claims: &Claims) -> Self {
        let key = hmac(format!("AWS4{secret}").as_bytes(), &claims.day);
        let key =
            [claims.region.as_str(), &claims.service, "aws4_request"].iter().fold(key, |key, word| hmac(&key, word));
        let scope = format!("{}/{}/{}/aws4_request", claims.day, claims.region, claims.service);
        Self { key, time: claims.time.clone(), scope }
    }

    /// What the signature of this request should be.
    pub(super) fn request(&self, parts: &Parts, claims: &Claims, payload_hash: &str) -> String {
        let canonical = canonical(parts, claims, payload_hash);
        self.sign(ALGORITHM, &hex(&Sha256::digest(canonical.as_bytes())))
    }

    /// What the signature of one chunk should be, after the one before it.
    pub(super) fn chunk(&self, previous: &str, data: &[u8]) -> String {
        let empty = hex(&Sha256::digest(b""));
        self.sign("AWS4-HMAC-SHA256-PAYLOAD", &format!("{previous}\n{empty}\n{}", hex(&Sha256::digest(data))))
    }

    fn sign(&self, kind: &str, what: &str) -> String {
        hex(&hmac(&self.key, &format!("{kind}\n{}\n{}\n{what}", self.time, self.scope)))
    }
}

fn canonical(parts: &Parts, claims: &Claims, payload_hash: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(parts.uri.path()).collect();
    let path = percent_encoding::percent_encode(&decoded, STRICT_BUT_SLASH).to_string();
    let mut query: Vec<(String, String)> = pairs(parts.uri.query().unwrap_or_default())
        .into_iter()
        .filter(|(key, _)| claims.presigned.is_none() || key != "X-Amz-Signature")
        .map(|(key, value)| (escape(&key), escape(&value)))
        .collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut headers = String::new();
    for name in &claims.signed_headers {
        writeln!(headers, "{name}:{}", folded(&parts.headers, name)).unwrap_or_default();
    }
    let names = claims.signed_headers.join(";");
    format!("{}\n{path}\n{}\n{headers}\n{names}\n{payload_hash}", parts.method, query.join("&"))
}

/// All values of a header, each with its runs of spaces made one, joined by commas.
fn folded(headers: &HeaderMap, name: &str) -> String {
    let fold = |value: &http::HeaderValue| {
        String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    headers.get_all(name).iter().map(fold).collect::<Vec<_>>().join(",")
}

/// Escaped as AWS escapes every query value.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// A query's pairs, unescaped; a key alone has an empty value.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// A header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn hash(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

fn hmac(key: &[u8], data: &str) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "get-vanilla-query-order-key-case" of AWS's published SigV4 test suite: key, secret and signature are AWS's own.
    #[test]
    fn the_published_example_comes_out() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
            SignedHeaders=host;x-amz-date, \
            Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        let (parts, ()) = http::Request::get("/?Param2=value2&Param1=value1")
            .header("host", "example.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", authorization)
            .body(())
            .expect("a request")
            .into_parts();
        let claims = claims(&parts).expect("it is signed");
        let signer = Signer::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &claims);
        assert_eq!(signer.request(&parts, &claims, &hash(b"")), claims.signature);
        assert_ne!(Signer::new("another", &claims).request(&parts, &claims, &hash(b"")), claims.signature);
    }

    #[test]
    fn a_header_that_is_no_signature_says_what_it_lacks() {
        let ask = |authorization: &str| {
            let request = http::Request::get("/").header("x-amz-date", "20150830T123600Z");
            claims(&request.header("authorization", authorization).body(()).expect("a request").into_parts().0)
        };
        for bad in [
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=k/20150830/r/s/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=k/20150830/r/s, SignedHeaders=host, Signature=0",
            "AWS4-HMAC-SHA256 Credential=k/20150831/r/s/aws4_request, SignedHeaders=host, Signature=0",
            "AWS4-HMAC-SHA256 Credential=k/20150830/r/s/aws4_request, SignedHeaders=date, Signature=0",
        ] {
            assert!(matches!(ask(bad), Err(Unsigned::Malformed(_))), "{bad}");
        }
    }
}
