//! Where the base identity comes from, and that it is who the manifest says.

use std::fs;

use devsup::aws::{Base, BaseSpec, Who};
use devsup::manifest::Aws;

use super::answers::{Answer, KEYS, Script, arn, env, patience, role, service, spec};

const DEV: &str = "arn:aws:sts::111122223333:assumed-role/dev/i-0abc";

/// An owner whose home holds these two files.
fn home(config: &str, credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(".aws")).expect("a folder");
    fs::write(home.path().join(".aws/config"), config).expect("a file");
    fs::write(home.path().join(".aws/credentials"), credentials).expect("a file");
    home
}

/// The base of that owner, with `[aws] profile`.
fn base_at(home: &tempfile::TempDir, script: &Script, profile: Option<&str>, more: &[(&str, &str)]) -> Base {
    let path = home.path().to_str().expect("text");
    let mut env: Vec<_> = more.iter().map(|(name, value)| (name.into(), value.into())).collect();
    env.extend([("HOME".into(), path.into()), ("AWS_EC2_METADATA_DISABLED".into(), "true".into())]);
    let aws = Aws {
        profile: profile.map(str::to_owned),
        region: Some("eu-west-1".into()),
        sts_endpoint: Some(script.url.clone()),
        ..Aws::default()
    };
    Base::with_patience(BaseSpec { aws, env, sandbox: None }, patience())
}

#[tokio::test]
async fn keys_in_variables_are_the_environment() {
    let script = Script::new(vec![Answer::identity(DEV)]);
    let who = Base::with_patience(spec(&script), patience()).identity().await.expect("an identity");
    assert_eq!((who.arn.as_str(), who.account.as_str(), who.source.as_str()), (DEV, "111122223333", "environment"));
    assert!(script.asked()[0].contains("Credential=AKIABASE/"));
}

#[tokio::test]
async fn a_profile_of_static_keys_is_found_in_the_owners_home_and_beats_stray_keys() {
    let owner = home("[profile dev]\n", "[dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = s\n");
    let script = Script::new(vec![Answer::identity(DEV)]);
    let who = base_at(&owner, &script, Some("dev"), &KEYS).identity().await.expect("an identity");
    assert_eq!(who.source, "profile dev");
    assert!(script.asked()[0].contains("Credential=AKIADEV/"), "{:?}", script.asked());
    let script = Script::new(vec![Answer::identity(DEV)]);
    let who = base_at(&owner, &script, None, &[("AWS_PROFILE", "dev")]).identity().await.expect("an identity");
    assert_eq!(who.source, "profile dev");
}

#[tokio::test]
async fn a_profile_with_a_source_profile_assumes_its_role() {
    let config = "[profile dev]\nrole_arn = arn:aws:iam::111122223333:role/dev\nsource_profile = keys\n";
    let owner = home(config, "[keys]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = s\n");
    let script = Script::new(vec![
        Answer::role("arn:aws:sts::111122223333:assumed-role/dev/x", "2099-11-22T13:00:00Z"),
        Answer::identity(DEV),
    ]);
    let more = [("AWS_ENDPOINT_URL_STS", script.url.as_str())];
    let who = base_at(&owner, &script, Some("dev"), &more).identity().await.expect("an identity");
    assert_eq!(who.source, "profile dev");
    let asked = script.asked();
    assert!(asked[0].contains("Credential=AKIASOURCE/") && asked[1].contains("Credential=ASIALEASE/"), "{asked:?}");
}

