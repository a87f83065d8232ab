//! Every word of the output for one manifest with everything in it, and what must be so for any.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::manifest::{Source, Trust, load};

const DEV: &str = "arn:aws:iam::111122223333:role/team/dev";

/// A manifest as a person writes it.
fn manifest(aws: &str, roles: &[(&str, &str)]) -> Manifest {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = format!("name = \"shop\"\n[aws]\n{aws}\n");
    for (service, role) in roles {
        write!(text, "[services.{service}]\ncommand = [\"true\"]\nrole = \"{role}\"\n").expect("written");
    }
    std::fs::write(folder.path().join("services.toml"), text).expect("a file");
    let source = Source {
        file: None,
        cwd: folder.path().to_owned(),
        env: &|_| None,
        trust: Trust::Insecure,
        group_is_shared: &|_| false,
    };
    load(&source).expect("a manifest").manifest
}

fn with(manifest: &mut Manifest, service: &str, change: impl FnOnce(&mut Role)) {
    let service = manifest.services.get_mut(service).expect("a service");
    change(Arc::make_mut(service).role.as_mut().expect("a role"));
}

fn needs(manifest: &Manifest, style: Style) -> Needs {
    let all: Vec<Name> = manifest.services.keys().cloned().collect();
    Needs::of(manifest, &all, style)
}

fn role(name: &str) -> RoleArn {
    RoleArn::checked(&format!("arn:aws:iam::111122223333:role/{name}"))
}

/// `a` is plain, `b` asks with everything, `c` goes through two others, `d` shares its role with `a`.
fn everything(aws: &str) -> Manifest {
    let arn = |name: &str| role(name).to_string();
    let (a, b, c) = (arn("service-a"), arn("path/service-b"), "arn:aws:iam::444455556666:role/service-c");
    let mut manifest = manifest(aws, &[("a", &a), ("b", &b), ("c", c), ("d", &a)]);
    with(&mut manifest, "b", |role| {
        role.external_id = Some("x-1".into());
        role.session_name = "shop-{service}-{user}".into();
        role.source_identity = Some("{user}".into());
        role.tags = BTreeMap::from([("team".into(), "blue".into())]);
    });
    with(&mut manifest, "c", |chained| chained.via = vec![role("door"), role("hall.way")]);
    manifest
}

fn shown(needs: &Needs) -> String {
    let mut text = String::new();
    for policy in &needs.policies {
        write!(text, "{}\n{}\n", policy.caller.arn(), serde_json::to_string_pretty(&policy.document).expect("JSON"))
            .expect("written");
    }
    for trusting in &needs.trusts {
        write!(text, "\n{} {:?}\n", trusting.role, trusting.services).expect("written");
        for statement in &trusting.statements {
            writeln!(text, "{statement}").expect("written");
        }
    }
    text
}

#[test]
fn everything_that_a_manifest_may_ask_for() {
    let manifest = everything(&format!("base_role = \"{DEV}\""));
    insta::assert_snapshot!(shown(&needs(&manifest, Style::Condition)));
    insta::assert_snapshot!("terraform", terraform::print(&needs(&manifest, Style::Condition)));
}

#[test]
fn an_unknown_base_is_a_placeholder_or_a_variable() {
    let manifest = everything("");
    let text = shown(&needs(&manifest, Style::Condition));
    assert!(text.contains(UNKNOWN_CALLER) && text.contains(UNKNOWN_ROOT) && !text.contains("var."), "{text}");
    let hcl = terraform::print(&needs(&manifest, Style::Condition));
    assert!(!hcl.contains("REPLACE"), "{hcl}");
    insta::assert_snapshot!("terraform_of_an_unknown_base", hcl);
}

#[test]
fn who_is_trusted_on_the_way_is_the_one_before() {
    let needs = needs(&everything(&format!("base_role = \"{DEV}\"")), Style::Arn);
    let of = |name: &str| needs.trusts.iter().find(|trusting| trusting.role.role_name() == name).expect("a role");
    let principals = |name: &str| -> Vec<String> {
        of(name).statements.iter().filter_map(|one| Some(one.principal.as_ref()?.aws.clone())).collect()
    };
    assert_eq!(principals("door"), [DEV]);
    assert_eq!(principals("hall.way"), [role("door").to_string()]);
    assert_eq!(principals("service-c"), [role("hall.way").to_string()]);
    let base = &needs.policies[0];
    let may: Vec<&String> = base.document.statement.iter().flat_map(|one| &one.resource).collect();
    assert!(may.contains(&&role("door").to_string()) && !may.iter().any(|arn| arn.contains("hall.way")), "{may:?}");
}

#[test]
fn a_role_may_be_reached_by_two_ways() {
    let a = role("service-a").to_string();
    let mut manifest = manifest(&format!("base_role = \"{DEV}\""), &[("a", &a), ("b", &a)]);
    with(&mut manifest, "b", |chained| chained.via = vec![role("door")]);
    let needs = needs(&manifest, Style::Condition);
    let both = needs.trusts.iter().find(|trusting| trusting.role == role("service-a")).expect("it");
    let sids: Vec<&str> = both.statements.iter().map(|one| one.sid.as_str()).collect();
    assert_eq!(sids, ["DevsupTrust", "DevsupTrust2"], "once in a policy");
    assert_eq!(both.callers.iter().map(Caller::arn).collect::<Vec<_>>(), [DEV, role("door").as_str()]);
}

