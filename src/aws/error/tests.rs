mod session;

use std::time::Duration;

use super::*;
use crate::aws::sample;

const CALLER: &str = "arn:aws:sts::111122223333:assumed-role/dev/i-0abc";

fn about(role: &Role) -> About<'_> {
    About {
        role: Some(role),
        source: "profile dev".into(),
        endpoint: "sts.eu-west-1.amazonaws.com".into(),
        region: Some("eu-west-1".into()),
        at: Wall(7),
        ..About::default()
    }
}

fn answer(status: u16, code: &str, message: &str) -> Answer {
    Answer {
        status,
        code: Some(code.into()).filter(|code: &String| !code.is_empty()),
        message: Some(message.into()),
        request_id: Some("req-1".into()),
        ..Answer::default()
    }
}

fn refused(status: u16, code: &str, message: &str) -> Refusal {
    let role = sample::role();
    refusal(&Failure::Answer(answer(status, code, message)), &about(&role))
}

/// One row of the catalogue: what AWS says; is it lasting; which side; words of the sentence; words of the hint.
type Row = (u16, &'static str, &'static str, bool, Option<&'static str>, &'static str, &'static str);

const CATALOGUE: &[Row] = &[
    (
        400,
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        true,
        Some("target"),
        "does not allow sessions of 2h",
        "max_session_duration",
    ),
    (
        400,
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        true,
        None,
        "an hour at most",
        "`duration = \"1h\"`",
    ),
    (
        400,
        "ValidationError",
        "1 validation error detected: Value 'x y' at 'roleSessionName' failed to satisfy constraint",
        true,
        None,
        "roleSessionName",
        "`session_name`",
    ),
    (400, "MalformedPolicyDocument", "Syntax errors in policy.", true, None, "Syntax errors", "mend `policy`"),
    (400, "MalformedPolicyDocumentException", "Syntax errors in policy.", true, None, "Syntax errors", "mend `policy`"),
    (
        400,
        "PackedPolicyTooLarge",
        "Packed size of session tags consumes 112% of allotted space.",
        true,
        None,
        "112%",
        "policy_arns",
    ),
    (
        400,
        "PackedPolicyTooLargeException",
        "Packed size of session tags consumes 112% of allotted space.",
        true,
        None,
        "112%",
        "policy_arns",
    ),
    (
        403,
        "RegionDisabledException",
        "STS is not activated in this region for account:1.",
        true,
        None,
        "`eu-west-1`",
        "[aws] region",
    ),
    (
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
        true,
        Some("caller"),
        "does not know the base credentials (from profile dev)",
        "devsup whoami",
    ),
    (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        true,
        Some("caller"),
        "does not know",
        "devsup whoami",
    ),
    (
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
        true,
        Some("caller"),
        "expired",
        "aws sso login",
    ),
    (
        400,
        "ExpiredTokenException",
        "The security token included in the request is expired",
        true,
        Some("caller"),
        "expired",
        "aws sso login",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T002500Z - 15 min.)",
        true,
        Some("caller"),
        "clock",
        "timedatectl",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "Signature not yet current: 20260101T000000Z is still later than",
        true,
        Some("caller"),
        "clock",
        "chronyc",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
        true,
        Some("caller"),
        "secret key (from profile dev) is wrong",
        "no blanks",
    ),
    (400, "RequestExpired", "Request has expired.", true, Some("caller"), "clock", "timedatectl"),
    (400, "Throttling", "Rate exceeded", false, None, "throttling", "by itself"),
    (400, "ThrottlingException", "Rate exceeded", false, None, "throttling", "by itself"),
    (429, "TooManyRequestsException", "Rate exceeded", false, None, "throttling", "by itself"),
    (400, "RequestLimitExceeded", "Request limit exceeded.", false, None, "throttling", "by itself"),
    (503, "SlowDown", "Please reduce your request rate.", false, None, "throttling", "by itself"),
    (
        400,
        "IDPCommunicationError",
        "Error communicating with the provider",
        false,
        None,
        "identity provider",
        "by itself",
    ),
    (500, "InternalFailure", "We encountered an internal error.", false, None, "HTTP 500", "by itself"),
    (503, "ServiceUnavailable", "", false, None, "HTTP 503", "by itself"),
    (502, "", "", false, Some("network"), "nothing that STS says", "by itself"),
    (200, "", "", false, Some("network"), "HTTP 200", "it is not STS"),
    (403, "OptInRequired", "You are not subscribed", true, None, "not opted in", "opt the account in"),
    (403, "MissingAuthenticationToken", "Missing", true, Some("caller"), "no credentials", "devsup whoami"),
    (
        403,
        "AccessDenied",
        "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
        true,
        Some("caller"),
        "does not take this MFA code",
        "devsup creds --mfa",
    ),
    (
        403,
        "AccessDenied",
        "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and \
         associated with this user.",
        true,
        Some("caller"),
        "cannot check a code",
        "list-mfa-devices",
    ),
    (
        403,
        "AccessDenied",
        "Cannot call GetSessionToken with session credentials",
        true,
        Some("caller"),
        "itself a session",
        "drop `[aws] mfa_serial`",
    ),
    (
        400,
        "InvalidParameterValue",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        true,
        None,
        "Duplicate tag keys",
        "`tags`",
    ),
    (418, "Teapot", "short and stout", true, None, "short and stout", ""),
];

