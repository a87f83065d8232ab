//! The story on the sandbox, which verifies every signature: three roles, three buckets, and who may list what.

use std::time::Duration;

use devsup::aws::{Base, BaseSpec, ChildSpec, Credentials, SandboxBase, Who, child_environment, whoami};
use devsup::manifest::{Aws, Role, Service};
use devsup::sandbox::{Config, Faults, Handle};

use super::answers::{arn, patience, role, service};

const ACCOUNT: &str = "123456789012";

fn role_arn(letter: char) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/service-{letter}")
}

fn sandbox(strict: bool) -> Handle {
    let buckets =
        ['a', 'b', 'c'].iter().zip(1..).map(|(letter, n)| (format!("bucket{n}"), vec![format!("service-{letter}")]));
    let roles = ['a', 'b', 'c'].map(role_arn).to_vec();
    let config =
        Config { roles, buckets: buckets.collect(), lease: Duration::from_mins(1), strict, ..Config::default() };
    Handle::start(config).expect("a port on loopback")
}

fn sandbox_base(handle: &Handle) -> SandboxBase {
    let ready = handle.ready();
    SandboxBase {
        url: ready.url,
        region: ready.region,
        access_key_id: ready.access_key_id,
        secret_access_key: ready.secret_access_key.into(),
        session_token: ready.session_token.map(Into::into),
    }
}

fn base(handle: &Handle) -> Base {
    let spec = BaseSpec { aws: Aws::default(), env: Vec::new(), sandbox: Some(sandbox_base(handle)) };
    Base::with_patience(spec, patience())
}

fn who() -> Who {
    Who { user: "ann".into(), host: "dev-1".into(), project: "shop".into() }
}

/// What `devsup whoami --try` says inside a run of this service.
async fn said(service: &Service, lease: Option<&Credentials>, base: &SandboxBase) -> String {
    let child = child_environment(&ChildSpec {
        service,
        run: 1,
        mark: format!("shop/{}#1", service.name),
        inherited: &[("AWS_PROFILE".into(), "stray".into()), ("AWS_CONFIG_FILE".into(), "/dev/null".into())],
        login: None,
        env_files: Vec::new(),
        ports: &[],
        handed: lease.map(devsup::aws::Handed::Env),
        region: Some(&base.region),
        sandbox_url: Some(&base.url),
        base_sandbox: Some(base),
        base_profile: None,
        devsup: std::path::Path::new("/opt/devsup"),
    });
    let env: Vec<_> = child.variables.into_iter().map(|variable| (variable.name, variable.value)).collect();
    let buckets = ["s3://bucket1", "s3://bucket2", "s3://bucket3"].map(str::to_owned);
    whoami(&env, &buckets).await.to_string()
}

#[tokio::test]
async fn each_service_lists_its_own_bucket_and_the_base_none() {
    let handle = sandbox(false);
    let (base, identity) = (base(&handle), sandbox_base(&handle));
    for (letter, expected) in [
        ('a', "service-a · bucket1 ok · bucket2 AccessDenied · bucket3 AccessDenied"),
        ('b', "service-b · bucket1 AccessDenied · bucket2 ok · bucket3 AccessDenied"),
        ('c', "service-c · bucket1 AccessDenied · bucket2 AccessDenied · bucket3 ok"),
    ] {
        let role = Role { arn: arn(&role_arn(letter)), ..role() };
        let grant = base.assume(&service(), &role, &who()).await.expect("a grant");
        assert!(grant.left > Duration::from_secs(30) && grant.left <= Duration::from_mins(1), "{:?}", grant.left);
        assert!(grant.skew_ms.abs() < 30_000, "one clock: {}", grant.skew_ms);
        assert_eq!(said(&service(), Some(&grant.credentials), &identity).await, expected);
        assert_eq!(base.identity_of(&grant.credentials).await.expect("an identity"), grant.assumed_role_arn);
    }
    let on_purpose = Service { role: None, inherit_aws: true, ..service() };
    let denied = "dev · bucket1 AccessDenied · bucket2 AccessDenied · bucket3 AccessDenied";
    assert_eq!(said(&on_purpose, None, &identity).await, denied);
    let nobody = said(&Service { inherit_aws: false, ..on_purpose }, None, &identity).await;
    assert!(nobody.starts_with("no credentials ("), "{nobody}");
}

#[tokio::test]
async fn what_the_sandbox_refuses_is_refused_with_its_reason() {
    let handle = sandbox(true);
    let base = base(&handle);
    let own = Role { arn: arn(&role_arn('a')), ..role() };
    let long = Role { duration: Duration::from_hours(2), ..own.clone() };
    let refusal =
        base.assume(&service(), &Role { arn: arn(&role_arn('z')), ..role() }, &who()).await.expect_err("no such role");
    assert_eq!((refusal.code.as_str(), refusal.lasting), ("AccessDenied", true));
    assert!(refusal.caller.is_some() && refusal.hint.is_some(), "{refusal:?}");
    assert!(base.assume(&service(), &long, &who()).await.expect("a grant").capped, "the base is a role");
    handle.set_faults(Faults { fail_5xx: 100, ..Faults::default() });
    let refusal = base.assume(&service(), &own, &who()).await.expect_err("STS is down");
    assert!(!refusal.lasting, "{refusal:?}");
    handle.set_faults(Faults::default());
    base.assume(&service(), &own, &who()).await.expect("it recovers");
}
