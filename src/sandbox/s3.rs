//! A little S3: buckets by name in the path (or before `.localhost`), allowed by role, objects in memory.
//!
//! Identity and rights are checked before one byte of a body is read.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Bytes;

use super::chunked;
use super::objects::Object;
use super::refusal::{Distrust, Refusal};
use super::s3_list;
use super::sigv4::{self, Claims};
use super::world::{Caller, World};
use super::xml::element;
use crate::sys::clock;

pub(super) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// What one request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) bucket: String,
    pub(super) key: String,
}

impl Address {
    pub(super) fn of(parts: &Parts) -> Self {
        let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let host = sigv4::text(&parts.headers, "host").unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let virtual_bucket = [".localhost", ".127.0.0.1"].iter().find_map(|suffix| host.strip_suffix(suffix));
        match (virtual_bucket, path.split_once('/')) {
            (Some(bucket), _) => Self { bucket: bucket.to_owned(), key: path.to_owned() },
            (None, Some((bucket, key))) => Self { bucket: bucket.to_owned(), key: key.to_owned() },
            (None, None) => Self { bucket: path.to_owned(), key: String::new() },
        }
    }

    fn arn(&self, action: &str) -> String {
        if self.bucket.is_empty() {
            "arn:aws:s3:::*".into()
        } else if self.key.is_empty() || action == "s3:ListBucket" {
            format!("arn:aws:s3:::{}", self.bucket)
        } else {
            format!("arn:aws:s3:::{}/{}", self.bucket, self.key)
        }
    }
}

/// The operations there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListBuckets,
    ListObjects,
    HeadBucket,
    GetBucketLocation,
    GetObject,
    HeadObject,
    PutObject,
    DeleteObject,
}

impl Operation {
    fn of(parts: &Parts, address: &Address) -> Result<Self, Refusal> {
        let query = sigv4::pairs(parts.uri.query().unwrap_or_default());
        let has = |name: &str| query.iter().any(|(key, _)| key == name);
        let whole = [
            "acl",
            "policy",
            "versioning",
            "versions",
            "uploads",
            "uploadId",
            "tagging",
            "delete",
            "lifecycle",
            "cors",
        ];
        let beyond = whole.iter().find(|name| has(name)).copied();
        let beyond = beyond.or_else(|| parts.headers.contains_key("x-amz-copy-source").then_some("copy"));
        if let Some(what) = beyond {
            return Err(unknown(&format!("the sandbox's S3 has no `{what}`")));
        }
        match (&parts.method, address.bucket.is_empty(), address.key.is_empty()) {
            (&Method::GET, true, _) => Ok(Self::ListBuckets),
            (&Method::GET, false, true) if has("location") => Ok(Self::GetBucketLocation),
            (&Method::GET, false, true) => Ok(Self::ListObjects),
            (&Method::HEAD, false, true) => Ok(Self::HeadBucket),
            (&Method::GET, false, false) => Ok(Self::GetObject),
            (&Method::HEAD, false, false) => Ok(Self::HeadObject),
            (&Method::PUT, false, false) => Ok(Self::PutObject),
            (&Method::DELETE, false, false) => Ok(Self::DeleteObject),
            (method, ..) => {
                Err(unknown(&format!("the sandbox's S3 has no {method} here: its buckets come from `[sandbox]`")))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::ListObjects => "ListObjects",
            Self::HeadBucket => "HeadBucket",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::PutObject => "PutObject",
            Self::DeleteObject => "DeleteObject",
        }
    }

    /// IAM's name of what this needs.
    fn permission(self) -> &'static str {
        match self {
            Self::ListBuckets => "s3:ListAllMyBuckets",
            Self::ListObjects | Self::HeadBucket => "s3:ListBucket",
            Self::GetBucketLocation => "s3:GetBucketLocation",
            Self::GetObject | Self::HeadObject => "s3:GetObject",
            Self::PutObject => "s3:PutObject",
            Self::DeleteObject => "s3:DeleteObject",
        }
    }
}

fn unknown(message: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
}

/// A request whose caller is known and allowed; its body may be read now.
pub(super) struct Admitted {
    pub(super) operation: Operation,
    address: Address,
    caller: Caller,
    claims: Claims,
}

