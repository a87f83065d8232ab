use std::time::{Duration, Instant};

use devsup::aws::{Base, BaseSpec, Grant, Patience, SandboxBase, Who};
use devsup::manifest::{Aws, Role};
use devsup::supervisor::Refusal;
use secrecy::ExposeSecret;

use super::answers::{Answer, Script, arn, env, patience, role, service, spec};

fn who() -> Who {
    Who { user: "ann".into(), host: "dev-1".into(), project: "shop".into() }
}

async fn ask(base: &Base, role: &Role) -> Result<Grant, Refusal> {
    base.assume(&service(), role, &who()).await
}

async fn ask_script(script: &Script, role: &Role) -> Result<Grant, Refusal> {
    ask(&Base::with_patience(spec(script), patience()), role).await
}

#[tokio::test]
async fn a_lease_is_what_sts_gave_and_lives_by_the_answers_own_clock() {
    let script = Script::new(vec![Answer::granted()]);
    let scoped = Role {
        external_id: Some("ext-1".into()),
        policy: Some("{}".into()),
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
        ..role()
    };
    let grant = ask_script(&script, &scoped).await.expect("a grant");
    assert_eq!(grant.credentials.access_key_id, "ASIALEASE");
    assert_eq!(grant.credentials.secret_access_key.expose_secret(), "lease-secret");
    assert_eq!(grant.credentials.session_token.expose_secret(), "lease-token");
    assert_eq!(grant.left, Duration::from_secs(3600), "whatever this machine's clock says");
    assert_eq!(grant.credentials.expires.0, 1_795_352_400_000);
    assert_eq!((grant.capped, grant.packed_policy_percent), (false, Some(6)));
    assert!(!format!("{grant:?}").contains("lease-"), "Debug shows no secret");
    let asked = script.asked();
    for word in [
        "Action=AssumeRole",
        "RoleSessionName=devsup-ann-a",
        "ExternalId=ext-1",
        "DurationSeconds=3600",
        "ReadOnlyAccess",
        "Policy=%7B%7D",
        "/eu-west-1/sts/",
    ] {
        assert!(asked[0].contains(word), "{word}: {asked:?}");
    }
}

#[tokio::test]
async fn skew_is_local_time_minus_the_answers() {
    let script = Script::new(vec![Answer::granted()]);
    let noon = 1_795_348_800_000;
    let before = i64::try_from(devsup::sys::clock::realtime().as_millis()).expect("a time") - noon;
    let grant = ask_script(&script, &role()).await.expect("a grant");
    let after = i64::try_from(devsup::sys::clock::realtime().as_millis()).expect("a time") - noon;
    assert!((before..=after).contains(&grant.skew_ms), "{before} {} {after}", grant.skew_ms);
}

