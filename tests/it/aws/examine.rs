//! AccessDenied that does not say which side: what is looked up in IAM, how long that may take, and how often.

use std::time::Duration;

use devsup::aws::{Base, Who};
use devsup::supervisor::Refusal;
use devsup::sys::clock;

use super::answers::{Answer, Script, env, patience, role, service, spec};

const CALLER: &str = "arn:aws:sts::222233334444:assumed-role/dev/i-0abc";

/// STS that denies without a word why, for ever.
fn sts() -> Script {
    let message = format!("User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: x");
    Script::new(vec![Answer::error(403, "AccessDenied", &message)])
}

fn base(sts: &Script, iam: &Script) -> Base {
    let mut spec = spec(sts);
    let keys =
        [("AWS_ENDPOINT_URL_IAM", iam.url.as_str()), ("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "s")];
    spec.env = env(&keys);
    Base::with_patience(spec, patience())
}

async fn ask(base: &Base) -> Refusal {
    let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    base.assume(&service(), &role(), &who).await.expect_err("denied")
}

/// GetRole's answer: the role of the manifest, with this trust policy.
fn trust(policy: &str) -> Answer {
    let encoded = percent_encoding::utf8_percent_encode(policy, percent_encoding::NON_ALPHANUMERIC);
    Answer::new(
        200,
        &format!(
            "<GetRoleResponse><GetRoleResult><Role><Path>/team/</Path><Arn>arn:aws:iam::222233334444:role/team/service-a</Arn>\
             <RoleName>service-a</RoleName><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
             <AssumeRolePolicyDocument>{encoded}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
        ),
    )
}

fn allows(principal: &str) -> String {
    format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"sts:AssumeRole"}}]}}"#)
}

#[tokio::test]
async fn a_trust_that_names_a_deleted_principal_is_said_and_looked_up_once() {
    let (sts, iam) = (sts(), Script::new(vec![trust(&allows("AROADELETEDROLE123456"))]));
    let base = base(&sts, &iam);
    let refusal = ask(&base).await;
    assert_eq!((refusal.side.as_deref(), refusal.lasting), (Some("target"), true));
    assert!(refusal.message.contains("`AROADELETEDROLE123456`, a principal that was deleted"), "{refusal:?}");
    let hint = refusal.hint.expect("a hint");
    assert!(
        hint.contains("apply the trust") && hint.contains("DevsupTrust") && !hint.contains("DevsupAssume"),
        "{hint}"
    );
    ask(&base).await;
    assert_eq!((iam.count("Action=GetRole"), iam.count("Action=SimulatePrincipalPolicy")), (1, 1), "{:?}", iam.asked());
    let asked = iam.asked().join("\n");
    assert!(asked.contains("RoleName=service-a") && asked.contains("/us-east-1/iam/aws4_request"), "{asked}");
    assert!(asked.contains("PolicySourceArn=arn%3Aaws%3Aiam%3A%3A222233334444%3Arole%2Fdev"), "{asked}");
}

#[tokio::test]
async fn who_may_look_at_nothing_gets_both_statements() {
    let (sts, iam) =
        (sts(), Script::new(vec![Answer::error(403, "AccessDenied", "not authorized to perform: iam:GetRole")]));
    let refusal = ask(&base(&sts, &iam)).await;
    assert_eq!(refusal.side, None);
    let hint = refusal.hint.expect("a hint");
    assert!(hint.contains("DevsupTrust") && hint.contains("DevsupAssume") && hint.contains("one account"), "{hint}");
}

#[tokio::test]
async fn an_iam_that_is_silent_is_not_waited_for() {
    let (sts, iam) = (sts(), Script::new(vec![Answer::silent(Duration::from_mins(1))]));
    let started = clock::monotonic();
    let refusal = ask(&base(&sts, &iam)).await;
    assert_eq!(refusal.code, "AccessDenied");
    assert!(clock::monotonic().saturating_sub(started) < Duration::from_secs(30), "2 s, not the server's 60");
}

/// A stand-in for STS alone has no IAM, and AWS's own is not asked with its keys.
#[tokio::test]
async fn iam_is_left_alone_where_sts_is_a_stand_in() {
    let sts = sts();
    let base = Base::with_patience(spec(&sts), patience());
    let hint = ask(&base).await.hint.expect("a hint");
    assert!(hint.contains("DevsupTrust") && hint.contains("DevsupAssume"), "{hint}");
    assert_eq!(sts.asked().len(), 1);
}