#[test]
fn every_row_of_the_catalogue_has_its_sentence_and_its_mend() {
    for (status, code, message, lasting, side, sentence, hint) in CATALOGUE {
        let refusal = refused(*status, code, message);
        assert_eq!(refusal.lasting, *lasting, "{code}: {refusal:?}");
        assert_eq!(refusal.side.as_deref(), *side, "{code}: {refusal:?}");
        assert!(refusal.message.contains(sentence), "{code}: {refusal:?}");
        assert!(refusal.hint.as_deref().unwrap_or_default().contains(hint), "{code}: {refusal:?}");
        assert_eq!(refusal.hint.is_none(), hint.is_empty(), "{code}: {refusal:?}");
        assert!(!refusal.message.contains('\n') && !refusal.message.contains("service error"), "{refusal:?}");
        let named = if code.is_empty() { format!("Http{status}") } else { (*code).to_owned() };
        assert_eq!((refusal.code, refusal.request_id.as_deref(), refusal.at), (named, Some("req-1"), Wall(7)));
    }
}

/// Tail of AccessDenied, its side, a word of the sentence, words of the hint.
const DENIED: &[(&str, Option<&str>, &str, &[&str])] = &[
    (
        " because no identity-based policy allows the sts:AssumeRole action",
        Some("caller"),
        "its own policies do not allow it",
        &[
            "policy of `arn:aws:iam::111122223333:role/dev`",
            "\"Resource\":[\"arn:aws:iam::222233334444:role/team/service-a\"]",
        ],
    ),
    (
        " because the role trust policy allows the sts:AssumeRole action",
        Some("target"),
        "does not trust `role/dev`",
        &["\"arn:aws:iam::111122223333:root\"", "\"aws:PrincipalArn\":\"arn:aws:iam::111122223333:role/dev\""],
    ),
    (
        " because no resource-based policy allows the sts:AssumeRole action",
        Some("target"),
        "does not trust",
        &["DevsupTrust"],
    ),
    (" with an explicit deny in an identity-based policy", Some("caller"), "denies it", &["find the Deny"]),
    (" with an explicit deny in a resource-based policy", Some("target"), "does not trust", &["DevsupTrust"]),
    (
        " with an explicit deny in a service control policy",
        Some("organisation"),
        "service control policy",
        &["administrator"],
    ),
    (
        " because no permissions boundary allows the sts:AssumeRole action",
        Some("caller"),
        "permissions boundary",
        &["must allow it too"],
    ),
    (
        " because no session policy allows the sts:AssumeRole action",
        Some("caller"),
        "session policy",
        &["must allow it too"],
    ),
    (
        " because no service control policy allows the sts:AssumeRole action",
        Some("organisation"),
        "service control policy",
        &["administrator"],
    ),
    (
        " because no VPC endpoint policy allows the sts:AssumeRole action",
        Some("network"),
        "VPC endpoint",
        &["sts_endpoint"],
    ),
    ("", None, "may not assume", &["two accounts", "does not exist", "DevsupAssume", "DevsupTrust"]),
];

#[test]
fn access_denied_tells_the_side_that_denies() {
    for (tail, side, sentence, hints) in DENIED {
        let role = "arn:aws:iam::222233334444:role/team/service-a";
        let message = format!("User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {role}{tail}");
        let refusal = refused(403, "AccessDenied", &message);
        assert!(refusal.lasting, "{refusal:?}");
        assert_eq!(refusal.side.as_deref(), *side, "{tail}: {refusal:?}");
        assert_eq!(refusal.caller.as_deref(), Some(CALLER));
        assert!(refusal.message.contains(sentence), "{tail}: {refusal:?}");
        for hint in *hints {
            assert!(refusal.hint.as_deref().unwrap_or_default().contains(hint), "{tail}: {hint}: {refusal:?}");
        }
    }
}