/// The SDK's chain asks nobody for a code: devsup says so, and how it would.
#[tokio::test]
async fn a_profile_that_wants_a_code_says_how_devsup_asks_for_it() {
    let config = "[profile dev]\nrole_arn = arn:aws:iam::111122223333:role/dev\nsource_profile = keys\n\
                  mfa_serial = arn:aws:iam::111122223333:mfa/ann\n";
    let owner = home(config, "[keys]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = s\n");
    let script =
        Script::new(vec![Answer::error(403, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole")]);
    let more = [("AWS_ENDPOINT_URL_STS", script.url.as_str())];
    let refusal = base_at(&owner, &script, Some("dev"), &more).identity().await.expect_err("no code");
    assert_eq!(refusal.code, "NoBaseCredentials");
    assert!(refusal.message.contains("with an MFA code of `arn:aws:iam::111122223333:mfa/ann`"), "{refusal:?}");
    let hint = refusal.hint.expect("a hint");
    for word in [
        "profile = \"keys\"",
        "mfa_serial = \"arn:aws:iam::111122223333:mfa/ann\"",
        "via = [\"arn:aws:iam::111122223333:role/dev\"]",
    ] {
        assert!(hint.contains(word), "{hint}");
    }
}

#[tokio::test]
async fn a_credential_process_is_run() {
    let owner = home("", "");
    let answer = r#"{"Version":1,"AccessKeyId":"ASIAPROCESS","SecretAccessKey":"s","SessionToken":"t"}"#;
    let file = owner.path().join("answer.json");
    fs::write(&file, answer).expect("a file");
    let config = format!("[profile dev]\ncredential_process = cat \"{}\"\n", file.display());
    let elsewhere = owner.path().join("config");
    fs::write(&elsewhere, config).expect("a file");
    let script = Script::new(vec![Answer::identity(DEV)]);
    let more = [("AWS_CONFIG_FILE", elsewhere.to_str().expect("text"))];
    let who = base_at(&owner, &script, Some("dev"), &more).identity().await.expect("an identity");
    assert_eq!(who.source, "profile dev (credential_process)");
    assert!(script.asked()[0].contains("Credential=ASIAPROCESS/"));
}

#[tokio::test]
async fn base_credentials_about_to_end_are_loaded_before_they_are_used() {
    let now = i64::try_from(devsup::sys::clock::realtime().as_secs()).expect("a time");
    for (life, loadings) in [(30, 2), (3600, 1)] {
        let owner = home("", "");
        let expires = jiff::Timestamp::from_second(now + life).expect("a time");
        let answer = format!(
            r#"{{"Version":1,"AccessKeyId":"ASIAPROCESS","SecretAccessKey":"s","SessionToken":"t","Expiration":"{expires}"}}"#
        );
        let (file, count) = (owner.path().join("answer.json"), owner.path().join("count"));
        fs::write(&file, answer).expect("a file");
        let command = format!("echo x >> '{}'; cat '{}'", count.display(), file.display());
        fs::write(owner.path().join(".aws/config"), format!("[profile dev]\ncredential_process = {command}\n"))
            .expect("a file");
        let script = Script::new(vec![Answer::granted()]);
        let base = base_at(&owner, &script, Some("dev"), &[]);
        let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
        for _ in 0..2 {
            base.assume(&service(), &role(), &who).await.expect("a grant");
        }
        assert_eq!(fs::read_to_string(count).expect("it ran").lines().count(), loadings, "{life} s left");
    }
}

#[tokio::test]
async fn the_identity_of_a_lease_is_asked_with_the_lease() {
    let script =
        Script::new(vec![Answer::granted(), Answer::identity("arn:aws:sts::222233334444:assumed-role/service-a/x")]);
    let base = Base::with_patience(spec(&script), patience());
    let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    let grant = base.assume(&service(), &role(), &who).await.expect("a grant");
    let is = base.identity_of(&grant.credentials).await.expect("an identity");
    assert_eq!(is, "arn:aws:sts::222233334444:assumed-role/service-a/x");
    assert!(script.asked()[1].contains("Credential=ASIALEASE/") && script.asked()[1].contains("lease-token"));
}

#[tokio::test]
async fn a_web_identity_is_exchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "the-jwt").expect("a file");
    let body = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-11-22T13:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    let script = Script::new(vec![Answer::new(200, body), Answer::identity(DEV)]);
    let aws = Aws { sts_endpoint: Some(script.url.clone()), ..Aws::default() };
    let env = env(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().expect("text")),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/dev"),
        ("AWS_ENDPOINT_URL_STS", &script.url),
    ]);
    let base = Base::with_patience(BaseSpec { aws, env, sandbox: None }, patience());
    assert_eq!(base.identity().await.expect("an identity").source, "web identity");
    let asked = script.asked();
    assert!(asked[0].contains("WebIdentityToken=the-jwt") && asked[1].contains("Credential=ASIAWEB/"), "{asked:?}");
}

