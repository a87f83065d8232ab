//! What one request asks of S3: of which bucket and object, which operation, and what right it needs.

use http::request::Parts;
use http::{Method, StatusCode};

use super::refusal::Refusal;
use super::sigv4;

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

    /// The resource as IAM names it.
    pub(super) fn arn(&self, action: &str) -> String {
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
    pub(super) fn of(parts: &Parts, address: &Address) -> Result<Self, Refusal> {
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
    pub(super) fn permission(self) -> &'static str {
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
}
