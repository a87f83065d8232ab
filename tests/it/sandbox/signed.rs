//! A small client of its own: it signs with aws-sigv4 and speaks HTTP over a plain socket, so that a test can send what
//! no SDK would.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use devsup::sandbox::Ready;
use devsup::sys::clock;

/// Who signs.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl From<Ready> for Keys {
    fn from(ready: Ready) -> Self {
        Self { id: ready.access_key_id, secret: ready.secret_access_key, token: ready.session_token }
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// The text of the first element of this name.
    pub(super) fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    }

    pub(super) fn code(&self) -> &str {
        self.element("Code").unwrap_or("ok")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One request, and how it is signed.
pub(super) struct Ask<'a> {
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    pub(super) headers: Vec<(&'a str, String)>,
    /// What stands for the body's hash, when it is not the hash.
    pub(super) payload: Option<&'a str>,
    /// Seconds the client's clock is ahead.
    pub(super) ahead: i64,
    pub(super) presigned: Option<Duration>,
}

impl<'a> Ask<'a> {
    pub(super) fn s3(method: &'a str, path: &'a str) -> Self {
        Self { service: "s3", method, path, body: b"", headers: Vec::new(), payload: None, ahead: 0, presigned: None }
    }

    pub(super) fn sts(form: &'a str) -> Self {
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        Self { service: "sts", body: form.as_bytes(), headers, ..Self::s3("POST", "/") }
    }

    /// Method, target and headers, signed.
    pub(super) fn signed(&self, url: &str, keys: &Keys) -> (String, Vec<(String, String)>) {
        let identity = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "test").into();
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if self.presigned.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = self.presigned;
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(self.service)
            .time(moment(self.ahead))
            .settings(settings)
            .build()
            .expect("all that a signature needs")
            .into();
        let mut headers: Vec<(String, String)> = vec![("host".into(), url.trim_start_matches("http://").into())];
        headers.extend(self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let body = match self.payload {
            Some(word) => SignableBody::Precomputed(word.to_owned()),
            None if self.presigned.is_some() => SignableBody::UnsignedPayload,
            None => SignableBody::Bytes(self.body),
        };
        let shown = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(self.method, format!("{url}{}", self.path), shown, body).expect("a request");
        let (instructions, _) = sign(request, &params).expect("a signature").into_parts();
        let query: Vec<String> =
            instructions.params().iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
        headers.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut target = self.path.to_owned();
        if !query.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&query.join("&"));
        }
        (target, headers)
    }

    pub(super) fn send(&self, url: &str, keys: &Keys) -> Answer {
        let (target, headers) = self.signed(url, keys);
        raw(url, self.method, &target, &headers, self.body).expect("an answer")
    }
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn moment(ahead: i64) -> SystemTime {
    let now = UNIX_EPOCH + clock::realtime();
    let by = Duration::from_secs(ahead.unsigned_abs());
    if ahead < 0 { now - by } else { now + by }
}

/// One request over a socket of its own; `None` when the connection ends without an answer.
pub(super) fn raw(url: &str, method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Option<Answer> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name == "host") {
        text += &["host: ", url.trim_start_matches("http://"), "\r\n"].concat();
    }
    for (name, value) in headers {
        text += &[name, ": ", value, "\r\n"].concat();
    }
    text += "\r\n";
    let bytes = [text.as_bytes(), body].concat();
    let mut answer = Vec::new();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("the sandbox listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // A server that refuses early may close while we still write; what it said is read all the same.
    drop(stream.write_all(&bytes));
    drop(stream.read_to_end(&mut answer));
    if answer.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status line");
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A session of a role, by the base identity.
pub(super) fn assume(url: &str, base: &Keys, role: &str) -> Keys {
    let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName=me", escaped(role));
    let answer = Ask::sts(&form).send(url, base);
    let word = |name| answer.element(name).unwrap_or_else(|| panic!("no {name} in {}", answer.body)).to_owned();
    Keys { id: word("AccessKeyId"), secret: word("SecretAccessKey"), token: Some(word("SessionToken")) }
}