#[tokio::test]
async fn invariant_1_another_role_or_account_is_refused_for_good() {
    for other in [
        "arn:aws:sts::222233334444:assumed-role/service-b/x",
        "arn:aws:sts::222233334445:assumed-role/service-a/x",
        "arn:aws:iam::222233334444:user/service-a",
    ] {
        let script = Script::new(vec![Answer::role(other, "2026-11-22T13:00:00Z")]);
        let refusal = ask_script(&script, &role()).await.expect_err("another role");
        assert_eq!((refusal.code.as_str(), refusal.lasting), ("WrongRole", true));
        assert!(refusal.message.contains(other) && !format!("{refusal:?}").contains("lease-"), "{refusal:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_already_over_is_no_lease() {
    let over = Answer::role("arn:aws:sts::222233334444:assumed-role/service-a/x", "2026-11-22T11:59:59Z");
    let refusal = ask_script(&Script::new(vec![over]), &role()).await.expect_err("expired");
    assert_eq!((refusal.code.as_str(), refusal.lasting), ("UnusableAnswer", false));
}

#[tokio::test]
async fn a_chained_role_falls_back_to_one_hour_once_and_remembers() {
    let limit = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
    let script = Script::new(vec![Answer::error(400, "ValidationError", limit), Answer::granted()]);
    let base = Base::with_patience(spec(&script), patience());
    let long = Role { duration: Duration::from_secs(7200), ..role() };
    assert!(ask(&base, &long).await.expect("a grant").capped);
    assert!(ask(&base, &long).await.expect("a grant").capped);
    assert_eq!((script.count("DurationSeconds=7200"), script.count("DurationSeconds=3600")), (1, 2));
    let refused = Script::new(vec![Answer::error(400, "ValidationError", limit)]);
    let refusal = ask_script(&refused, &long).await.expect_err("it says so for ever");
    assert!(refusal.lasting && refused.asked().len() == 2, "{refusal:?}");
}

#[tokio::test]
async fn throttling_is_tried_again_within_the_ask_and_told_when_it_lasts() {
    let slow = || Answer::error(400, "Throttling", "Rate exceeded").header("x-amz-retry-after", "7");
    let script = Script::new(vec![slow(), slow(), Answer::granted()]);
    ask_script(&script, &role()).await.expect("the third attempt");
    assert_eq!(script.asked().len(), 3);
    let script = Script::new(vec![slow()]);
    let refusal = ask_script(&script, &role()).await.expect_err("throttled for ever");
    assert_eq!((refusal.code.as_str(), refusal.lasting), ("Throttling", false));
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(7)));
    assert_eq!((refusal.request_id.as_deref(), script.asked().len()), (Some("req-7"), 3));
}

#[tokio::test]
async fn access_denied_is_asked_once_and_names_caller_and_side() {
    let caller = "arn:aws:sts::111122223333:assumed-role/dev/i-0abc";
    let message = format!(
        "User: {caller} is not authorized to perform: sts:AssumeRole on resource: x because no identity-based policy \
         allows the sts:AssumeRole action"
    );
    let script = Script::new(vec![Answer::error(403, "AccessDenied", &message)]);
    let refusal = ask_script(&script, &role()).await.expect_err("denied");
    assert_eq!(
        (refusal.code.as_str(), refusal.lasting, refusal.side.as_deref()),
        ("AccessDenied", true, Some("caller"))
    );
    assert_eq!((refusal.caller.as_deref(), script.asked().len()), (Some(caller), 1));
    assert!(refusal.hint.expect("a hint").contains("\"Resource\":[\"arn:aws:iam::222233334444:role/team/service-a\"]"));
}

#[tokio::test]
async fn access_denied_in_the_short_form_asks_who_asked() {
    let script = Script::new(vec![
        Answer::error(403, "AccessDenied", "Not authorized to perform sts:AssumeRole"),
        Answer::identity("arn:aws:iam::222233334444:user/ann"),
    ]);
    let refusal = ask_script(&script, &role()).await.expect_err("denied");
    assert_eq!(refusal.caller.as_deref(), Some("arn:aws:iam::222233334444:user/ann"));
    assert!(refusal.hint.expect("a hint").contains("one account"));
}

#[tokio::test]
async fn a_page_that_is_not_sts_is_transient_whatever_it_says() {
    for (status, body) in
        [(502, "<html>Bad Gateway</html>"), (403, "<html>blocked</html>"), (500, ""), (200, "<html/>")]
    {
        let script = Script::new(vec![Answer::new(status, body)]);
        let refusal = ask_script(&script, &role()).await.expect_err("no STS");
        assert!(!refusal.lasting, "{status}: {refusal:?}");
        assert!(refusal.message.contains(&status.to_string()) || status == 200, "{status}: {refusal:?}");
        assert!(!refusal.message.contains("service error"), "{refusal:?}");
    }
}