/// A successful answer.
#[derive(Debug, Default)]
pub(super) struct Success {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Success {
    pub(super) fn xml(text: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/xml"));
        Self { headers, body: text.into(), ..Self::default() }
    }
}

/// Who asks for what, and may they?
pub(super) fn admit(world: &World, parts: &Parts, address: &Address) -> Result<Admitted, Refusal> {
    let claims = sigv4::claims(parts).map_err(|unsigned| Distrust::Unsigned(unsigned).of_s3())?;
    let hash = match claims.presigned {
        Some(_) => "UNSIGNED-PAYLOAD",
        None => sigv4::text(&parts.headers, "x-amz-content-sha256").ok_or_else(|| {
            let what = "Missing required header for this request: x-amz-content-sha256";
            Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest", what)
        })?,
    };
    let caller = world.caller(parts, &claims, hash).map_err(Distrust::of_s3)?;
    let operation = Operation::of(parts, address)?;
    world.ledger().asked(caller.principal.role.as_deref().unwrap_or(&caller.principal.arn), operation.name());
    if !address.bucket.is_empty() && world.objects().bucket(&address.bucket).is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist"));
    }
    let role = caller.principal.role.as_deref();
    if !may_use(world, role, (!address.bucket.is_empty()).then_some(&address.bucket)) {
        let permission = operation.permission();
        return Err(Refusal::denied(format!(
            "User: {} is not authorized to perform: {permission} on resource: \"{}\" because no identity-based policy allows the \
             {permission} action",
            caller.principal.arn,
            address.arn(permission)
        )));
    }
    Ok(Admitted { operation, address: address.clone(), caller, claims })
}

/// Is this role named for the bucket (or, for the list of buckets, for any)?
pub(super) fn may_use(world: &World, role: Option<&str>, bucket: Option<&String>) -> bool {
    let name = role.and_then(|arn| arn.rsplit('/').next());
    world
        .config
        .buckets
        .iter()
        .filter(|(known, _)| bucket.is_none_or(|bucket| bucket == *known))
        .any(|(_, roles)| roles.iter().any(|allowed| Some(allowed.as_str()) == name))
}

/// Does what was admitted.
pub(super) fn perform(world: &World, parts: &Parts, admitted: &Admitted, body: &Bytes) -> Result<Success, Refusal> {
    let address = &admitted.address;
    match admitted.operation {
        Operation::ListBuckets => Ok(s3_list::buckets(world, &admitted.caller.principal)),
        Operation::ListObjects => s3_list::objects(world, parts, &address.bucket),
        Operation::HeadBucket => {
            let mut success = Success::default();
            if let Ok(region) = HeaderValue::from_str(&world.config.region) {
                success.headers.insert("x-amz-bucket-region", region);
            }
            Ok(success)
        }
        Operation::GetBucketLocation => {
            let region = Some(world.config.region.as_str()).filter(|region| *region != "us-east-1").unwrap_or_default();
            let location = element("LocationConstraint", region);
            Ok(Success::xml(location.replacen('>', &format!(" xmlns=\"{NAMESPACE}\">"), 1)))
        }
        Operation::GetObject | Operation::HeadObject => get(world, parts, address),
        Operation::PutObject => put(world, parts, admitted, body),
        Operation::DeleteObject => {
            world.objects().delete(&address.bucket, &address.key);
            Ok(Success { status: StatusCode::NO_CONTENT, ..Success::default() })
        }
    }
}

fn get(world: &World, parts: &Parts, address: &Address) -> Result<Success, Refusal> {
    let object = world.objects().bucket(&address.bucket).and_then(|bucket| bucket.get(&address.key)).cloned();
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
    let object = object.ok_or_else(missing)?;
    let size = object.data.len();
    let mut success = Success { body: object.data.clone(), ..Success::default() };
    let range = sigv4::text(&parts.headers, "range").and_then(|range| range.strip_prefix("bytes="));
    let mut words = vec![
        ("etag".to_owned(), object.etag),
        ("content-type".to_owned(), object.content_type),
        ("last-modified".to_owned(), object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ("accept-ranges".to_owned(), "bytes".to_owned()),
    ];
    if let Some(range) = range {
        let (first, last) = within(range, size).ok_or_else(|| {
            Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", "The requested range is not satisfiable")
        })?;
        success.status = StatusCode::PARTIAL_CONTENT;
        success.body = object.data.slice(first..=last);
        words.push(("content-range".to_owned(), format!("bytes {first}-{last}/{size}")));
    }
    for (name, value) in words.into_iter().chain(object.metadata) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
            success.headers.insert(name, value);
        }
    }
    Ok(success)
}

