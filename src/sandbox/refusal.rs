//! Why a request is refused, in AWS's codes and words, and how each of the two services writes it down.

use http::StatusCode;

use super::sigv4::Unsigned;
use super::xml;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }

    pub(super) fn internal(what: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", what)
    }

    pub(super) fn sts_xml(&self, request_id: &str) -> String {
        let side = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    <Type>{side}</Type>\n    \
             {}\n    {}\n  </Error>\n  {}\n</ErrorResponse>\n",
            xml::element("Code", self.code),
            xml::element("Message", &self.message),
            xml::element("RequestId", request_id),
        )
    }

    pub(super) fn s3_xml(&self, resource: &str, request_id: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{}{}{}{}</Error>",
            xml::element("Code", self.code),
            xml::element("Message", &self.message),
            xml::element("Resource", resource),
            xml::element("RequestId", request_id),
        )
    }
}

/// What is wrong with a request's signature, before either service has put it into its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    Unsigned(Unsigned),
    UnknownKey,
    WrongToken,
    Expired,
    WrongSignature,
    /// `is` against `bound`, which is `server` less or plus 15 min.
    TooOld {
        is: String,
        bound: String,
        server: String,
    },
    TooNew {
        is: String,
        bound: String,
        server: String,
    },
    /// A presigned address after its time.
    Elapsed,
}

impl Distrust {
    pub(super) fn of_sts(self) -> Refusal {
        let forbidden = |code, message: &str| Refusal::new(StatusCode::FORBIDDEN, code, message);
        match self {
            Self::Unsigned(Unsigned::Missing) => {
                forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
            }
            Self::Unsigned(Unsigned::Malformed(what)) => {
                Refusal::new(StatusCode::BAD_REQUEST, "IncompleteSignature", what)
            }
            Self::UnknownKey | Self::WrongToken => {
                forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
            }
            Self::Expired => forbidden("ExpiredToken", "The security token included in the request is expired"),
            Self::WrongSignature => forbidden(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ),
            Self::TooOld { is, bound, server } => forbidden(
                "SignatureDoesNotMatch",
                &format!("Signature expired: {is} is now earlier than {bound} ({server} - 15 min.)"),
            ),
            Self::TooNew { is, bound, server } => forbidden(
                "SignatureDoesNotMatch",
                &format!("Signature not yet current: {is} is still later than {bound} ({server} + 15 min.)"),
            ),
            Self::Elapsed => {
                forbidden("SignatureDoesNotMatch", "Signature expired: the presigned request's time is over")
            }
        }
    }

    pub(super) fn of_s3(self) -> Refusal {
        let bad = |code, message: &str| Refusal::new(StatusCode::BAD_REQUEST, code, message);
        let forbidden = |code, message: &str| Refusal::new(StatusCode::FORBIDDEN, code, message);
        match self {
            Self::Unsigned(Unsigned::Missing) => Refusal::denied("Access Denied"),
            Self::Unsigned(Unsigned::Malformed(what)) => bad("AuthorizationHeaderMalformed", what),
            Self::UnknownKey => {
                forbidden("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
            }
            Self::WrongToken => bad("InvalidToken", "The provided token is malformed or otherwise invalid."),
            Self::Expired => bad("ExpiredToken", "The provided token has expired."),
            Self::WrongSignature => forbidden(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and \
                 signing method.",
            ),
            Self::TooOld { .. } | Self::TooNew { .. } => forbidden(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Self::Elapsed => Refusal::denied("Request has expired"),
        }
    }
}
