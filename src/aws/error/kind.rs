//! The catalogue: which of AWS's answers is what, and the sentence for it.

use super::hint;
use super::{About, Answer};
use crate::manifest::Secs;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Denied(Side),
    /// The MFA code was not the one of this half minute.
    WrongCode,
    /// No code of this device is taken: it is another user's, or none.
    WrongDevice,
    /// A session asked for a session: MFA is for a user's own keys.
    NotAUser,
    /// DurationSeconds over the role's own maximum.
    TooLong,
    /// DurationSeconds over the hour that a chained role may have.
    ChainLimit,
    Validation,
    MalformedPolicy,
    PackedPolicy,
    RegionDisabled,
    UnknownKey,
    Expired,
    Clock,
    Signature,
    Throttled,
    IdentityProvider,
    NotOptedIn,
    NoCredentials,
    Server,
    /// No code: not STS's own words.
    Foreign,
    Other,
}

/// Which policy said no, as far as the message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    CallerLacks,
    CallerDenies,
    Boundary,
    SessionPolicy,
    Target,
    Organisation,
    Endpoint,
    Tags,
    SourceIdentity,
    Untold,
}

impl Kind {
    pub(super) fn of(answer: &Answer) -> Self {
        let text = answer.message.as_deref().unwrap_or_default();
        let Some(code) = answer.plain_code() else { return Self::Foreign };
        match code {
            "AccessDenied" if text.contains("invalid MFA one time pass code") => Self::WrongCode,
            "AccessDenied" if text.contains("MultiFactorAuthentication failed") => Self::WrongDevice,
            "AccessDenied" if text.contains("GetSessionToken with session credentials") => Self::NotAUser,
            "AccessDenied" | "UnauthorizedOperation" | "Unauthorized" => Self::Denied(side(text)),
            "Validation" | "ValidationError" if is_chain_limit(text) => Self::ChainLimit,
            "Validation" | "ValidationError" if text.contains("MaxSessionDuration") => Self::TooLong,
            "Validation"
            | "ValidationError"
            | "InvalidParameterValue"
            | "MissingParameter"
            | "InvalidParameterCombination" => Self::Validation,
            "MalformedPolicyDocument" => Self::MalformedPolicy,
            "PackedPolicyTooLarge" => Self::PackedPolicy,
            "RegionDisabled" => Self::RegionDisabled,
            "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidAccessKeyId" => Self::UnknownKey,
            "ExpiredToken" | "TokenRefreshRequired" => Self::Expired,
            "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Self::Clock,
            "SignatureDoesNotMatch" | "InvalidSignature" if is_clock(text) => Self::Clock,
            "SignatureDoesNotMatch" | "InvalidSignature" | "IncompleteSignature" => Self::Signature,
            "IDPCommunicationError" | "IDPCommunication" => Self::IdentityProvider,
            "OptInRequired" | "SubscriptionRequired" => Self::NotOptedIn,
            "MissingAuthenticationToken" | "MissingAuthenticationTokenError" => Self::NoCredentials,
            _ if is_throttle(code) || answer.status == 429 => Self::Throttled,
            "InternalFailure" | "InternalError" | "InternalServerError" | "ServiceUnavailable" | "RequestTimeout" => {
                Self::Server
            }
            _ if answer.status >= 500 => Self::Server,
            _ => Self::Other,
        }
    }

    /// Will asking again within seconds not help?
    pub(super) fn lasting(self) -> bool {
        !matches!(self, Self::Throttled | Self::IdentityProvider | Self::Server | Self::Foreign)
    }

