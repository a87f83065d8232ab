//! AssumeRole: what may be asked, of whom, and for how long.
//!
//! Limits are those of the STS API reference (2011-06-15).

use std::time::Duration;

use http::StatusCode;

use super::config::Config;
use super::identity::Principal;
use super::policy::Policy;
use super::refusal::Refusal;
use super::session::Carried;
use super::sts::Form;

/// When the request names no DurationSeconds, and a role no MaxSessionDuration.
const HOUR: Duration = Duration::from_hours(1);
const POLICY_CHARACTERS: usize = 2048;

/// A checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assume {
    pub(super) role_arn: String,
    pub(super) session: String,
    pub(super) life: Duration,
    /// How full the session policy is, in percent, when one was sent.
    pub(super) packed: Option<usize>,
    pub(super) policy: Option<Policy>,
    pub(super) carried: Carried,
}

/// Checks the request in AWS's order: its form, its policy, who may, then how long.
pub(super) fn check(
    config: &Config,
    denied: bool,
    caller: &Principal,
    carried: &Carried,
    form: &Form,
) -> Result<Assume, Refusal> {
    let (role_arn, session) = names(form)?;
    let asked = duration(config, form)?;
    let (policy, characters) = policy(form)?;
    let next = carried.next(form)?;
    let packed = next.packed(characters)?;
    let may = trusted(config, caller, &role_arn) && shown_where_wanted(config, caller, carried);
    if denied || !may || !right_external_id(config, &role_arn, form) {
        return Err(Refusal::denied(format!(
            "User: {} is not authorized to perform: sts:AssumeRole on resource: {role_arn}",
            caller.arn
        )));
    }
    if config.strict {
        within_role(config, caller, &role_arn, asked)?;
    }
    Ok(Assume {
        role_arn,
        session,
        life: asked.min(config.lease),
        packed: packed.or_else(|| form.keys().any(|key| key.starts_with("PolicyArns.")).then_some(1)),
        policy,
        carried: next,
    })
}

/// Collects every broken constraint, as STS does, into one ValidationError.
fn names(form: &Form) -> Result<(String, String), Refusal> {
    let mut broken = Vec::new();
    let arn = required(form, "RoleArn", "roleArn", &mut broken);
    if !arn.is_empty() {
        length("roleArn", arn, 20, 2048, &mut broken);
    }
    let session = required(form, "RoleSessionName", "roleSessionName", &mut broken);
    if form.contains_key("RoleSessionName") {
        length("roleSessionName", session, 2, 64, &mut broken);
        pattern("roleSessionName", session, "[\\w+=,.@-]*", is_name, &mut broken);
    }
    if let Some(id) = form.get("ExternalId") {
        length("externalId", id, 2, 1224, &mut broken);
        pattern("externalId", id, "[\\w+=,.@:\\/-]*", |c| is_name(c) || matches!(c, ':' | '/'), &mut broken);
    }
    settled(&broken)?;
    if !arn.starts_with("arn:") || arn.split(':').count() < 6 {
        return Err(Refusal::invalid(format!("{arn} is invalid")));
    }
    Ok((arn.to_owned(), session.to_owned()))
}

/// Fine when nothing is broken.
pub(super) fn settled(broken: &[String]) -> Result<(), Refusal> {
    match broken {
        [] => Ok(()),
        [one] => Err(Refusal::invalid(format!("1 validation error detected: {one}"))),
        many => Err(Refusal::invalid(format!("{} validation errors detected: {}", many.len(), many.join("; ")))),
    }
}

fn required<'a>(form: &'a Form, key: &str, member: &str, broken: &mut Vec<String>) -> &'a str {
    form.get(key).map_or_else(
        || {
            broken.push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
            ""
        },
        String::as_str,
    )
}

pub(super) fn length(member: &str, value: &str, least: usize, most: usize, broken: &mut Vec<String>) {
    let count = value.chars().count();
    let bound = if count < least {
        format!("greater than or equal to {least}")
    } else if count > most {
        format!("less than or equal to {most}")
    } else {
        return;
    };
    broken.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: Member must have length {bound}"));
}

