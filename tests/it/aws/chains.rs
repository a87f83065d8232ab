//! Chains, tags, source identity and MFA: what is asked of a scripted STS, and how it goes with the sandbox.

use std::time::Duration;

use devsup::aws::{Base, BaseSpec, Grant, SandboxBase, Who};
use devsup::manifest::{Aws, Role};
use devsup::sandbox::{Config, Handle};
use devsup::supervisor::Refusal;
use secrecy::SecretString;

use super::answers::{Answer, Script, arn, patience, role, service, spec};
use crate::project::wait_until;

const SERIAL: &str = "arn:aws:iam::222233334444:mfa/ann";
const JUMP: &str = "arn:aws:iam::222233334444:role/jump";
const A: &str = "arn:aws:iam::222233334444:role/team/service-a";

fn who() -> Who {
    Who { user: "ann".into(), host: "dev-1".into(), project: "shop".into() }
}

async fn ask(base: &Base, role: &Role) -> Result<Grant, Refusal> {
    base.assume(&service(), role, &who()).await
}

fn tagged() -> Role {
    Role {
        source_identity: Some("{user}@{host}".into()),
        tags: [("project".into(), "shop".into()), ("stage".into(), "dev".into())].into(),
        transitive_tags: vec!["project".into()],
        ..role()
    }
}

fn chained() -> Role {
    Role { via: vec![arn(JUMP)], external_id: Some("ext-1".into()), duration: Duration::from_hours(2), ..tagged() }
}

fn jumped() -> Answer {
    Answer::role("arn:aws:sts::222233334444:assumed-role/jump/devsup-ann-a", "2026-11-22T13:00:00Z")
}

fn denied() -> Answer {
    Answer::error(
        403,
        "AccessDenied",
        "Not authorized because no identity-based policy allows the sts:AssumeRole action",
    )
}

#[tokio::test]
async fn tags_and_source_identity_are_sent() {
    let script = Script::new(vec![Answer::granted()]);
    ask(&Base::with_patience(spec(&script), patience()), &tagged()).await.expect("a grant");
    for word in [
        "SourceIdentity=ann%40dev-1",
        "Tags.member.1.Key=project",
        "Tags.member.1.Value=shop",
        "Tags.member.2.Key=stage",
        "TransitiveTagKeys.member.1=project",
    ] {
        assert!(script.asked()[0].contains(word), "{word}: {:?}", script.asked());
    }
}

#[tokio::test]
async fn a_chain_is_assumed_hop_by_hop_and_the_way_is_remembered() {
    let script = Script::new(vec![jumped(), Answer::granted()]);
    let base = Base::with_patience(spec(&script), patience());
    let grant = ask(&base, &chained()).await.expect("a grant");
    assert!(grant.capped, "AWS gives a chained role an hour");
    let asked = script.asked();
    let has = |number: usize, words: &[&str]| words.iter().all(|word| asked[number].contains(word));
    assert!(
        has(
            0,
            &["role%2Fjump", "DurationSeconds=900", "SourceIdentity=", "Key=project", "TransitiveTagKeys", "AKIABASE"]
        ),
        "{asked:?}"
    );
    assert!(!has(0, &["ExternalId"]) && !has(0, &["Key=stage"]), "{asked:?}");
    assert!(
        has(
            1,
            &[
                "role%2Fteam%2Fservice-a",
                "DurationSeconds=3600",
                "ExternalId=ext-1",
                "Key=stage",
                "Credential=ASIALEASE"
            ]
        ),
        "{asked:?}"
    );
    assert!(!has(1, &["SourceIdentity"]) && !has(1, &["Key=project"]), "what sticks is not sent again: {asked:?}");
    ask(&base, &chained()).await.expect("a grant");
    assert_eq!((script.count("role%2Fjump"), script.count("role%2Fteam")), (1, 2), "the session on the way was held");
    let other = Role { source_identity: Some("bob".into()), ..chained() };
    let refusal = ask(&base, &other).await.expect_err("the script has no more of the role on the way");
    assert_eq!(
        (refusal.code.as_str(), script.count("role%2Fjump")),
        ("WrongRole", 2),
        "another source identity is another session"
    );
}

#[tokio::test]
async fn invariant_1_every_hop_must_be_the_role_that_was_asked() {
    let script = Script::new(vec![Answer::granted()]);
    let refusal =
        ask(&Base::with_patience(spec(&script), patience()), &chained()).await.expect_err("not the jump role");
    assert_eq!((refusal.code.as_str(), refusal.lasting, script.asked().len()), ("WrongRole", true, 1));
    assert!(refusal.message.starts_with("hop 1 of 2") && refusal.message.contains(JUMP), "{refusal:?}");
    assert!(!format!("{refusal:?}").contains("lease-"), "{refusal:?}");
}

