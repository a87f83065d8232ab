//! STS as its query protocol has it: a form in, XML out.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Bytes;

use super::assume;
use super::faults::Strike;
use super::identity::{Key, Principal, Token};
use super::policy::Policy;
use super::refusal::{Distrust, Refusal};
use super::session::{Carried, shown};
use super::sigv4;
use super::world::{Caller, World};
use super::xml::element;
use crate::sys::clock;

/// GetSessionToken's own default.
const HALF_DAY: Duration = Duration::from_hours(12);

/// The parameters of one request.
pub(super) type Form = BTreeMap<String, String>;

/// Query and body together, as STS reads them.
pub(super) fn form(parts: &Parts, body: &Bytes) -> Form {
    let query = sigv4::pairs(parts.uri.query().unwrap_or_default());
    query.into_iter().chain(form_urlencoded::parse(body).into_owned()).collect()
}

/// What AWS answers when a fault strikes; `None` when it is not the kind that answers.
pub(super) fn struck(strike: Strike) -> Option<Refusal> {
    match strike {
        Strike::Nothing | Strike::Drop => None,
        Strike::Unavailable => Some(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The service is currently unavailable",
        )),
        Strike::Throttle => Some(Refusal::new(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded")),
        Strike::Fail => Some(Refusal::internal("The request processing has failed because of an unknown error.")),
    }
}

/// One request that no fault has struck; the answer's XML.
pub(super) fn answer(
    world: &World,
    parts: &Parts,
    body: &Bytes,
    form: &Form,
    request_id: &str,
) -> Result<String, Refusal> {
    let claims = sigv4::claims(parts).map_err(|unsigned| Distrust::Unsigned(unsigned).of_sts())?;
    let caller = world.caller(parts, &claims, &sigv4::hash(body)).map_err(Distrust::of_sts)?;
    let who = &caller.principal;
    let action = form.get("Action").map_or("", String::as_str);
    if action != "AssumeRole" {
        world.ledger().asked(who.role.as_deref().unwrap_or(&who.arn), named(action));
    }
    let result = match action {
        "AssumeRole" => assume_role(world, &caller, form)?,
        "GetCallerIdentity" => {
            format!("{}{}{}", element("Arn", &who.arn), element("UserId", &who.id), element("Account", &who.account))
        }
        "GetSessionToken" => session_token(world, &caller, form)?,
        "" => return Err(Refusal::new(StatusCode::BAD_REQUEST, "MissingAction", "the request names no Action")),
        other => {
            let message = format!(
                "Could not find operation {other}: the sandbox has AssumeRole, GetCallerIdentity and GetSessionToken"
            );
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidAction", message));
        }
    };
    Ok(format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <{action}Result>{result}</{action}Result>\n  \
         <ResponseMetadata>{}</ResponseMetadata>\n</{action}Response>\n",
        element("RequestId", request_id)
    ))
}

/// An action as it is counted: strangers' words do not grow the counts without end.
pub(super) fn named(action: &str) -> &str {
    match action {
        "AssumeRole" | "GetCallerIdentity" | "GetSessionToken" => action,
        _ => "other",
    }
}

fn assume_role(world: &World, caller: &Caller, form: &Form) -> Result<String, Refusal> {
    let denied =
        form.get("RoleArn").is_some_and(|arn| world.gate().denies(arn) || !caller.in_scope("sts:AssumeRole", arn));
    let asked = assume::check(&world.config, denied, &caller.principal, &caller.carried, form)?;
    let principal = Principal::session_of(&asked.role_arn, &asked.session);
    let user = format!(
        "<AssumedRoleUser>{}{}</AssumedRoleUser>",
        element("AssumedRoleId", &principal.id),
        element("Arn", &principal.arn)
    );
    let source =
        asked.carried.source_identity.as_ref().map(|source| element("SourceIdentity", source)).unwrap_or_default();
    let credentials = credentials(world, principal, asked.life, asked.policy, asked.carried)?;
    let packed = asked.packed.map(|size| element("PackedPolicySize", &size.to_string())).unwrap_or_default();
    Ok(format!("{user}{credentials}{packed}{source}"))
}

/// As AWS has it, a user may ask for one, and a role's session may not. With a code it lasts as long as was asked.
fn session_token(world: &World, caller: &Caller, form: &Form) -> Result<String, Refusal> {
    if caller.principal.role.is_some() {
        return Err(Refusal::denied("Cannot call GetSessionToken with session credentials"));
    }
    let mfa = shown(world.config.mfa_serial.as_deref(), form)?;
    let asked =
        form.get("DurationSeconds").and_then(|seconds| seconds.parse().ok()).map_or(HALF_DAY, Duration::from_secs);
    let life = if mfa { asked.min(world.config.mfa_lasts) } else { world.config.lease };
    credentials(world, caller.principal.clone(), life, None, Carried { mfa, ..Carried::default() })
}

/// A new key. It is good until `life` after now, so never shorter than the Expiration that is told, which has no fractions.
fn credentials(
    world: &World,
    principal: Principal,
    life: Duration,
    policy: Option<Policy>,
    carried: Carried,
) -> Result<String, Refusal> {
    let now = clock::realtime();
    let expires = now + life.max(Duration::from_secs(1));
    let key = Key::new(principal, Token::With, Some(expires)).map_err(|_| Refusal::internal("no randomness"))?;
    let key = Key { policy, carried, ..key };
    let xml = format!(
        "<Credentials>{}{}{}{}</Credentials>",
        element("AccessKeyId", &key.id),
        element("SecretAccessKey", key.secret_text()),
        element("SessionToken", key.token_text().unwrap_or_default()),
        element("Expiration", &world.shown(expires).to_string())
    );
    world.keys().insert(now, key);
    Ok(xml)
}