#[test]
fn tags_and_source_identity_need_both_statements() {
    for action in ["sts:TagSession", "sts:SetSourceIdentity"] {
        let refusal = refused(403, "AccessDenied", &format!("User: {CALLER} is not authorized to perform: {action}"));
        let hint = refusal.hint.expect("a hint");
        assert_eq!(hint.matches(&format!("[\"sts:AssumeRole\",\"{action}\"]")).count(), 2, "{hint}");
    }
}

#[test]
fn the_statements_are_json() {
    for text in [
        hint::may_assume("arn:aws:iam::1:role/r", &["sts:TagSession"]),
        hint::trusts("arn:aws:iam::1:role/dev", &[], Some("x-1")),
        hint::trusts("arn:aws-cn:iam::1:role/dev", &[], None),
    ] {
        let json: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(json["Effect"], "Allow");
    }
    assert!(hint::trusts("arn:aws-cn:iam::1:role/dev", &[], None).contains("arn:aws-cn:iam::1:root"));
}

#[test]
fn the_short_form_names_who_should_have_asked() {
    let role = sample::role();
    let short = Failure::Answer(answer(403, "AccessDenied", "Not authorized to perform sts:AssumeRole"));
    assert!(short.wants_caller());
    let unknown = refusal(&short, &about(&role));
    assert!(unknown.hint.expect("a hint").contains("who asks is unknown"));
    let known = About { caller: Some("arn:aws:iam::222233334444:user/ann".into()), ..about(&role) };
    let known = refusal(&short, &known);
    assert!(known.message.contains("`user/ann` may not assume"), "{known:?}");
    assert!(known.hint.expect("a hint").contains("both are in one account"));
    let itself = About { caller: Some("arn:aws:sts::5:assumed-role/me/x".into()), ..about(&role) };
    let role = Role { arn: crate::manifest::RoleArn::checked("arn:aws:iam::5:role/me"), ..role.clone() };
    let itself = refusal(&short, &About { role: Some(&role), ..itself });
    assert!(itself.hint.expect("a hint").contains("allowed to assume itself"));
}

#[test]
fn nothing_of_a_quoted_request_is_shown() {
    let quoted = "The request signature we calculated does not match x-amz-security-token:FwoGSECRET";
    let second = "is invalid.\n\nThe Canonical String should have been\nx-amz-security-token:FwoGSECRET";
    for (code, message) in [("SignatureDoesNotMatch", quoted), ("ValidationError", second), ("Teapot", second)] {
        let shown = format!("{:?}", refused(403, code, message));
        assert!(!shown.contains("FwoGSECRET"), "{shown}");
    }
}

#[test]
fn skew_retry_after_and_proxy_are_told() {
    let role = sample::role();
    let skewed = Answer {
        skew_ms: Some(-960_000),
        retry_after: Some(Duration::from_millis(700)),
        ..answer(403, "SignatureDoesNotMatch", "Signature expired: now earlier")
    };
    let refusal_ = refusal(&Failure::Answer(skewed), &about(&role));
    assert!(refusal_.message.contains("16m behind"), "{refusal_:?}");
    assert_eq!(refusal_.retry_after, Some(Duration::from_millis(700)));
    let behind = About { proxy: Some("http://proxy:3128".into()), ..about(&role) };
    let lost = refusal(&Failure::Unreachable("connection refused".into()), &behind);
    assert_eq!((lost.code.as_str(), lost.lasting, lost.side.as_deref()), ("Unreachable", false, Some("network")));
    assert!(lost.message.contains("`sts.eu-west-1.amazonaws.com`") && lost.message.contains("http://proxy:3128"));
    assert!(
        refusal(&Failure::Unreachable("x".into()), &about(&role)).hint.expect("a hint").contains("no proxy is set")
    );
}

#[test]
fn a_missing_base_is_asked_for_again() {
    let role = sample::role();
    let none = refusal(&Failure::NoBase(Missing::new("nobody gave any")), &about(&role));
    assert_eq!((none.code.as_str(), none.lasting), ("NoBaseCredentials", true));
    assert!(none.retry_after.is_some_and(|after| after < Duration::from_mins(1)));
    assert!(none.message.contains("nobody gave any") && none.hint.expect("a hint").contains("--sandbox"));
}

#[test]
fn stale_base_and_chaining_are_recognised_with_and_without_exception() {
    let stale = |code| Failure::Answer(answer(403, code, "")).base_is_stale();
    assert!(
        ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"]
            .into_iter()
            .all(stale)
    );
    assert!(!stale("AccessDenied") && !Failure::NoBase(Missing::new("")).base_is_stale());
    let chained = "exceeds the 1 hour session limit for roles assumed by role chaining.";
    assert!(Failure::Answer(answer(400, "ValidationError", chained)).is_chain_limit());
}
