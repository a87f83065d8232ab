//! What went wrong, as the SDK reports it, without its types.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::super::chain::{Missing, innermost};
use super::super::examine::Findings;
use super::kind::{Kind, Side};
use crate::aws::route::Step;
use crate::manifest::Role;
use crate::supervisor::Refusal;

/// Why there is no answer that can be used. No Debug: an answer may quote the request it refuses.
#[derive(Clone)]
pub(in crate::aws) enum Failure {
    Answer(Answer),
    /// No answer of HTTP at all; one sentence why.
    Unreachable(String),
    /// The chain gave no credentials.
    NoBase(Missing),
    /// Already a refusal.
    Refused(Box<Refusal>),
    /// One AssumeRole of a chain.
    Hop(Box<Hop>),
}

/// Which AssumeRole of a chain failed, and how.
#[derive(Clone)]
pub(in crate::aws) struct Hop {
    pub(in crate::aws) failure: Failure,
    pub(in crate::aws) role: Role,
    /// Who asked, when it was a role on the way.
    pub(in crate::aws) caller: Option<String>,
    pub(in crate::aws) number: usize,
    pub(in crate::aws) of: usize,
}

/// What AWS, or something before it, said.
#[derive(Clone, Default)]
pub(in crate::aws) struct Answer {
    pub(in crate::aws) status: u16,
    /// Absent for a body that is not STS's: a proxy's page, nothing.
    pub(in crate::aws) code: Option<String>,
    pub(in crate::aws) message: Option<String>,
    pub(in crate::aws) request_id: Option<String>,
    pub(in crate::aws) retry_after: Option<Duration>,
    /// Local clock − the answer's Date.
    pub(in crate::aws) skew_ms: Option<i64>,
    /// What was looked up about it, where AWS does not say enough.
    pub(in crate::aws) found: Option<Arc<Findings>>,
}

impl Failure {
    /// `local_ms`: the wall clock now, to compare with the answer's own.
    pub(in crate::aws) fn of<E>(error: &SdkError<E, HttpResponse>, local_ms: i64) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                Self::Answer(Answer::new(service.raw(), meta.code(), meta.message(), local_ms))
            }
            SdkError::ResponseError(response) => Self::Answer(Answer::new(response.raw(), None, None, local_ms)),
            SdkError::TimeoutError(_) => Self::Unreachable("no answer in time".to_owned()),
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
                Self::Unreachable("no answer in time".to_owned())
            }
            SdkError::DispatchFailure(dispatch) => Self::Unreachable(
                dispatch
                    .as_connector_error()
                    .map_or_else(|| "it cannot be reached".to_owned(), |error| innermost(error)),
            ),
            other => Self::Unreachable(innermost(other)),
        }
    }

    /// The base credentials are over or unknown: drop them, load them again, ask once more.
    pub(in crate::aws) fn base_is_stale(&self) -> bool {
        matches!(self.code(), Some("ExpiredToken" | "InvalidClientTokenId" | "UnrecognizedClient"))
    }

    /// The base is itself a role, so AWS gives one hour at most.
    pub(in crate::aws) fn is_chain_limit(&self) -> bool {
        self.answer().and_then(|answer| answer.message.as_deref()).is_some_and(super::kind::is_chain_limit)
    }

    /// AccessDenied without a word of who asked.
    pub(in crate::aws) fn wants_caller(&self) -> bool {
        self.code() == Some("AccessDenied") && self.caller().is_none()
    }

    /// Whom AWS names as the caller.
    pub(in crate::aws) fn caller(&self) -> Option<&str> {
        self.answer().and_then(|answer| answer.message.as_deref()).and_then(super::kind::caller_in)
    }

    /// AccessDenied, and AWS does not say which side.
    pub(in crate::aws) fn is_untold(&self) -> bool {
        self.answer().is_some_and(|answer| Kind::of(answer) == Kind::Denied(Side::Untold))
    }

    /// With what was found about it.
    pub(in crate::aws) fn found(self, findings: Arc<Findings>) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(Answer { found: Some(findings), ..answer }),
            other => other,
        }
    }

    /// Of a chain: where it was. Alone: as it is.
    pub(in crate::aws) fn on_hop(self, step: &Step, caller: Option<&str>) -> Self {
        if step.of == 1 {
            return self;
        }
        let (role, caller) = (step.role.clone(), caller.map(str::to_owned));
        Self::Hop(Box::new(Hop { failure: self, role, caller, number: step.number, of: step.of }))
    }

    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Hop(hop) => hop.failure.answer(),
            _ => None,
        }
    }

    fn code(&self) -> Option<&str> {
        self.answer()?.plain_code()
    }
}

impl Answer {
    fn new(raw: &HttpResponse, code: Option<&str>, message: Option<&str>, local_ms: i64) -> Self {
        let header = |name: &str| raw.headers().get(name);
        let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id")).map(str::to_owned);
        let wait = header("x-amz-retry-after").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let seconds = || header("retry-after").and_then(|s| s.parse().ok()).map(Duration::from_secs);
        Self {
            status: raw.status().as_u16(),
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
            request_id,
            retry_after: wait.or_else(seconds),
            skew_ms: header("date").and_then(date_ms).map(|date| local_ms - date),
            found: None,
        }
    }

    /// Some answers say `ExpiredToken`, some `ExpiredTokenException`.
    pub(in crate::aws) fn plain_code(&self) -> Option<&str> {
        self.code.as_deref().map(|code| code.strip_suffix("Exception").unwrap_or(code))
    }
}

/// An HTTP date in milliseconds since 1970.
pub(in crate::aws) fn date_ms(text: &str) -> Option<i64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    DateTime::from_str(text, Format::HttpDate).ok()?.to_millis().ok()
}