#[tokio::test]
async fn a_refusal_names_the_hop_and_its_caller() {
    let script = Script::new(vec![jumped(), denied()]);
    let refusal = ask(&Base::with_patience(spec(&script), patience()), &chained()).await.expect_err("denied");
    assert!(refusal.message.starts_with(&format!("hop 2 of 2 to `{A}`: `role/jump` may not")), "{refusal:?}");
    assert_eq!(refusal.side.as_deref(), Some("caller"));
    let hint = refusal.hint.expect("a hint");
    assert!(hint.contains(&format!("policy of `{JUMP}`")) && hint.contains("sts:TagSession"), "{hint}");
    let script = Script::new(vec![denied(), Answer::identity("arn:aws:iam::222233334444:user/ann")]);
    let refusal = ask(&Base::with_patience(spec(&script), patience()), &chained()).await.expect_err("denied");
    assert!(
        refusal.message.starts_with(&format!("hop 1 of 2 to `{A}`: `user/ann` may not assume `{JUMP}`")),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn sessions_that_aws_no_longer_knows_are_made_again_once() {
    let expired = || Answer::error(403, "ExpiredToken", "over");
    let script = Script::new(vec![jumped(), expired(), jumped(), Answer::granted()]);
    ask(&Base::with_patience(spec(&script), patience()), &chained()).await.expect("the second way");
    assert_eq!(script.asked().len(), 4);
}

fn sandbox(config: Config) -> (Handle, Base) {
    let mfa_serial = config.mfa_serial.clone();
    let handle = Handle::start(config).expect("a port on loopback");
    let ready = handle.ready();
    let sandbox = SandboxBase {
        url: ready.url,
        region: ready.region,
        access_key_id: ready.access_key_id,
        secret_access_key: ready.secret_access_key.into(),
        session_token: ready.session_token.map(Into::into),
    };
    let aws = Aws { mfa_serial, ..Aws::default() };
    let base = Base::with_patience(BaseSpec { aws, env: Vec::new(), sandbox: Some(sandbox) }, patience());
    (handle, base)
}

fn config() -> Config {
    Config {
        account: "222233334444".into(),
        base_role_arn: "arn:aws:iam::222233334444:role/dev".into(),
        roles: vec![A.into(), JUMP.into()],
        trusts: [(A.into(), vec![JUMP.into()])].into(),
        external_ids: [(A.into(), "ext-1".into())].into(),
        ..Config::default()
    }
}

#[tokio::test]
async fn a_chain_goes_through_the_sandbox() {
    let (sandbox, base) = sandbox(config());
    let grant = ask(&base, &chained()).await.expect("a grant");
    assert_eq!(base.identity_of(&grant.credentials).await.expect("an identity"), grant.assumed_role_arn);
    assert!(grant.assumed_role_arn.ends_with(":assumed-role/service-a/devsup-ann-a"), "{grant:?}");
    ask(&base, &chained()).await.expect("a grant");
    assert_eq!((sandbox.calls().count("jump", "AssumeRole"), sandbox.calls().count("service-a", "AssumeRole")), (1, 2));
    let full = Role { tags: (0..9).map(|n| (format!("k{n}"), "v".repeat(250))).collect(), ..chained() };
    let refusal = ask(&base, &Role { transitive_tags: Vec::new(), ..full }).await.expect_err("too much");
    assert_eq!(refusal.code, "PackedPolicyTooLarge");
    assert!(refusal.hint.expect("a hint").contains("the last lease took"), "of this role one was given before");
}

/// Why it is refused is looked up in the role's trust policy, and said.
#[tokio::test]
async fn what_the_trust_policy_wants_is_said_where_aws_says_nothing() {
    let (_sandbox, base) = sandbox(config());
    let refusal = ask(&base, &Role { external_id: None, ..tagged() }).await.expect_err("no external id");
    assert_eq!((refusal.code.as_str(), refusal.side.as_deref()), ("AccessDenied", Some("target")));
    let wants = "the trust policy wants sts:ExternalId `ext-1`: set `external_id`";
    assert!(refusal.message.ends_with(wants) && refusal.hint.as_deref() == Some(wants), "{refusal:?}");
    let absent = Role { external_id: None, ..Role::of(arn("arn:aws:iam::222233334444:role/service-x")) };
    let refusal = ask(&base, &absent).await.expect_err("no such role");
    assert!(refusal.message.ends_with("there is no role `service-x` in account 222233334444"), "{refusal:?}");
    let case = Role::of(arn("arn:aws:iam::222233334444:role/team/Service-A"));
    let refusal = ask(&base, &case).await.expect_err("another case");
    assert!(refusal.message.ends_with(&format!("upper and lower case count: the role's ARN is `{A}`")), "{refusal:?}");
}

fn with_mfa(lasts: Duration) -> Config {
    let base_role_arn = "arn:aws:iam::222233334444:user/ann".into();
    Config { base_role_arn, mfa_serial: Some(SERIAL.into()), mfa_lasts: lasts, ..config() }
}

fn code(digits: &str) -> SecretString {
    digits.to_owned().into()
}

#[tokio::test]
async fn a_code_opens_the_session_that_assumes() {
    let (sandbox, base) = sandbox(with_mfa(Duration::from_hours(36)));
    let role = Role { external_id: Some("ext-1".into()), ..role() };
    let required = ask(&base, &role).await.expect_err("no code yet");
    assert_eq!((required.code.as_str(), required.lasting), ("MfaRequired", true));
    assert!(required.wants_code() && required.message.contains(SERIAL), "{required:?}");
    assert_eq!(sandbox.calls().count("service-a", "AssumeRole"), 0, "nothing is asked of AWS without one");
    let wrong = base.give_code(&code("654321")).await.expect_err("a wrong code");
    assert_eq!(wrong.code, "AccessDenied");
    assert!(
        wrong.message.contains("does not take this MFA code") && !format!("{wrong:?}").contains("654321"),
        "{wrong:?}"
    );
    assert!(ask(&base, &role).await.expect_err("still none").wants_code());
    base.give_code(&code("123456")).await.expect("the right code");
    let grant = ask(&base, &role).await.expect("a grant");
    assert!(grant.assumed_role_arn.contains("assumed-role/service-a/"), "{grant:?}");
    assert!(!grant.capped, "a user's session is no role");
    assert_eq!(sandbox.calls().answered("GetSessionToken", "ok"), 1);
    ask(&base, &chained()).await.expect("through the jump role too");
}

#[tokio::test]
async fn the_end_of_the_session_asks_for_another_code() {
    let (_sandbox, base) = sandbox(with_mfa(Duration::from_secs(2)));
    let role = Role { external_id: Some("ext-1".into()), ..role() };
    base.give_code(&code("123456")).await.expect("the right code");
    let runtime = tokio::runtime::Handle::current();
    let expired = tokio::task::spawn_blocking(move || {
        let mut last = None;
        wait_until("the session's end", || {
            last = runtime.block_on(ask(&base, &role)).err().filter(Refusal::wants_code);
            last.is_some()
        });
        last
    });
    let refusal = expired.await.expect("no panic").expect("a refusal");
    assert_eq!((refusal.code.as_str(), refusal.lasting), ("MfaExpired", true));
}

#[tokio::test]
async fn what_a_person_has_shown_survives_a_new_base_only_for_the_same_keys() {
    let session = Answer::new(
        200,
        "<GetSessionTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetSessionTokenResult><Credentials>\
         <AccessKeyId>ASIAMFA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>2026-11-22T23:00:00Z</Expiration></Credentials></GetSessionTokenResult></GetSessionTokenResponse>",
    );
    let script = Script::new(vec![session.header("date", "Sun, 22 Nov 2026 12:00:00 GMT"), Answer::granted()]);
    let with_serial = |mut spec: BaseSpec| {
        spec.aws.mfa_serial = Some(SERIAL.into());
        Base::with_patience(spec, patience())
    };
    let first = with_serial(spec(&script));
    first.give_code(&code("123456")).await.expect("a session");
    assert!(script.asked()[0].contains("SerialNumber=arn") && script.asked()[0].contains("TokenCode=123456"));
    let second = with_serial(spec(&script));
    second.keep_mfa_of(&first);
    ask(&second, &role()).await.expect("a grant");
    assert!(script.asked()[1].contains("Credential=ASIAMFA/"), "{:?}", script.asked());
    let mut other = spec(&script);
    other.env.insert(0, ("AWS_ACCESS_KEY_ID".into(), "AKIAOTHER".into()));
    let third = with_serial(other);
    third.keep_mfa_of(&first);
    assert_eq!(ask(&third, &role()).await.expect_err("another user's keys").code, "MfaRequired");
}

#[tokio::test]
async fn a_code_for_a_base_that_is_a_role_is_refused_with_the_mend() {
    let config = Config { mfa_serial: Some(SERIAL.into()), ..config() };
    let (_sandbox, base) = sandbox(config);
    let refusal = base.give_code(&code("123456")).await.expect_err("a role's session");
    assert!(refusal.message.contains("itself a session") && refusal.hint.expect("a hint").contains("mfa_serial"));
}
