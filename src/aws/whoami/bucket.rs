//! One signed ListObjectsV2: can this identity list that bucket? A whole S3 SDK would be a third of the binary.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Limited};

use crate::aws::chain::Variables;
use crate::aws::http::{Proxy, connector};
use crate::sys::clock;

/// How long one bucket may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No error of S3 is longer; of a listing of one key neither.
const LONGEST: usize = 256 * 1024;

/// `bucket` of `s3://bucket/prefix`.
pub(super) fn name(written: &str) -> &str {
    let bucket = written.strip_prefix("s3://").unwrap_or(written);
    bucket.split('/').next().unwrap_or_default()
}

/// Where S3 is.
pub(super) struct Place {
    endpoint: Option<String>,
    region: String,
    connector: Connector,
}

/// What came back.
struct Answer {
    status: u16,
    /// Where the bucket really is, when S3 tells.
    region: Option<String>,
    body: String,
}

impl Place {
    pub(super) fn new(env: &Variables, region: Option<&str>) -> Self {
        let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let endpoint = names.into_iter().filter(|_| !env.ignores_endpoints()).find_map(|name| env.get(name));
        Self {
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
            region: region.unwrap_or("us-east-1").to_owned(),
            connector: connector(&Proxy::of(env)),
        }
    }

    /// AWS's code if it cannot be listed.
    pub(super) async fn list(&self, credentials: &Credentials, bucket: &str) -> Result<(), String> {
        let work = async {
            let answer = self.ask(credentials, bucket, &self.region).await?;
            let elsewhere = answer.region.clone().filter(|region| *region != self.region);
            match elsewhere {
                // The bucket is in another region: once more, there.
                Some(region) if [301, 307, 400].contains(&answer.status) => {
                    read(&self.ask(credentials, bucket, &region).await?)
                }
                _ => read(&answer),
            }
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("NoAnswer".to_owned()))
    }

    fn url(&self, bucket: &str, region: &str) -> String {
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let query = "list-type=2&max-keys=1";
        match &self.endpoint {
            Some(endpoint) => format!("{endpoint}/{bucket}?{query}"),
            // A dot in the name would be one more level than the certificate covers.
            None if bucket.contains('.') => format!("https://s3.{region}.{suffix}/{bucket}?{query}"),
            None => format!("https://{bucket}.s3.{region}.{suffix}/?{query}"),
        }
    }

    async fn ask(&self, credentials: &Credentials, bucket: &str, region: &str) -> Result<Answer, String> {
        let request = signed(&self.url(bucket, region), credentials, region).ok_or("InvalidBucketName")?;
        let answer = self.connector.call(request).await.map_err(|_| "NoAnswer")?;
        let status = answer.status().as_u16();
        let region = answer.headers().get("x-amz-bucket-region").map(str::to_owned);
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|_| "NoAnswer")?;
        Ok(Answer { status, region, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    }
}

fn read(answer: &Answer) -> Result<(), String> {
    match answer.status {
        200..300 => Ok(()),
        status => Err(code(&answer.body).map_or_else(|| format!("HTTP {status}"), str::to_owned)),
    }
}

/// `<Code>AccessDenied</Code>`
fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code).filter(|code| code.chars().all(char::is_alphanumeric))
}

/// GET of this URL, signed for S3. `None` if it is no URL.
fn signed(url: &str, credentials: &Credentials, region: &str) -> Option<HttpRequest> {
    let mut request = http::Request::get(url).body(SdkBody::empty()).ok()?;
    let host = request.uri().authority()?.as_str().to_owned();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(std::time::UNIX_EPOCH + clock::realtime())
        .settings(settings)
        .build()
        .ok()?;
    let signable =
        SignableRequest::new("GET", url, std::iter::once(("host", host.as_str())), SignableBody::Bytes(&[])).ok()?;
    let (instructions, _) = sign(signable, &parameters.into()).ok()?.into_parts();
    request.headers_mut().insert(http::header::HOST, host.parse().ok()?);
    instructions.apply_to_request_http1x(&mut request);
    HttpRequest::try_from(request).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_from_its_url() {
        assert_eq!(["s3://b1", "s3://b1/x/y", "b1", "s3://"].map(name), ["b1", "b1", "b1", ""]);
    }

    #[test]
    fn the_address_follows_endpoint_region_and_dots() {
        let place = |env: &[(&str, &str)]| Place::new(&Variables::of(env), Some("eu-west-1"));
        let real = place(&[]);
        assert_eq!(real.url("b1", "eu-west-1"), "https://b1.s3.eu-west-1.amazonaws.com/?list-type=2&max-keys=1");
        assert_eq!(real.url("b.1", "cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn/b.1?list-type=2&max-keys=1");
        let both = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2/")];
        assert_eq!(place(&both).url("b1", "x"), "http://127.0.0.1:2/b1?list-type=2&max-keys=1");
        let ignored = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        assert!(place(&ignored).url("b1", "x").starts_with("https://b1.s3.x."));
    }

    #[test]
    fn the_code_of_an_error_is_read() {
        assert_eq!(code("<Error><Code>AccessDenied</Code><Message>m</Message></Error>"), Some("AccessDenied"));
        assert_eq!(code("<html>no</html>"), None);
        assert_eq!(code("<Code>x\u{1b}[31m</Code>"), None, "what a terminal would obey is not shown");
    }
}