#[test]
fn nothing_is_required_that_one_of_them_does_not_send() {
    let a = role("service-a").to_string();
    let mut manifest = manifest(&format!("base_role = \"{DEV}\""), &[("a", &a), ("b", &a)]);
    let required = |manifest: &Manifest| needs(manifest, Style::Root).trusts[0].statements[0].to_string();
    with(&mut manifest, "a", |role| role.external_id = Some("x-1".into()));
    assert!(!required(&manifest).contains("ExternalId"));
    with(&mut manifest, "b", |role| role.external_id = Some("x-2".into()));
    assert!(required(&manifest).contains(r#""StringEquals":{"sts:ExternalId":["x-1","x-2"]}"#));
}

#[test]
fn transitive_tags_and_a_source_identity_go_through_every_hop() {
    let a = role("service-a").to_string();
    let mut manifest = manifest(&format!("base_role = \"{DEV}\""), &[("a", &a)]);
    with(&mut manifest, "a", |chained| {
        chained.via = vec![role("door")];
        chained.tags = BTreeMap::from([("team".into(), "blue".into())]);
    });
    let actions = |manifest: &Manifest| -> Vec<usize> {
        needs(manifest, Style::Arn).policies.iter().map(|policy| policy.document.statement[0].action.len()).collect()
    };
    assert_eq!(actions(&manifest), [1, 2], "tags are the service's own");
    with(&mut manifest, "a", |chained| chained.transitive_tags = vec!["team".into()]);
    assert_eq!(actions(&manifest), [2, 2]);
    with(&mut manifest, "a", |chained| chained.source_identity = Some("ann".into()));
    assert_eq!(actions(&manifest), [3, 3]);
    let required =
        needs(&manifest, Style::Root).trusts.iter().map(|one| one.statements[0].to_string()).collect::<Vec<_>>();
    assert!(required[0].contains(r#""sts:SourceIdentity":"ann""#), "set on the first hop: {required:?}");
    assert!(!required[1].contains(r#""sts:SourceIdentity":"#), "and inherited by the next: {required:?}");
}

#[test]
fn names_are_such_as_terraform_takes_and_stay_when_services_come() {
    let (one, two) = (role("a.b+c").to_string(), role("a_b_c").to_string());
    let foreign = "arn:aws:iam::444455556666:role/a_b_c";
    let labels = |roles: &[(&str, &str)]| -> Vec<String> {
        let text = terraform::print(&needs(&manifest("", roles), Style::Condition));
        let lines = text.lines().filter_map(|line| line.strip_prefix("data \"aws_iam_policy_document\" \""));
        let mut labels: Vec<String> = lines.map(|line| line.trim_end_matches("\" {").to_owned()).collect();
        labels.sort();
        labels
    };
    let few = labels(&[("b", &one), ("c", &two)]);
    assert_eq!(few[1], "devsup_trust_a_b_c");
    let more = labels(&[("a", &role("x").to_string()), ("b", &one), ("c", &two), ("d", &two)]);
    assert!(few.iter().all(|label| more.contains(label)), "{few:?} {more:?}");
    let same = labels(&[("b", &one), ("c", &two), ("d", foreign)]);
    assert_eq!(same.iter().collect::<BTreeSet<_>>().len(), same.len(), "{same:?}");
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    assert!(same.iter().all(|label| label.chars().all(plain)), "{same:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// JSON that a reader of policies takes, each role once in the caller's policy, a trust for each.
    #[test]
    fn each_role_stands_once(names in prop::collection::btree_set("[a-zA-Z0-9_+=,.@-]{1,12}", 1..8), flags in prop::collection::vec(0_u8..8, 8)) {
        let roles: Vec<(String, String)> =
            names.iter().enumerate().map(|(at, name)| (format!("s{at}"), role(name).to_string())).collect();
        let pairs: Vec<(&str, &str)> = roles.iter().map(|(service, arn)| (service.as_str(), arn.as_str())).collect();
        let mut manifest = manifest(&format!("base_role = \"{DEV}\""), &pairs);
        for ((service, _), flags) in roles.iter().zip(&flags) {
            with(&mut manifest, service, |role| {
                role.external_id = (flags & 1 != 0).then(|| "id:x/1".into());
                role.source_identity = (flags & 2 != 0).then(|| "{user}".into());
                role.tags = if flags & 4 != 0 { BTreeMap::from([("k".into(), "v".into())]) } else { BTreeMap::new() };
            });
        }
        let needs = needs(&manifest, Style::Condition);
        let json = serde_json::to_value(&needs.policies[0].document).expect("JSON");
        let statements = json["Statement"].as_array().expect("a list");
        let sids: BTreeSet<&str> = statements.iter().filter_map(|one| one["Sid"].as_str()).collect();
        prop_assert_eq!(sids.len(), statements.len());
        for ((_, arn), flags) in roles.iter().zip(&flags) {
            let mine: Vec<_> = statements.iter().filter(|one| one["Resource"].as_array().expect("a list").iter().any(|r| r == arn)).collect();
            prop_assert_eq!(mine.len(), 1);
            let actions = mine[0]["Action"].to_string();
            prop_assert_eq!(actions.contains("sts:SetSourceIdentity"), flags & 2 != 0);
            prop_assert_eq!(actions.contains("sts:TagSession"), flags & 4 != 0);
        }
        prop_assert_eq!(needs.trusts.len(), roles.len());
        for trusting in &needs.trusts {
            let sids: BTreeSet<&str> = trusting.statements.iter().map(|one| one.sid.as_str()).collect();
            prop_assert_eq!(sids.len(), trusting.statements.len());
        }
    }
}
