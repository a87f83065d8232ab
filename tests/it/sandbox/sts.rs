//! STS: who one is, whom one may become, and every way to be refused.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::operation::RequestId as _;
use devsup::sandbox::{Config, Handle};

use super::signed::{Ask, Keys, assume, raw};
use super::{A, B, config, start, until};

const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn sdk(handle: &Handle, keys: &Keys) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new("us-east-1"))
        .endpoint_url(handle.url())
        .credentials_provider(Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "test"))
        .retry_config(aws_sdk_sts::config::retry::RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn the_rust_sdk_becomes_a_role_and_is_told_who_it_is() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    block(async {
        let before = i64::try_from(devsup::sys::clock::realtime().as_secs()).expect("this century");
        let answer =
            sdk(&handle, &base).assume_role().role_arn(A).role_session_name("devsup-a").send().await.expect("allowed");
        assert!(answer.request_id().is_some_and(|id| id.len() == 36));
        let user = answer.assumed_role_user().expect("a user");
        assert_eq!(user.arn(), "arn:aws:sts::123456789012:assumed-role/service-a/devsup-a");
        let keys = answer.credentials().expect("credentials");
        assert!(keys.access_key_id().starts_with("ASIASANDBOX"));
        assert!((before + 59..before + 90).contains(&keys.expiration().secs()), "the lease is a minute");
        let keys = Keys {
            id: keys.access_key_id().into(),
            secret: keys.secret_access_key().into(),
            token: Some(keys.session_token().into()),
        };
        let who = sdk(&handle, &keys).get_caller_identity().send().await.expect("good keys");
        assert_eq!(who.arn(), Some(user.arn()));
        assert_eq!((who.account(), who.user_id()), (Some("123456789012"), Some(user.assumed_role_id())));
    });
}

#[test]
fn the_rust_sdk_sees_code_message_and_request_id_of_a_refusal() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    let nobody = "arn:aws:iam::123456789012:role/nobody";
    block(async {
        let error = sdk(&handle, &base)
            .assume_role()
            .role_arn(nobody)
            .role_session_name("me")
            .send()
            .await
            .expect_err("no such role");
        let said = format!(
            "User: arn:aws:sts::123456789012:assumed-role/dev/i-0sandbox0000000 is not authorized to perform: sts:AssumeRole on \
             resource: {nobody}"
        );
        assert_eq!((error.code(), error.message()), (Some("AccessDenied"), Some(said.as_str())));
        assert!(error.request_id().is_some());
    });
}

#[test]
fn what_is_wrong_with_a_signature_is_said_in_the_words_of_sts() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    let ask = |keys: &Keys, ahead: i64| Ask { ahead, ..Ask::sts(WHO) }.send(handle.url(), keys);
    for (what, keys, ahead, code, sentence) in [
        ("good", base.clone(), 0, "ok", "<Arn>arn:aws:sts::123456789012:assumed-role/dev/"),
        ("14 min off", base.clone(), -14 * 60, "ok", ""),
        (
            "key",
            Keys { id: "ASIASANDBOXNOBODYNOB".into(), ..base.clone() },
            0,
            "InvalidClientTokenId",
            "token included in the request is invalid",
        ),
        (
            "secret",
            Keys { secret: "x".repeat(40), ..base.clone() },
            0,
            "SignatureDoesNotMatch",
            "does not match the signature you provided",
        ),
        ("token", Keys { token: Some("x".into()), ..base.clone() }, 0, "InvalidClientTokenId", "is invalid"),
        ("no token", Keys { token: None, ..base.clone() }, 0, "InvalidClientTokenId", "is invalid"),
        ("slow clock", base.clone(), -16 * 60, "SignatureDoesNotMatch", "Signature expired: "),
        ("fast clock", base.clone(), 16 * 60, "SignatureDoesNotMatch", "Signature not yet current: "),
    ] {
        let answer = ask(&keys, ahead);
        assert_eq!(answer.code(), code, "{what}: {}", answer.body);
        assert_eq!(answer.status, if code == "ok" { 200 } else { 403 }, "{what}");
        assert!(answer.body.contains(sentence), "{what}: {}", answer.body);
        assert_eq!(answer.header("x-amzn-requestid"), answer.element("RequestId"), "{what}");
        assert!(answer.header("date").is_some_and(|date| date.ends_with("GMT")), "{what}");
    }
}

