//! What must hold of the sandbox for any request: the body of a fuzz target, and of a test that runs it a little.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use jiff::Timestamp;

use super::config::Config;
use super::dispatch::dispatch;
use super::sigv4::{self, Signer};
use super::world::World;

/// One for all: that it lives through everything is what is shown.
fn world() -> &'static Arc<World> {
    static WORLD: OnceLock<Arc<World>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let roles = vec!["arn:aws:iam::033145145979:role/a".to_owned()];
        let buckets = BTreeMap::from([("bucket1".to_owned(), vec!["a".to_owned(), "dev".to_owned()])]);
        Arc::new(World::new(Config { roles, buckets, ..Config::default() }).expect("a world"))
    })
}

/// `METHOD URI`, headers, an empty line, a body: it is answered, and no answer holds the base identity's secret. With a first
/// byte that is odd it is signed as it should be, so that what comes after the signature is reached.
pub fn request(input: &[u8]) {
    let (flags, text) = input.split_first().unwrap_or((&0, &[]));
    let end = memchr::memmem::find(text, b"\n\n").unwrap_or(text.len());
    let body = Bytes::copy_from_slice(text.get(end + 2..).unwrap_or_default());
    let mut lines = text[..end].split(|byte| *byte == b'\n');
    let Some(mut request) = begun(lines.next().unwrap_or_default(), body) else { return };
    for line in lines {
        let at = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    if flags & 1 == 1 {
        request = signed(request, if flags & 2 == 2 { "sts" } else { "s3" });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answer = runtime.block_on(async {
        let response = dispatch(Arc::clone(world()), request).await.expect("no fault drops it");
        assert!(response.status().as_u16() >= 200);
        let Ok(body) = response.into_body().collect().await;
        body.to_bytes()
    });
    // Of another session than the base identity's it may be: that is what AssumeRole is for.
    let secret = world().ready(String::new()).secret_access_key;
    assert!(memchr::memmem::find(&answer, secret.as_bytes()).is_none());
}

fn begun(line: &[u8], body: Bytes) -> Option<Request<Full<Bytes>>> {
    let at = memchr::memchr(b' ', line)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::from_bytes(&line[..at]).ok()?;
    *request.uri_mut() = Uri::from_maybe_shared(Bytes::copy_from_slice(&line[at + 1..])).ok()?;
    Some(request)
}

/// As the base identity, with a body that is not signed.
fn signed(request: Request<Full<Bytes>>, service: &str) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let ready = world().ready(String::new());
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let hash = match service {
        // STS is told the hash of what it gets.
        "sts" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let Ok(whole) = runtime.block_on(body.clone().collect());
            sigv4::hash(&whole.to_bytes())
        }
        _ => "UNSIGNED-PAYLOAD".to_owned(),
    };
    let mut put = |name: &'static str, value: &str| {
        parts.headers.insert(name, HeaderValue::from_str(value).expect("our own"));
    };
    put("host", "localhost");
    put("x-amz-date", &time);
    put("x-amz-content-sha256", &hash);
    if let Some(token) = &ready.session_token {
        put("x-amz-security-token", token);
    }
    let scope = format!("{}/{}/{}/{service}/aws4_request", ready.access_key_id, &time[..8], ready.region);
    let authorized = |signature: &str| {
        let text = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}");
        HeaderValue::from_str(&text).expect("our own")
    };
    parts.headers.insert("authorization", authorized("none"));
    let claims = sigv4::claims(&parts).expect("our own");
    let signature = Signer::new(&ready.secret_access_key, &claims).request(&parts, &claims, &hash);
    parts.headers.insert("authorization", authorized(&signature));
    Request::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn scraps() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "GET /",
            "PUT /",
            "POST /",
            "bucket1",
            "/",
            "?",
            "&",
            "list-type=2",
            "prefix=",
            "max-keys=",
            "%ff",
            "\n",
            "\n\n",
            "Action=AssumeRole",
            "Action=GetCallerIdentity",
            "RoleArn=arn:aws:iam::033145145979:role/a",
            "RoleSessionName=x",
            "DurationSeconds=",
            "Policy=",
            "{}",
            "900",
            "-1",
            "content-type:application/x-www-form-urlencoded",
            "content-encoding:aws-chunked",
            "range:bytes=",
            "5;chunk-signature=",
            "\r\n",
            "0",
            "_sandbox/faults",
            " ",
        ];
        let scrap = prop_oneof![
            4 => proptest::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(scrap, 0..14).prop_map(|scraps| scraps.concat())
    }

    proptest! {
        #[test]
        fn any_request_is_answered(flags: u8, text in scraps()) {
            super::request(&[&[flags][..], &text].concat());
        }

        #[test]
        fn any_request_to_sts_is_answered(signed: bool, form in scraps()) {
            super::request(&[&[2 | u8::from(signed)][..], b"POST /\n\n", &form].concat());
        }
    }

    #[test]
    fn what_is_signed_here_is_believed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let body = super::Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
        let request = super::begun(b"POST /", body).expect("a request");
        let answer = runtime.block_on(super::dispatch(super::world().clone(), super::signed(request, "sts")));
        assert_eq!(answer.expect("answered").status(), 200);
        let request = super::begun(b"GET /bucket1?list-type=2", super::Bytes::new()).expect("a request");
        let answer = runtime.block_on(super::dispatch(super::world().clone(), super::signed(request, "s3")));
        assert!(matches!(answer.expect("answered").status().as_u16(), 200 | 403), "known, if not allowed");
    }
}