pub(super) fn pattern(
    member: &str,
    value: &str,
    shown: &str,
    allowed: impl Fn(char) -> bool,
    broken: &mut Vec<String>,
) {
    if !value.chars().all(allowed) {
        broken.push(format!(
            "Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: {shown}"
        ));
    }
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | '-')
}

fn duration(config: &Config, form: &Form) -> Result<Duration, Refusal> {
    let Some(text) = form.get("DurationSeconds") else { return Ok(HOUR) };
    let seconds: u64 = text
        .parse()
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| Refusal::invalid(format!("{text} is no valid DurationSeconds")))?;
    let bound = match seconds {
        ..900 => "greater than or equal to 900",
        900..=43_200 => return Ok(Duration::from_secs(seconds)),
        _ => "less than or equal to 43200",
    };
    if config.strict {
        return Err(Refusal::invalid(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound}"
        )));
    }
    Ok(Duration::from_secs(seconds))
}

/// The session policy, and how long it is.
fn policy(form: &Form) -> Result<(Option<Policy>, usize), Refusal> {
    let Some(text) = form.get("Policy") else { return Ok((None, 0)) };
    let characters = text.chars().count();
    if characters > POLICY_CHARACTERS {
        return Err(Refusal::invalid(format!(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or \
             equal to {POLICY_CHARACTERS}"
        )));
    }
    let policy = Policy::parse(text).map_err(|error| {
        let what = format!("Syntax errors in policy: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "MalformedPolicyDocument", what)
    })?;
    Ok((Some(policy), characters))
}

/// The base identity may assume every role of the manifest; others only where `trusts` names their role.
fn trusted(config: &Config, caller: &Principal, role_arn: &str) -> bool {
    let who = caller.role.as_deref().unwrap_or(&caller.arn);
    config.roles.iter().any(|known| known == role_arn)
        && (who == config.base_role_arn
            || config.trusts.get(role_arn).is_some_and(|roles| roles.iter().any(|role| role == who)))
}

/// A user with an MFA device must have shown its code.
fn shown_where_wanted(config: &Config, caller: &Principal, carried: &Carried) -> bool {
    config.mfa_serial.is_none() || caller.role.is_some() || carried.mfa
}

fn right_external_id(config: &Config, role_arn: &str, form: &Form) -> bool {
    config.external_ids.get(role_arn).is_none_or(|due| form.get("ExternalId") == Some(due))
}

fn within_role(config: &Config, caller: &Principal, role_arn: &str, asked: Duration) -> Result<(), Refusal> {
    if caller.role.is_some() && asked > HOUR {
        return Err(Refusal::invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    if asked > config.max_session.get(role_arn).copied().unwrap_or(HOUR) {
        return Err(Refusal::invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "arn:aws:iam::123456789012:role/service-a";
    const B: &str = "arn:aws:iam::123456789012:role/service-b";

    fn config() -> Config {
        Config { roles: vec![A.into(), B.into()], ..Config::default() }
    }

    fn ask(config: &Config, caller: &Principal, words: &[(&str, &str)]) -> Result<Assume, String> {
        let mut form: Form = [("RoleArn".into(), A.into()), ("RoleSessionName".into(), "me".into())].into();
        for (key, value) in words {
            if value.is_empty() {
                form.remove(*key)
            } else {
                form.insert((*key).into(), (*value).into())
            };
        }
        check(config, false, caller, &Carried::default(), &form).map_err(|refusal| refusal.to_string())
    }

    fn dev() -> Principal {
        Principal::session_of(&Config::default().base_role_arn, "i-0")
    }

    #[test]
    fn the_shorter_of_request_and_lease_is_served() {
        let config = config();
        assert_eq!(ask(&config, &dev(), &[]).expect("allowed").life, Duration::from_mins(1));
        assert_eq!(ask(&config, &dev(), &[("DurationSeconds", "5")]).expect("not strict").life, Duration::from_secs(5));
        let strict = Config { strict: true, ..config };
        assert_eq!(ask(&strict, &dev(), &[("DurationSeconds", "3600")]).expect("allowed").life, Duration::from_mins(1));
    }

    #[test]
    fn strict_keeps_the_limits_of_aws() {
        let strict = Config { strict: true, max_session: [(A.into(), Duration::from_hours(2))].into(), ..config() };
        let user = Principal::user("arn:aws:iam::123456789012:user/u");
        let user_based = Config { base_role_arn: user.arn.clone(), ..strict.clone() };
        for (config, caller, seconds, sentence) in [
            (&strict, &dev(), "899", "greater than or equal to 900"),
            (&strict, &dev(), "43201", "less than or equal to 43200"),
            (&strict, &dev(), "3601", "exceeds the 1 hour session limit for roles assumed by role chaining."),
            (&user_based, &user, "7201", "exceeds the MaxSessionDuration set for this role."),
        ] {
            let refusal = ask(config, caller, &[("DurationSeconds", seconds)]).expect_err(seconds);
            assert!(refusal.starts_with("ValidationError: ") && refusal.contains(sentence), "{refusal}");
        }
        assert!(ask(&user_based, &user, &[("DurationSeconds", "7200")]).is_ok(), "a user's session is not chained");
    }

    #[test]
    fn names_are_checked_and_all_that_is_wrong_is_said_at_once() {
        for (words, sentence) in [
            (&[("RoleSessionName", "")][..], "1 validation error detected: Value null at 'roleSessionName'"),
            (&[("RoleSessionName", "x")], "length greater than or equal to 2"),
            (&[("RoleSessionName", "a b")], "regular expression pattern: [\\w+=,.@-]*"),
            (
                &[("RoleArn", "short"), ("RoleSessionName", "a/b")],
                "2 validation errors detected: Value 'short' at 'roleArn'",
            ),
            (&[("RoleArn", "this-is-long-but-no-arn")], "this-is-long-but-no-arn is invalid"),
            (&[("DurationSeconds", "soon")], "soon is no valid DurationSeconds"),
        ] {
            let refusal = ask(&config(), &dev(), words).expect_err(sentence);
            assert!(refusal.starts_with("ValidationError: ") && refusal.contains(sentence), "{refusal}");
        }
    }

    #[test]
    fn only_the_base_and_whom_a_role_trusts_may_assume_it() {
        let b = Principal::session_of(B, "me");
        let sentence =
            format!("AccessDenied: User: {} is not authorized to perform: sts:AssumeRole on resource: {A}", b.arn);
        assert_eq!(ask(&config(), &b, &[]), Err(sentence));
        let told = Config { trusts: [(A.into(), vec![B.into()])].into(), ..config() };
        assert!(ask(&told, &b, &[]).is_ok());
        assert!(ask(&config(), &dev(), &[("RoleArn", "arn:aws:iam::123456789012:role/none")]).is_err());
    }

    #[test]
    fn an_external_id_is_wanted_where_it_is_named() {
        let config = Config { external_ids: [(A.into(), "x1".into())].into(), ..config() };
        assert!(ask(&config, &dev(), &[]).is_err());
        assert!(ask(&config, &dev(), &[("ExternalId", "x2")]).is_err());
        assert!(ask(&config, &dev(), &[("ExternalId", "x1")]).is_ok());
        assert!(ask(&config, &dev(), &[("ExternalId", "x1"), ("RoleArn", B)]).is_ok(), "others ignore it");
    }

    #[test]
    fn a_policy_is_json_with_a_statement_and_its_size_is_told() {
        for bad in ["{", "[]", "{}"] {
            let refusal = ask(&config(), &dev(), &[("Policy", bad)]).expect_err(bad);
            assert!(refusal.starts_with("MalformedPolicyDocument: "), "{refusal}");
        }
        let good =
            ask(&config(), &dev(), &[("Policy", r#"{"Version":"2012-10-17","Statement":[]}"#)]).expect("a policy");
        assert_eq!(good.packed, Some(1));
        assert_eq!(ask(&config(), &dev(), &[]).expect("no policy").packed, None);
    }
}