#[tokio::test]
async fn instance_metadata_and_containers_follow_the_handed_over_environment() {
    let keys = r#"{"Code":"Success","AccessKeyId":"ASIAHTTP","SecretAccessKey":"s","Token":"t","Expiration":"2099-11-22T13:00:00Z"}"#;
    let token = Answer::new(200, "tok").header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    let imds = Script::new(vec![token, Answer::new(200, "dev"), Answer::new(200, keys)]);
    let container = Script::new(vec![Answer::new(200, keys)]);
    let sts = Script::new(vec![Answer::identity(DEV)]);
    for (name, url, source) in [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url, "instance metadata"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container.url, "container"),
    ] {
        // A proxy that would be handed the keys is not used for plain http.
        let more = [(name, url.as_str()), ("AWS_EC2_METADATA_DISABLED", "false"), ("HTTP_PROXY", "http://127.0.0.1:1")];
        let aws = Aws { sts_endpoint: Some(sts.url.clone()), ..Aws::default() };
        let base = Base::with_patience(BaseSpec { aws, env: env(&more), sandbox: None }, patience());
        assert_eq!(base.identity().await.expect("an identity").source, source);
    }
    assert_eq!(sts.count("Credential=ASIAHTTP/"), 2);
}

#[tokio::test]
async fn no_credentials_and_a_missing_profile_are_said() {
    let script = Script::new(vec![Answer::granted()]);
    let empty = home("[profile other]\nregion = eu-west-1\n", "");
    let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    for (profile, word) in [(None, "instance metadata"), (Some("dev"), "`dev`"), (Some("other"), "`other`")] {
        let base = base_at(&empty, &script, profile, &KEYS[..if profile.is_some() { 2 } else { 0 }]);
        let refusal = base.assume(&service(), &role(), &who).await.expect_err("no base");
        assert_eq!((refusal.code.as_str(), refusal.lasting), ("NoBaseCredentials", true));
        assert!(refusal.message.contains(word), "{refusal:?}");
    }
    assert!(script.asked().is_empty(), "nobody asked STS without credentials");
}

#[tokio::test]
async fn base_role_is_checked_before_anything_is_asked() {
    let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    let with = |script: &Script, must: &str| {
        let spec = spec(script);
        let aws = Aws { base_role: Some(arn(must)), ..spec.aws };
        Base::with_patience(BaseSpec { aws, ..spec }, patience())
    };
    let script = Script::new(vec![Answer::identity(DEV), Answer::granted()]);
    let base = with(&script, "arn:aws:iam::111122223333:role/team/dev");
    base.assume(&service(), &role(), &who).await.expect("a grant");
    base.assume(&service(), &role(), &who).await.expect("a grant");
    assert_eq!(
        (script.count("GetCallerIdentity"), script.count("Action=AssumeRole")),
        (1, 2),
        "checked once a loading"
    );
    for is in [DEV, "arn:aws:iam::111122223333:user/ann"] {
        let script = Script::new(vec![Answer::identity(is)]);
        let base = with(&script, "arn:aws:iam::111122223333:role/Dev");
        let refusal = base.assume(&service(), &role(), &who).await.expect_err("somebody else");
        assert_eq!((refusal.code.as_str(), refusal.lasting), ("BaseRoleMismatch", true));
        assert!(refusal.message.contains(is) && refusal.message.contains("role/Dev"), "{refusal:?}");
        assert_eq!(script.count("Action=AssumeRole"), 0);
    }
}

#[tokio::test]
async fn region_and_overrides_are_the_manifests_then_the_environments() {
    let script = Script::new(vec![Answer::granted()]);
    let base = Base::new(spec(&script));
    assert_eq!(base.region().await.as_deref(), Some("eu-west-1"));
    assert_eq!(base.overrides(), [format!("[aws] sts_endpoint = {}", script.url)]);
    let owner = home("[profile dev]\nregion = ap-south-1\n", "[dev]\naws_access_key_id=A\naws_secret_access_key=s\n");
    let env = vec![
        ("HOME".into(), owner.path().into()),
        ("AWS_ENDPOINT_URL".into(), "http://u:p@x:1".into()),
        ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
    ];
    let aws = Aws { profile: Some("dev".into()), ..Aws::default() };
    let base = Base::new(BaseSpec { aws, env, sandbox: None });
    assert_eq!(base.region().await.as_deref(), Some("ap-south-1"), "the profile's own");
    assert_eq!(base.overrides(), ["AWS_ENDPOINT_URL = http://x:1"]);
    assert!(script.asked().is_empty());
}