#[test]
fn an_unsigned_or_half_signed_request_is_refused() {
    let handle = start(config());
    let unsigned = raw(handle.url(), "POST", "/", &[], WHO.as_bytes()).expect("an answer");
    assert_eq!((unsigned.status, unsigned.code()), (403, "MissingAuthenticationToken"));
    let header = ("authorization".to_owned(), "Bearer of nothing".to_owned());
    let half = raw(handle.url(), "POST", "/", &[header], WHO.as_bytes()).expect("an answer");
    assert_eq!((half.status, half.code()), (400, "IncompleteSignature"));
}

#[test]
fn a_body_changed_on_the_way_is_refused() {
    let handle = start(config());
    let (target, headers) = Ask::sts(WHO).signed(handle.url(), &handle.ready().into());
    let changed = WHO.replace("CallerIdentity", "SessionToken");
    let answer = raw(handle.url(), "POST", &target, &headers, changed.as_bytes()).expect("an answer");
    assert_eq!(answer.code(), "SignatureDoesNotMatch");
}

#[test]
fn get_works_as_post_does_and_an_unknown_action_is_named() {
    let handle = start(config());
    let base: Keys = handle.ready().into();
    let get = |path| Ask { service: "sts", ..Ask::s3("GET", path) }.send(handle.url(), &base);
    assert_eq!(get("/?Action=GetCallerIdentity&Version=2011-06-15").code(), "ok");
    let unknown = get("/?Action=Destroy&Version=2011-06-15");
    assert_eq!((unknown.status, unknown.code()), (400, "InvalidAction"));
    assert_eq!(get("/?Version=2011-06-15").code(), "MissingAction");
}

#[test]
fn a_session_expires_at_its_time_and_hears_so_everywhere() {
    let handle = start(Config { lease: Duration::from_secs(2), ..config() });
    let keys = assume(handle.url(), &handle.ready().into(), A);
    let who = || Ask::sts(WHO).send(handle.url(), &keys);
    until("the end of a session of 2 s", || who().code() != "ok");
    let sts = who();
    assert_eq!((sts.status, sts.code()), (403, "ExpiredToken"));
    let s3 = Ask::s3("GET", "/bucket1?list-type=2").send(handle.url(), &keys);
    assert_eq!((s3.status, s3.code()), (400, "ExpiredToken"));
    let base = Ask::sts(WHO).send(handle.url(), &handle.ready().into());
    assert_eq!(base.code(), "ok", "the base identity does not expire");
}

#[test]
fn a_session_may_not_assume_another_role_unless_told() {
    let form = "Action=AssumeRole&Version=2011-06-15&RoleSessionName=me&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fservice-b";
    let chained = |config| {
        let handle = start(config);
        let a = assume(handle.url(), &handle.ready().into(), A);
        Ask::sts(form).send(handle.url(), &a).code().to_owned()
    };
    assert_eq!(chained(config()), "AccessDenied");
    assert_eq!(chained(Config { trusts: [(B.into(), vec![A.into()])].into(), ..config() }), "ok");
}

#[test]
fn strict_refuses_more_than_an_hour_of_a_chained_session_and_still_serves_the_short_lease() {
    let handle = start(Config { strict: true, lease: Duration::from_secs(3), ..config() });
    let base: Keys = handle.ready().into();
    block(async {
        let ask = |seconds| {
            sdk(&handle, &base).assume_role().role_arn(A).role_session_name("me").duration_seconds(seconds).send()
        };
        let error = ask(3601).await.expect_err("chained");
        assert_eq!(error.code(), Some("ValidationError"));
        let said = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        assert_eq!(error.message(), Some(said));
        assert_eq!(ask(899).await.expect_err("too short").code(), Some("ValidationError"));
        let keys = ask(3600).await.expect("an hour").credentials.expect("credentials");
        let now = i64::try_from(devsup::sys::clock::realtime().as_secs()).expect("this century");
        assert!(keys.expiration().secs() <= now + 3, "the lease is 3 s");
    });
}

#[test]
fn a_user_as_base_has_no_token_and_may_ask_for_a_session() {
    let handle = start(Config { base_role_arn: "arn:aws:iam::123456789012:user/me".into(), ..config() });
    let ready = handle.ready();
    assert!(ready.session_token.is_none());
    let token = "Action=GetSessionToken&Version=2011-06-15";
    let answer = Ask::sts(token).send(handle.url(), &ready.into());
    assert_eq!(answer.code(), "ok", "{}", answer.body);
    assert!(answer.element("SessionToken").is_some_and(|token| token.len() > 100));
    let role = start(config());
    let refused = Ask::sts(token).send(role.url(), &role.ready().into());
    assert_eq!((refused.status, refused.code()), (403, "AccessDenied"));
}
