//! What S3 says when it is asked to list: buckets, and objects in both versions of the call.

use std::fmt::Write as _;

use http::StatusCode;
use http::request::Parts;

use super::identity::Principal;
use super::objects;
use super::refusal::Refusal;
use super::s3::{NAMESPACE, Success, may_use};
use super::sigv4;
use super::world::World;
use super::xml::element;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const MOST: usize = 1000;

/// The buckets the caller may use.
pub(super) fn buckets(world: &World, caller: &Principal) -> Success {
    let role = caller.role.as_deref();
    let mut list = String::new();
    for name in world.objects().names().filter(|name| may_use(world, role, Some(name))) {
        let created = element("CreationDate", "2026-01-01T00:00:00.000Z");
        write!(list, "<Bucket>{}{created}</Bucket>", element("Name", name)).unwrap_or_default();
    }
    let owner = format!("<Owner>{}</Owner>", element("ID", &caller.account));
    Success::xml(format!(
        "{HEAD}<ListAllMyBucketsResult xmlns=\"{NAMESPACE}\">{owner}<Buckets>{list}</Buckets></ListAllMyBucketsResult>"
    ))
}

/// The two versions differ in how one goes on: by a token, or by a key called marker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// `encoding-type=url` escapes every key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    fn element(self, name: &str, key: &str) -> String {
        match self {
            Self::Plain => element(name, key),
            Self::Url => element(name, &sigv4::escape(key).replace("%2F", "/")),
        }
    }
}

pub(super) fn objects(world: &World, parts: &Parts, bucket: &str) -> Result<Success, Refusal> {
    let query = sigv4::pairs(parts.uri.query().unwrap_or_default());
    let word = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let version = if word("list-type") == "2" { Version::Two } else { Version::One };
    let encoding = if word("encoding-type") == "url" { Encoding::Url } else { Encoding::Plain };
    let (prefix, delimiter) = (word("prefix"), word("delimiter"));
    let max = match word("max-keys") {
        "" => MOST,
        text => text.parse::<usize>().map(|max| max.min(MOST)).map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "InvalidArgument",
                "Provided max-keys not an integer or within integer range",
            )
        })?,
    };
    let after = match version {
        Version::One => word("marker").to_owned(),
        Version::Two if word("continuation-token").is_empty() => word("start-after").to_owned(),
        Version::Two => from_token(word("continuation-token")).ok_or_else(|| {
            Refusal::new(StatusCode::BAD_REQUEST, "InvalidArgument", "The continuation token provided is incorrect")
        })?,
    };
    let held = world.objects();
    let Some(objects) = held.bucket(bucket) else { return Err(Refusal::internal("the bucket is gone")) };
    let page = objects::page(objects, prefix, delimiter, &after, max);
    let mut out = element("Name", bucket) + &encoding.element("Prefix", prefix) + &element("MaxKeys", &max.to_string());
    if !delimiter.is_empty() {
        out += &encoding.element("Delimiter", delimiter);
    }
    if encoding == Encoding::Url {
        out += &element("EncodingType", "url");
    }
    out += &position(version, encoding, &page, &after, word("continuation-token"));
    for key in &page.keys {
        let Some(object) = objects.get(key) else { continue };
        let modified = object.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        out += "<Contents>";
        out += &encoding.element("Key", key);
        out += &element("LastModified", &modified);
        out += &element("ETag", &object.etag);
        out += &element("Size", &object.data.len().to_string());
        out += "<StorageClass>STANDARD</StorageClass></Contents>";
    }
    for folder in &page.common_prefixes {
        out += "<CommonPrefixes>";
        out += &encoding.element("Prefix", folder);
        out += "</CommonPrefixes>";
    }
    Ok(Success::xml(format!("{HEAD}<ListBucketResult xmlns=\"{NAMESPACE}\">{out}</ListBucketResult>")))
}

/// Where this page stands and how to go on.
fn position(version: Version, encoding: Encoding, page: &objects::Page, after: &str, token: &str) -> String {
    let mut out = element("IsTruncated", if page.next.is_some() { "true" } else { "false" });
    match version {
        Version::One => {
            out += &encoding.element("Marker", after);
            if let Some(next) = &page.next {
                out += &encoding.element("NextMarker", next);
            }
        }
        Version::Two => {
            out += &element("KeyCount", &(page.keys.len() + page.common_prefixes.len()).to_string());
            if token.is_empty() && !after.is_empty() {
                out += &encoding.element("StartAfter", after);
            }
            if !token.is_empty() {
                out += &element("ContinuationToken", token);
            }
            if let Some(next) = &page.next {
                out += &element("NextContinuationToken", &sigv4::hex(next.as_bytes()));
            }
        }
    }
    out
}

/// A continuation token is the last entry in hex: opaque enough, and it survives every escaping.
fn from_token(token: &str) -> Option<String> {
    let digits = token.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_key() {
        assert_eq!(from_token(&sigv4::hex("a/ü b".as_bytes())).as_deref(), Some("a/ü b"));
        assert_eq!(from_token("zz"), None);
    }
}