    pub(super) fn side(self) -> Option<&'static str> {
        match self {
            Self::Denied(Side::CallerLacks | Side::CallerDenies | Side::Boundary | Side::SessionPolicy) => {
                Some("caller")
            }
            Self::Denied(Side::Target) | Self::TooLong => Some("target"),
            Self::Denied(Side::Organisation) => Some("organisation"),
            Self::Denied(Side::Endpoint) | Self::Foreign => Some("network"),
            Self::WrongCode
            | Self::WrongDevice
            | Self::NotAUser
            | Self::UnknownKey
            | Self::Expired
            | Self::Clock
            | Self::Signature
            | Self::NoCredentials => Some("caller"),
            _ => None,
        }
    }

    /// One sentence. `text` is the first line of AWS's message.
    pub(super) fn sentence(self, answer: &Answer, text: &str, about: &About<'_>) -> String {
        let (role, who) = (about.role_arn(), about.who());
        match self {
            Self::Denied(side) => {
                let found = answer.found.as_ref().and_then(|found| found.sentences.first());
                denied(side, role, &who) + &found.map_or_else(String::new, |found| format!(": {found}"))
            }
            Self::WrongCode => format!("AWS does not take this MFA code of `{}`", device(about)),
            Self::WrongDevice => format!("AWS cannot check a code of `{}` for {who}", device(about)),
            Self::NotAUser => {
                format!("{who} is itself a session: an MFA code opens one for an IAM user's own keys only")
            }
            Self::TooLong => format!("`{role}` does not allow sessions of {}", asked(about)),
            Self::ChainLimit => {
                format!("a role assumed by a role lasts an hour at most, and {} were asked for", asked(about))
            }
            Self::MalformedPolicy => format!("AWS cannot read the session policy: {text}"),
            Self::PackedPolicy => format!("session policy and tags are too large: {text}"),
            Self::RegionDisabled => format!("STS is not activated in region `{}` for this account", region(about)),
            Self::UnknownKey => format!("AWS does not know the base credentials (from {})", about.source),
            Self::Expired => format!("the base credentials (from {}) are expired", about.source),
            Self::Clock => match answer.skew_ms {
                Some(skew) => {
                    format!("AWS refuses the request's time: this machine's clock is {} of AWS's", offset(skew))
                }
                None => "AWS refuses the request's time: this machine's clock is off".to_owned(),
            },
            // Never AWS's own words: they may quote the request with its token.
            Self::Signature => {
                format!("the request's signature does not match: the secret key (from {}) is wrong", about.source)
            }
            Self::Throttled => "AWS is throttling this account's STS calls".to_owned(),
            Self::IdentityProvider => "AWS cannot reach the identity provider of the web identity".to_owned(),
            Self::NotOptedIn => format!("this account is not opted in to region `{}` or to the service", region(about)),
            Self::NoCredentials => "the request carried no credentials".to_owned(),
            Self::Foreign => format!("`{}` answered HTTP {} and nothing that STS says", about.endpoint, answer.status),
            Self::Server => format!("STS failed with HTTP {}", answer.status),
            Self::Validation | Self::Other if text.is_empty() => {
                format!("AWS refuses the request with HTTP {}", answer.status)
            }
            Self::Validation | Self::Other => format!("AWS refuses the request: {text}"),
        }
    }

    pub(super) fn hint(self, answer: &Answer, about: &About<'_>) -> Option<String> {
        hint::of(self, answer, about)
    }
}

fn denied(side: Side, role: &str, who: &str) -> String {
    match side {
        Side::CallerLacks => format!("{who} may not assume `{role}`: its own policies do not allow it"),
        Side::CallerDenies => format!("{who} may not assume `{role}`: one of its own policies denies it"),
        Side::Boundary => format!("{who} may not assume `{role}`: its permissions boundary does not allow it"),
        Side::SessionPolicy => format!("{who} may not assume `{role}`: its own session policy does not allow it"),
        Side::Target => format!("`{role}` does not trust {who}"),
        Side::Organisation => {
            format!("a service control policy of the organisation keeps {who} from assuming `{role}`")
        }
        Side::Endpoint => format!("the STS VPC endpoint's policy keeps {who} from assuming `{role}`"),
        Side::Tags => format!("{who} may not pass session tags to `{role}`"),
        Side::SourceIdentity => format!("{who} may not set a source identity on `{role}`"),
        Side::Untold => format!("{who} may not assume `{role}`"),
    }
}

/// Loosely, because the wording changes: the tail behind "because", or the action that was denied.
fn side(text: &str) -> Side {
    let text = text.to_ascii_lowercase();
    let tail_at = text.find(" because").or_else(|| text.find(" with an explicit deny")).unwrap_or(text.len());
    let (head, tail) = text.split_at(tail_at);
    if head.contains("sts:tagsession") {
        Side::Tags
    } else if head.contains("sts:setsourceidentity") {
        Side::SourceIdentity
    } else if tail.contains("service control policy") || tail.contains("resource control policy") {
        Side::Organisation
    } else if tail.contains("endpoint policy") {
        Side::Endpoint
    } else if tail.contains("trust policy") || tail.contains("resource-based policy") {
        Side::Target
    } else if tail.contains("permissions boundary") {
        Side::Boundary
    } else if tail.contains("session policy") {
        Side::SessionPolicy
    } else if tail.contains("explicit deny") {
        Side::CallerDenies
    } else if tail.contains("identity-based policy") {
        Side::CallerLacks
    } else {
        Side::Untold
    }
}

pub(super) fn is_chain_limit(text: &str) -> bool {
    text.contains("role chaining")
}

fn is_clock(text: &str) -> bool {
    text.starts_with("Signature expired") || text.starts_with("Signature not yet current")
}

fn is_throttle(code: &str) -> bool {
    [
        "Throttling",
        "Throttled",
        "ThrottledRequest",
        "RequestThrottled",
        "TooManyRequests",
        "RequestLimitExceeded",
        "SlowDown",
    ]
    .contains(&code)
        || code.starts_with("Throttl")
        || code == "BandwidthLimitExceeded"
}

/// `User: ARN is not authorized …`
pub(super) fn caller_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("User: ")?;
    rest.split_whitespace().next().filter(|arn| arn.starts_with("arn:"))
}

fn asked(about: &About<'_>) -> String {
    about.role.map_or_else(|| "that length".to_owned(), |role| Secs(role.duration).to_string())
}

fn device<'a>(about: &'a About<'_>) -> &'a str {
    about.mfa_serial.unwrap_or("the device")
}

fn region<'a>(about: &'a About<'_>) -> &'a str {
    about.region.as_deref().unwrap_or("unknown")
}

fn offset(skew_ms: i64) -> String {
    let by = Secs(std::time::Duration::from_millis(skew_ms.unsigned_abs()));
    if skew_ms < 0 { format!("{by} behind") } else { format!("{by} ahead") }
}