#[tokio::test]
async fn an_sts_that_is_silent_is_left_after_its_time() {
    let script = Script::new(vec![Answer::silent(Duration::from_secs(60))]);
    let short = Patience { attempt: Duration::from_millis(100), whole: Duration::from_millis(900), ..patience() };
    let started = Instant::now();
    let refusal = ask(&Base::with_patience(spec(&script), short), &role()).await.expect_err("silent");
    assert_eq!((refusal.code.as_str(), refusal.lasting), ("Unreachable", false));
    assert!(refusal.message.contains("127.0.0.1:"), "{refusal:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "not the server's 60 s");
    assert!(script.asked().len() >= 2, "an attempt has its own bound: {}", script.asked().len());
}

#[tokio::test]
async fn nobody_there_is_unreachable_by_name() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let aws = Aws { sts_endpoint: Some(format!("http://{port}")), ..Aws::default() };
    let proxied = env(&[&super::answers::KEYS[..], &[("HTTPS_PROXY", "http://ann:geheim@proxy:3128")]].concat());
    let base = Base::with_patience(BaseSpec { aws, env: proxied, sandbox: None }, patience());
    let refusal = ask(&base, &role()).await.expect_err("nobody");
    assert_eq!(refusal.code, "Unreachable");
    assert!(refusal.message.contains(&port.to_string()) && refusal.message.contains("efused"), "{refusal:?}");
    assert!(refusal.message.contains("proxy:3128") && !format!("{refusal:?}").contains("geheim"), "{refusal:?}");
}

#[tokio::test]
async fn expired_base_credentials_are_loaded_again_once() {
    for code in ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"] {
        let script = Script::new(vec![Answer::error(403, code, "over"), Answer::granted()]);
        ask_script(&script, &role()).await.expect("the second loading");
        let script = Script::new(vec![Answer::error(403, code, "over")]);
        let refusal = ask_script(&script, &role()).await.expect_err("it stays over");
        assert_eq!((refusal.code.as_str(), script.asked().len()), (code, 2));
    }
}

#[tokio::test]
async fn the_same_question_is_asked_once_at_a_time() {
    let script = Script::new(vec![Answer::granted()]);
    let base = Base::with_patience(spec(&script), patience());
    let (one, two) = (role(), role());
    let other = Role { external_id: Some("other".into()), ..role() };
    let (a, b, c) = tokio::join!(ask(&base, &one), ask(&base, &two), ask(&base, &other));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(script.asked().len(), 2, "two that are alike, and one that is not");
    ask(&base, &one).await.expect("a grant");
    assert_eq!(script.asked().len(), 3, "a later question gets a later answer");
}

#[tokio::test]
async fn one_who_stops_waiting_takes_nobody_with_it() {
    let script = Script::new(vec![Answer::granted()]);
    let base = Base::with_patience(spec(&script), patience());
    let (one, two) = (role(), role());
    let mut first = Box::pin(ask(&base, &one));
    let mut second = Box::pin(ask(&base, &two));
    std::future::poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending() && second.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(first);
    second.await.expect("it asks itself");
}

#[tokio::test]
async fn the_sandbox_is_spoken_to_as_the_identity_it_gave() {
    let script = Script::new(vec![Answer::granted(), Answer::identity("arn:aws:sts::1:assumed-role/dev/x")]);
    let sandbox = SandboxBase {
        url: script.url.clone(),
        region: "eu-central-1".into(),
        access_key_id: "ASIASANDBOXBASE".into(),
        secret_access_key: "s".to_owned().into(),
        session_token: Some("base-token".to_owned().into()),
    };
    // The manifest's base_role and the owner's variables say nothing here: the chain is never loaded.
    let aws = Aws { base_role: Some(arn("arn:aws:iam::9:role/else")), ..Aws::default() };
    let spec = BaseSpec { aws, env: env(&super::answers::KEYS), sandbox: Some(sandbox) };
    let base = Base::with_patience(spec, patience());
    ask(&base, &role()).await.expect("a grant");
    assert!(
        script.asked()[0].contains("Credential=ASIASANDBOXBASE/") && script.asked()[0].contains("/eu-central-1/sts")
    );
    assert_eq!(base.identity().await.expect("an identity").source, "sandbox");
    assert_eq!((base.region().await.as_deref(), base.overrides().len()), (Some("eu-central-1"), 0));
}
