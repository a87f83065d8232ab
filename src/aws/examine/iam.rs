//! Two signed requests to IAM. The whole of aws-sdk-iam would be a third of the binary.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::{DateTime, Format};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;

use crate::aws::base::{Base, wall};
use crate::aws::error::date_ms;
use crate::aws::http::{Proxy, connector};
use crate::aws::loaded::Loaded;
use crate::aws::speaker::Speaker;
use crate::manifest::RoleArn;
use crate::sys::clock;

/// No role or simulation of one action is longer.
const LONGEST: usize = 256 * 1024;

/// Where IAM is, and who asks.
pub(super) struct Iam {
    url: String,
    region: String,
    connector: Connector,
    credentials: Credentials,
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<T> {
    So(T),
    /// AWS's code.
    Refused(String),
    /// No answer, or none of IAM's.
    Nothing,
}

/// A role as IAM knows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoleSeen {
    pub(super) arn: String,
    /// The trust policy, JSON.
    pub(super) trust: String,
    /// By AWS's own clock.
    pub(super) age_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    NotAllowed,
    Denied,
}

impl Iam {
    /// `None`: requests go to something that is not AWS and may have no IAM, or IAM's place is not known.
    pub(super) fn at(base: &Base, loaded: &Loaded, speaker: &Speaker, partition: &str) -> Option<Self> {
        let (url, region) = place(base, loaded, partition)?;
        let connector = connector(&Proxy::of(base.variables()));
        Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            region,
            connector,
            credentials: speaker.credentials.clone(),
        })
    }

    pub(super) async fn role(&self, name: &str) -> Said<RoleSeen> {
        let answer = self.ask(&[("Action", "GetRole"), ("RoleName", name)]).await;
        answer.map_or(Said::Nothing, |answer| {
            answer.read(|body, date| {
                let created = DateTime::from_str(element(body, "CreateDate")?, Format::DateTime).ok()?.to_millis().ok();
                let trust =
                    percent_decode_str(element(body, "AssumeRolePolicyDocument")?).decode_utf8_lossy().into_owned();
                let age_ms = created.map(|created| date.unwrap_or_else(|| wall().0) - created);
                Some(RoleSeen { arn: element(body, "Arn")?.to_owned(), trust, age_ms })
            })
        })
    }

    pub(super) async fn simulate(&self, principal: &str, role: &str) -> Said<Decision> {
        let asked = [
            ("Action", "SimulatePrincipalPolicy"),
            ("PolicySourceArn", principal),
            ("ActionNames.member.1", "sts:AssumeRole"),
            ("ResourceArns.member.1", role),
        ];
        let answer = self.ask(&asked).await;
        answer.map_or(Said::Nothing, |answer| {
            answer.read(|body, _| match element(body, "EvalDecision")? {
                "allowed" => Some(Decision::Allowed),
                "implicitDeny" => Some(Decision::NotAllowed),
                "explicitDeny" => Some(Decision::Denied),
                _ => None,
            })
        })
    }

    async fn ask(&self, form: &[(&str, &str)]) -> Option<Answer> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Version", "2010-05-08")
            .extend_pairs(form)
            .finish();
        let request = self.signed(body)?;
        let answer = self.connector.call(request).await.ok()?;
        let status = answer.status().as_u16();
        let date = answer.headers().get("date").and_then(date_ms);
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.ok()?;
        Some(Answer { status, date, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    }

    fn signed(&self, body: String) -> Option<HttpRequest> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let url = format!("{}/", self.url);
        let bytes = body.clone();
        let mut request = http::Request::post(&url).body(SdkBody::from(body)).ok()?;
        let host = request.uri().authority()?.as_str().to_owned();
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("iam")
            .time(std::time::UNIX_EPOCH + clock::realtime())
            .settings(SigningSettings::default())
            .build()
            .ok()?;
        let headers = [("content-type", FORM), ("host", host.as_str())];
        let body = SignableBody::Bytes(bytes.as_bytes());
        let signable = SignableRequest::new("POST", &url, headers.into_iter(), body).ok()?;
        let (instructions, _) = sign(signable, &parameters.into()).ok()?.into_parts();
        request.headers_mut().insert(http::header::HOST, host.parse().ok()?);
        request.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(FORM));
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).ok()
    }
}

impl RoleSeen {
    /// IAM finds a role by its name in any case and on any path; STS wants the ARN as it is.
    pub(super) fn other_arn(&self, asked: &RoleArn) -> Option<String> {
        if self.arn == asked.as_str() {
            return None;
        }
        let name = self.arn.rsplit('/').next().unwrap_or_default();
        Some(if name == asked.role_name() {
            format!("the role's path is missing or another: its ARN is `{}`", self.arn)
        } else {
            format!("upper and lower case count: the role's ARN is `{}`", self.arn)
        })
    }
}

struct Answer {
    status: u16,
    date: Option<i64>,
    body: String,
}

impl Answer {
    fn read<T>(&self, read: impl FnOnce(&str, Option<i64>) -> Option<T>) -> Said<T> {
        match self.status {
            200 => read(&self.body, self.date).map_or(Said::Nothing, Said::So),
            _ => element(&self.body, "Code").map_or(Said::Nothing, |code| Said::Refused(code.to_owned())),
        }
    }
}

/// The first element of this name; what is asked for holds no markup.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// IAM is one place a partition; and where somebody sent us.
fn place(base: &Base, loaded: &Loaded, partition: &str) -> Option<(String, String)> {
    let region = |partition: &str| match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    };
    if let Some(sandbox) = &base.spec().sandbox {
        return Some((sandbox.url.clone(), sandbox.region.clone()));
    }
    let env = base.variables();
    let sent = ["AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL"].into_iter().filter(|_| !env.ignores_endpoints());
    if let Some(url) = sent.clone().find_map(|name| env.get(name)) {
        return Some((url.to_owned(), region(partition).to_owned()));
    }
    let sts = base.spec().aws.sts_endpoint.as_deref();
    let sts = sts.or_else(|| env.get("AWS_ENDPOINT_URL_STS").filter(|_| !env.ignores_endpoints()));
    if sts.or(loaded.endpoint.as_deref()).is_some_and(|url| url.starts_with("http://")) {
        // No AWS answers without TLS: this is a stand-in, whose credentials are nothing to IAM.
        return None;
    }
    let url = match partition {
        "aws" => "https://iam.amazonaws.com",
        "aws-cn" => "https://iam.cn-north-1.amazonaws.com.cn",
        "aws-us-gov" => "https://iam.us-gov.amazonaws.com",
        _ => return None,
    };
    Some((url.to_owned(), region(partition).to_owned()))
}