/// First and last byte of `a-b`, `a-` or `-n`.
fn within(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.split_once('-')?;
    let end = size.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", count) => (size.saturating_sub(count.parse().ok().filter(|count| *count > 0)?), end),
        (first, "") => (first.parse().ok()?, end),
        (first, last) => (first.parse().ok()?, last.parse::<usize>().ok()?.min(end)),
    };
    (first <= last).then_some((first, last))
}

fn put(world: &World, parts: &Parts, admitted: &Admitted, body: &Bytes) -> Result<Success, Refusal> {
    let data = payload(parts, admitted, body)?;
    let header = |name: &str| sigv4::text(&parts.headers, name);
    let etag = format!("\"{}\"", &sigv4::hash(&data)[..32]);
    let metadata = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
    let object = Object {
        data,
        etag: etag.clone(),
        content_type: header("content-type").unwrap_or("binary/octet-stream").to_owned(),
        modified: world.shown(clock::realtime()),
        metadata: metadata
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect(),
    };
    let full = |_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "the sandbox holds 512 MiB of objects and is full")
    };
    world.objects().put(&admitted.address.bucket, &admitted.address.key, object).map_err(full)?;
    let mut success = Success::default();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        success.headers.insert("etag", etag);
    }
    Ok(success)
}

/// The object's bytes, unwrapped and checked against what was signed.
fn payload(parts: &Parts, admitted: &Admitted, body: &Bytes) -> Result<Bytes, Refusal> {
    let bad = |code, message: &str| Refusal::new(StatusCode::BAD_REQUEST, code, message);
    let stated =
        if admitted.claims.presigned.is_some() { None } else { sigv4::text(&parts.headers, "x-amz-content-sha256") };
    let signer = match stated {
        None | Some("UNSIGNED-PAYLOAD") => return Ok(body.clone()),
        Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => None,
        Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => {
            Some(&admitted.caller.signer)
        }
        Some(hash) if sigv4::hash(body) == *hash => return Ok(body.clone()),
        Some(_) => {
            let what = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            return Err(bad("XAmzContentSHA256Mismatch", what));
        }
    };
    let data = chunked::decode(body, signer, &admitted.claims.signature).map_err(|malformed| match malformed {
        chunked::Malformed::Framing => bad("IncompleteBody", "The request body terminated unexpectedly"),
        chunked::Malformed::Signature => Distrust::WrongSignature.of_s3(),
    })?;
    let length = sigv4::text(&parts.headers, "x-amz-decoded-content-length").and_then(|text| text.parse().ok());
    if length != Some(data.len()) {
        return Err(bad(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the x-amz-decoded-content-length header",
        ));
    }
    Ok(data.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_in_the_path_or_in_the_host() {
        let of = |host: &str, path: &str| {
            let address =
                Address::of(&http::Request::get(path).header("host", host).body(()).expect("a request").into_parts().0);
            (address.bucket, address.key)
        };
        assert_eq!(of("127.0.0.1:80", "/"), (String::new(), String::new()));
        assert_eq!(of("127.0.0.1:80", "/b"), ("b".into(), String::new()));
        assert_eq!(of("127.0.0.1:80", "/b/"), ("b".into(), String::new()));
        assert_eq!(of("127.0.0.1:80", "/b/a%20key/x"), ("b".into(), "a key/x".into()));
        assert_eq!(of("b.localhost:80", "/k/x"), ("b".into(), "k/x".into()));
        assert_eq!(of("b.127.0.0.1", "/"), ("b".into(), String::new()));
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(within("0-3", 10), Some((0, 3)));
        assert_eq!(within("4-99", 10), Some((4, 9)));
        assert_eq!(within("4-", 10), Some((4, 9)));
        assert_eq!(within("-3", 10), Some((7, 9)));
        for bad in ["10-", "5-4", "-0", "x-", "7"] {
            assert_eq!(within(bad, 10), None, "{bad}");
        }
        assert_eq!(within("0-", 0), None);
    }
}
