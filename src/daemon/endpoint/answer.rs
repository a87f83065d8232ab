//! What the endpoint says: the body that every SDK takes, and refusals in both spellings that SDKs read (Go the lower, JS the
//! upper). Never 429: some SDKs ask again after a 503 only.

use axum::body::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use secrecy::ExposeSecret;
use serde::Serialize;
use zeroize::Zeroizing;

use super::table::{Lease, Standing};
use crate::aws::zulu;
use crate::daemon::world::HeldLease;
use crate::manifest::Name;
use crate::supervisor::{Refusal, Wall};

/// Beside the secrets.
const ROOM: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Credentials(Bytes),
    /// A refusal, or a wait.
    No {
        status: StatusCode,
        code: String,
        message: String,
    },
}

/// In the spelling of a container's credentials. All are there, for SDKs differ in what they miss.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    code: &'a str,
    r#type: &'a str,
    last_updated: String,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    account_id: &'a str,
    role_arn: &'a str,
}

impl Answer {
    /// `None`: it cannot be written, which does not happen to strings.
    pub(super) fn credentials(lease: &Lease, held: &HeldLease) -> Option<Self> {
        let credentials = &held.credentials;
        let (secret, token) =
            (credentials.secret_access_key.expose_secret(), credentials.session_token.expose_secret());
        let body = Body {
            code: "Success",
            r#type: "AWS-HMAC",
            last_updated: zulu(held.issued),
            access_key_id: &credentials.access_key_id,
            secret_access_key: secret,
            token,
            expiration: zulu(credentials.expires),
            account_id: &lease.account,
            role_arn: &lease.role,
        };
        // Its whole length at once: what grows leaves copies.
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM + secret.len() + token.len() + lease.role.len()));
        serde_json::to_writer(&mut *bytes, &body).ok()?;
        Some(Self::Credentials(Bytes::from_owner(bytes)))
    }

    fn no(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::No { status, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::no(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn not_found() -> Self {
        Self::no(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path")
    }

    pub(super) fn wrong_method() -> Self {
        Self::no(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "credentials are got by GET")
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::no(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    pub(super) fn not_running(service: &Name) -> Self {
        let message = format!("no run of service `{service}` lives; devsup start {service}");
        Self::no(StatusCode::FORBIDDEN, "ServiceNotRunning", message)
    }

    pub(super) fn overloaded() -> Self {
        Self::no(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "too many ask at once; ask again")
    }

    /// Nothing came while this request was held.
    pub(super) fn uninitialized(service: &Name, standing: &Standing) -> Self {
        let why = standing.refusal.as_ref().map(sts).unwrap_or_default();
        let message = format!("the first credentials of service `{service}` are not there yet{why}");
        Self::no(StatusCode::SERVICE_UNAVAILABLE, "CredentialsUninitialized", message)
    }

    /// STS will not give any soon, and nothing is held.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let hint = refusal.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
        Self::no(StatusCode::FORBIDDEN, &refusal.code, format!("{}{hint}", refusal.message))
    }

    pub(super) fn expired(service: &Name, ended: Wall, refusal: Option<&Refusal>) -> Self {
        let why = refusal.map(sts).unwrap_or_default();
        let message = format!("the credentials of service `{service}` expired at {}{why}", zulu(ended));
        Self::no(StatusCode::SERVICE_UNAVAILABLE, "CredentialsExpired", message)
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let (status, body) = match self {
            Self::Credentials(body) => (StatusCode::OK, body),
            Self::No { status, code, message } => {
                let body = serde_json::json!({ "code": code, "message": message, "Code": code, "Message": message });
                (status, body.to_string().into())
            }
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// What STS said, behind a sentence.
fn sts(refusal: &Refusal) -> String {
    format!("; STS: {}: {}", refusal.code, refusal.message)
}
