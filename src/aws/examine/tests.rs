use super::super::route::Route;
use super::super::session::Who;
use super::*;
use crate::aws::sample;
use crate::manifest::Role;

const DEV: &str = "arn:aws:iam::222233334444:role/dev";

fn step(change: impl FnOnce(&mut Role)) -> Step {
    let mut role = sample::role();
    change(&mut role);
    let who = Who { user: "ann".into(), host: "h".into(), project: "p".into() };
    Route::new(&role, &"a".into(), &who).last
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#)
}

fn allow(principal: &str, condition: &str) -> String {
    let condition = if condition.is_empty() { String::new() } else { format!(r#","Condition":{condition}"#) };
    policy(&format!(r#"[{{"Effect":"Allow","Principal":{{"AWS":{principal}}},"Action":"sts:AssumeRole"{condition}}}]"#))
}

fn verdict(trust: &str, step: &Step) -> Verdict {
    trust::read(trust, &Case { step, principal: DEV.into(), mfa: false })
}

#[test]
fn a_trust_policy_is_read_for_one_caller() {
    let plain = step(|_| {});
    let dev = format!("\"{DEV}\"");
    for (trust, due) in [
        (allow(&dev, ""), Verdict::Direct),
        (allow(&format!("[\"arn:aws:iam::9:root\",{dev}]"), ""), Verdict::Direct),
        (allow("\"arn:aws:iam::222233334444:root\"", ""), Verdict::Account),
        (allow("\"222233334444\"", ""), Verdict::Account),
        (allow("\"*\"", ""), Verdict::Account),
        (policy(r#"{"Effect":"Allow","Principal":"*","Action":["sts:*"]}"#), Verdict::Account),
        (allow("\"arn:aws:iam::222233334444:role/other\"", ""), Verdict::Nobody(vec![])),
        (allow("\"AROAEXAMPLEEXAMPLE123\"", ""), Verdict::Nobody(vec!["AROAEXAMPLEEXAMPLE123".into()])),
        (
            policy(r#"[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]"#),
            Verdict::Nobody(vec![]),
        ),
        (
            policy(&format!(r#"[{{"Effect":"Allow","Principal":{{"AWS":{dev}}},"Action":"sts:TagSession"}}]"#)),
            Verdict::Nobody(vec![]),
        ),
        (
            policy(&format!(
                r#"[{{"Effect":"Allow","Principal":{{"AWS":{dev}}},"Action":"sts:AssumeRole"}},{{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}}]"#
            )),
            Verdict::Denied,
        ),
        ("no JSON".into(), Verdict::Unreadable),
    ] {
        assert_eq!(verdict(&trust, &plain), due, "{trust}");
    }
}

#[test]
fn a_condition_that_does_not_hold_is_named_with_its_mend() {
    let dev = format!("\"{DEV}\"");
    let scoped = step(|role| {
        role.external_id = Some("x1".into());
        role.tags = [("Team".to_owned(), "shop".to_owned())].into();
        role.source_identity = Some("ann".into());
    });
    let plain = step(|_| {});
    for (condition, of_plain, of_scoped) in [
        (r#"{"StringEquals":{"sts:ExternalId":"x1"}}"#, Some("set `external_id`"), None),
        (r#"{"StringEquals":{"sts:ExternalId":["x2","x3"]}}"#, Some("`x2`, `x3`"), Some("(it is `x1`)")),
        (r#"{"StringLike":{"sts:RoleSessionName":"devsup-*"}}"#, None, None),
        (r#"{"StringLike":{"sts:RoleSessionName":"ci-?"}}"#, Some("it comes to `devsup-ann-a`"), Some("session_name")),
        (r#"{"StringLike":{"sts:RoleSessionName":"${aws:username}"}}"#, None, None),
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#, Some("mfa_serial"), Some("mfa_serial")),
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":true}}"#, Some("mfa_serial"), Some("mfa_serial")),
        (r#"{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#, Some("203.0.113.0/24"), Some("aws:SourceIp")),
        (r#"{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#, Some("organisation `o-1`"), Some("o-1")),
        (r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::222233334444:role/d?v"}}"#, None, None),
        (r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::1:role/*"}}"#, Some(DEV), Some(DEV)),
        (r#"{"StringEquals":{"aws:RequestTag/team":"shop"}}"#, Some("set the tag"), None),
        (r#"{"StringLike":{"sts:SourceIdentity":"*"}}"#, Some("set `source_identity`"), None),
        (r#"{"StringNotLike":{"sts:RoleSessionName":"ci"}}"#, Some("StringNotLike): compare it"), Some("compare it")),
        (r#"{"StringEquals":{"aws:Odd":"1"}}"#, Some("condition on aws:Odd"), Some("compare it")),
    ] {
        for (step, due) in [(&plain, of_plain), (&scoped, of_scoped)] {
            match (verdict(&allow(&dev, condition), step), due) {
                (Verdict::Direct, None) => {}
                (Verdict::Unless(whys), Some(due)) => assert!(whys.concat().contains(due), "{condition}: {whys:?}"),
                (other, due) => panic!("{condition}: {other:?}, and due was {due:?}"),
            }
        }
    }
}

#[test]
fn a_statement_that_holds_outweighs_one_that_does_not() {
    let dev = format!("\"{DEV}\"");
    let two = policy(&format!(
        r#"[{{"Effect":"Allow","Principal":{{"AWS":{dev}}},"Action":"sts:AssumeRole","Condition":{{"StringEquals":{{"sts:ExternalId":"x"}}}}}},
            {{"Effect":"Allow","Principal":{{"AWS":"222233334444"}},"Action":"sts:AssumeRole"}}]"#
    ));
    assert_eq!(verdict(&two, &step(|_| {})), Verdict::Account);
}

fn seen(trust: &str) -> Said<RoleSeen> {
    Said::So(RoleSeen { arn: sample::role().arn.to_string(), trust: trust.into(), age_ms: Some(9_000_000) })
}

#[test]
fn what_iam_said_becomes_a_side_and_sentences() {
    let (named, account) = (allow(&format!("\"{DEV}\""), ""), allow("\"222233334444\"", ""));
    let nobody = allow("\"arn:aws:iam::9:root\"", "");
    let refused = || Said::Refused("AccessDenied".to_owned());
    let cases = vec![
        (
            Said::Refused("NoSuchEntity".into()),
            Said::Nothing,
            Some("target"),
            "there is no role `service-a` in account 222233334444",
        ),
        (seen(&nobody), Said::Nothing, Some("target"), "names neither this caller nor its account"),
        (seen(&nobody), Said::So(Decision::Allowed), Some("target"), "names neither"),
        (seen(&account), Said::So(Decision::NotAllowed), Some("caller"), "no policy of"),
        (seen(&account), Said::So(Decision::Denied), Some("caller"), "denies it"),
        (seen(&account), Said::So(Decision::Allowed), None, "two minutes"),
        (seen(&named), Said::So(Decision::NotAllowed), None, "two minutes"),
        (seen(&named), refused_decision(), Some("caller"), "lets `arn:aws:iam::222233334444:role/dev` in"),
        (refused(), Said::So(Decision::Allowed), Some("target"), "allow it (simulated)"),
        (refused(), Said::So(Decision::NotAllowed), Some("caller"), "no policy of"),
        (refused(), refused_decision(), None, ""),
        (Said::Nothing, Said::Nothing, None, ""),
    ];
    let plain = step(|_| {});
    let case = Case { step: &plain, principal: DEV.into(), mfa: false };
    for (role, may, side, word) in cases {
        let found = conclude(&case, true, &role, &may);
        assert_eq!(found.side, side, "{role:?} {may:?}: {found:?}");
        assert!(found.sentences.join(" ").contains(word), "{role:?} {may:?}: {found:?}");
        assert_eq!(found.sentences.is_empty(), word.is_empty(), "{found:?}");
    }
}

fn refused_decision() -> Said<Decision> {
    Said::Refused("AccessDenied".to_owned())
}

#[test]
fn another_case_or_path_and_a_new_role_are_told() {
    let plain = step(|_| {});
    let case = Case { step: &plain, principal: DEV.into(), mfa: false };
    let account = allow("\"222233334444\"", "");
    let of = |arn: &str, age| {
        let role = RoleSeen { arn: arn.into(), trust: account.clone(), age_ms: Some(age) };
        conclude(&case, true, &Said::So(role), &Said::Nothing)
    };
    let case_differs = of("arn:aws:iam::222233334444:role/team/Service-A", 9_000_000);
    assert!(case_differs.complete && case_differs.sentences[0].contains("upper and lower case"), "{case_differs:?}");
    let path = of("arn:aws:iam::222233334444:role/service-a", 9_000_000);
    assert!(path.complete && path.sentences[0].contains("path"), "{path:?}");
    let new = of("arn:aws:iam::222233334444:role/team/service-a", 30_000);
    assert!(new.sentences[0].contains("less than two minutes ago"), "{new:?}");
}
