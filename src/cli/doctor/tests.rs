//! The judgements, of facts that are made up; and the page they make.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::{Finding, Verdict};
use super::imds::Reach;
use super::roles::{Granted, Trial};
use super::{base, clock, inherited, machine, metadata, page, project, region, roles, services, soften, sts};
use crate::aws::{Identity, Standing};
use crate::cli::failure::Code;
use crate::cli::paint::Paint;
use crate::cli::terminal::Talk;
use crate::control::api::VERSION;
use crate::daemon::foresee::Outlook;
use crate::manifest::{Name, Role, RoleArn};
use crate::supervisor::{Refusal, Wall};
use crate::sys::isolation::{Lack, Means};

const BASE: &str = "arn:aws:sts::033145145979:assumed-role/dev-box/i-0abc";

fn role(name: &str) -> Role {
    Role::of(RoleArn::checked(&format!("arn:aws:iam::033145145979:role/{name}")))
}

fn refusal(code: &str, message: &str, hint: &str, lasting: bool) -> Refusal {
    Refusal {
        lasting,
        code: code.into(),
        message: message.into(),
        hint: Some(hint.into()),
        side: Some("caller".into()),
        caller: Some(BASE.into()),
        request_id: Some("7a62c49f".into()),
        retry_after: None,
        at: Wall(0),
    }
}

fn standing() -> Standing {
    let identity = Identity { arn: BASE.into(), account: "033145145979".into(), source: "instance metadata".into() };
    Standing {
        identity: Ok(identity),
        mismatch: None,
        place: Some("http://169.254.169.254".into()),
        expires: Some(Wall(3_600_000)),
        region: Some("eu-west-1".into()),
        endpoint: "sts.eu-west-1.amazonaws.com".into(),
        proxy: Some("http://proxy.corp:3128".into()),
        skew_ms: Some(120),
        took: Some(Duration::from_millis(84)),
    }
}

fn of_base(standing: &Standing) -> Vec<Finding> {
    base::judge(&base::Facts { standing, sandbox: false, overrides: &[], now: Wall(0) })
}

fn trial(service: &str, answer: Result<Granted, Refusal>) -> Finding {
    roles::judge(&Trial { service: service.into(), role: role(&format!("service-{service}")), answer: Some(answer) })
}

fn granted(service: &str) -> Granted {
    let assumed = format!("arn:aws:sts::033145145979:assumed-role/service-{service}/devsup-ann-{service}");
    Granted { assumed, packed: None, capped: false }
}

fn machine() -> machine::Facts {
    machine::Facts {
        walls: Ok(Means::Signals),
        open: Vec::new(),
        as_root: Vec::new(),
        neighbours: true,
        tree: Outlook::Session("DEVSUP_TREE says so".into()),
        refused: Vec::new(),
        services: 2,
        files: Some(65_536),
        inotify: Ok(()),
        watches: Some(8192),
        watching: true,
        core: Vec::new(),
    }
}

fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
    findings.iter().map(|finding| (finding.check, finding.verdict)).collect()
}

/// Everything at once, of a machine on which some is wrong.
fn whole() -> Vec<Finding> {
    let mut all = project::judge(&project::Facts {
        daemon: Some(project::Daemon { pid: 4711, version: VERSION.into(), sandbox: false, shared_by: None }),
        state: Some(Ok("/home/ann/.local/state/devsup/shop-1f".into())),
        free: Some(42 << 30),
        wanted: 2 << 30,
        ..project::Facts::default()
    });
    for (name, found) in [
        ("a", Ok("/usr/bin/node".into())),
        ("b", Err("command `nodde`: not found in PATH (`/bin`); install it, or write its path")),
    ] {
        all.extend(services::judge(&services::Facts {
            name: name.into(),
            program: Some("node".into()),
            who: Ok("ann".into()),
            found: Some(found.map_err(str::to_owned)),
            env_file: Ok(()),
            limits: Vec::new(),
        }));
    }
    all.extend(machine::judge(&machine()));
    all.extend(inherited::judge(&inherited::Facts {
        removed: vec!["AWS_PROFILE".into(), "AWS_VAULT".into()],
        by_env: true,
        ..inherited::Facts::default()
    }));
    all.extend(metadata::judge(&[metadata::User {
        uid: 1001,
        name: "web".into(),
        services: vec!["a".into(), "b".into()],
        own: false,
        seen: Ok(vec![(metadata::PLACES[0].into(), Reach::Role("dev-box".into()))]),
    }]));
    all.extend(of_base(&standing()));
    let settings = vec![("`[aws] region`", Some("eu-west-1".into())), ("AWS_REGION", Some("us-east-1".into()))];
    all.extend(region::judge(&region::Facts { settings, base_known: true, roles: true }));
    all.extend(clock::judge(Some(90_000)));
    let proxy = Some(("HTTPS_PROXY", "http://proxy.corp:3128"));
    let took = Some(Duration::from_millis(84));
    all.extend(sts::judge(&sts::Facts { endpoint: "sts.eu-west-1.amazonaws.com", proxy, took, asked: false }));
    all.push(trial("a", Ok(granted("a"))));
    let hint = "add to the trust policy of `arn:aws:iam::033145145979:role/service-b`:\n{\"Sid\":\"DevsupTrust\",\n \"Effect\":\"Allow\"}";
    let denied = refusal("AccessDenied", "`service-b` does not trust `dev-box/i-0abc`", hint, true);
    all.push(trial("b", Err(Refusal { side: Some("target".into()), ..denied })));
    all
}

#[test]
fn the_whole_page() {
    insta::assert_snapshot!(page::text(&whole(), Paint::Plain, Talk::Usual));
}

#[test]
fn quiet_leaves_out_what_is_well_and_colours_say_the_verdict() {
    let quiet = page::text(&whole(), Paint::Plain, Talk::Quiet);
    assert!(!quiet.lines().any(|line| line.starts_with("ok ")), "{quiet}");
    assert!(quiet.contains("error  role b: ") && quiet.contains("warn   clock: "), "{quiet}");
    let coloured = page::text(&whole(), Paint::Ansi, Talk::Usual);
    assert!(coloured.contains("\u{1b}[31merror\u{1b}[0m  \u{1b}[1mrole b\u{1b}[0m: "), "{coloured}");
    assert!(!page::text(&whole(), Paint::Plain, Talk::Verbose).contains('\u{1b}'));
}

#[test]
fn an_object_a_finding_and_nothing_empty() {
    let all: Vec<serde_json::Value> = whole().iter().map(|it| serde_json::to_value(it).expect("JSON")).collect();
    let denied = all.last().expect("a role");
    assert_eq!((denied["check"].as_str(), denied["service"].as_str()), (Some("role"), Some("b")));
    assert_eq!(denied["verdict"], "error");
    assert_eq!(denied["detail"], "AccessDenied, on the side of the target, request 7a62c49f");
    assert!(denied["fix"].as_str().is_some_and(|fix| fix.contains("role/service-b")));
    assert!(denied.get("bar").is_none());
    assert!(all[0].get("fix").is_none() && all[0].get("service").is_none(), "{}", all[0]);
}

#[test]
fn the_exit_code_says_what_stands_in_the_way() {
    let (fine, odd) = (Finding::ok("x", ""), Finding::warn("x", ""));
    let (wrong, refused) = (Finding::error("x", ""), Finding::error("x", "").refused());
    assert_eq!(page::code(&[fine.clone(), odd.clone()]), Code::OK);
    assert_eq!(page::code(&[fine, wrong.clone()]), Code::FAILED);
    assert_eq!(page::code(&[wrong, odd.refused(), refused]), Code::CREDENTIALS_REFUSED);
    assert_eq!(page::code(&[Finding::warn("x", "").refused()]), Code::OK, "a warning is in nobody's way");
}

#[test]
fn a_service_that_up_does_not_start_is_in_nobodys_way() {
    let wanted = BTreeSet::from([Name::new("a")]);
    let error = |service| soften(Finding::error("role", "refused").of(service).refused(), &wanted);
    assert_eq!((error("a").verdict, error("b").verdict), (Verdict::Error, Verdict::Warn));
    assert!(error("b").detail.is_some_and(|detail| detail.contains("autostart = false")));
    assert_eq!(soften(Finding::error("base", "none"), &wanted).verdict, Verdict::Error);
}

#[test]
fn the_clock_may_be_off_by_a_minute() {
    let verdict = |ms| clock::judge(Some(ms)).map(|found| found.verdict);
    let all = [0, 1_900, -60_000, 61_000, -240_000, 241_000, -900_000].map(verdict);
    let (ok, warn, error) = (Some(Verdict::Ok), Some(Verdict::Warn), Some(Verdict::Error));
    assert_eq!(all, [ok, ok, ok, warn, warn, error, error]);
    assert_eq!(clock::judge(None), None, "nobody said what time it is");
    let behind = clock::judge(Some(-300_000)).expect("off");
    assert_eq!(behind.sentence, "5m behind AWS's");
    assert!(behind.fix.is_some_and(|fix| fix.contains("timedatectl") && fix.contains("chronyc makestep")));
}

#[test]
fn who_we_are_is_said_with_its_source_or_its_mend() {
    let all = of_base(&standing());
    assert_eq!(verdicts(&all), [("base", Verdict::Ok), ("base", Verdict::Ok)]);
    assert!(
        all[0].sentence.contains(BASE) && all[0].sentence.contains("from instance metadata (http://169.254.169.254)")
    );
    assert_eq!(all[1].sentence, "the base credentials end in 1h");
    let none = refusal("NoBaseCredentials", "no base credentials: none", "log in: `aws sso login`", true);
    let nobody = Standing { identity: Err(none), ..standing() };
    let all = of_base(&nobody);
    assert_eq!((all.len(), page::code(&all)), (1, Code::CREDENTIALS_REFUSED));
    let other = refusal("BaseRoleMismatch", "the base identity is another", "become it", true);
    assert_eq!(page::code(&of_base(&Standing { mismatch: Some(other), ..standing() })), Code::CREDENTIALS_REFUSED);
    let silent = refusal("Unreachable", "no answer", "check the route", false);
    assert_eq!(page::code(&of_base(&Standing { identity: Err(silent), ..standing() })), Code::FAILED);
}

#[test]
fn base_credentials_that_end_soon_are_a_warning_and_ended_ones_an_error() {
    let at = |ms| of_base(&Standing { expires: Some(Wall(ms)), ..standing() })[1].verdict;
    assert_eq!((at(600_000), at(-1)), (Verdict::Warn, Verdict::Error));
    assert_eq!(of_base(&Standing { expires: None, ..standing() }).len(), 1);
}

#[test]
fn an_endpoint_override_is_named_and_the_sandbox_says_that_it_is_one() {
    let (standing, overrides) = (standing(), ["AWS_ENDPOINT_URL = http://x".to_owned()]);
    let facts = base::Facts { standing: &standing, sandbox: false, overrides: &overrides, now: Wall(0) };
    let named = base::judge(&facts);
    assert!(named.iter().any(|found| found.check == "endpoint" && found.sentence.contains("http://x")), "{named:#?}");
    assert!(base::judge(&base::Facts { sandbox: true, ..facts })[0].sentence.starts_with("SANDBOX: "));
}

#[test]
fn a_region_is_missed_only_where_services_have_roles() {
    let judge = |set: Option<&str>, base_known, roles| {
        let settings = vec![("AWS_REGION", set.map(str::to_owned))];
        region::judge(&region::Facts { settings, base_known, roles }).map(|found| found.verdict)
    };
    assert_eq!(judge(Some("eu-west-1"), true, true), Some(Verdict::Ok));
    assert_eq!(judge(None, true, true), Some(Verdict::Error));
    assert_eq!(judge(None, false, true), Some(Verdict::Warn), "the base identity might know one");
    assert_eq!(judge(None, true, false), None);
}

#[test]
fn sts_is_judged_by_its_answer() {
    let judge = |took: Option<u64>, asked| {
        let took = took.map(Duration::from_millis);
        sts::judge(&sts::Facts { endpoint: "sts", proxy: None, took, asked }).map(|found| found.verdict)
    };
    assert_eq!(judge(Some(80), false), Some(Verdict::Ok));
    assert_eq!(judge(Some(2_500), false), Some(Verdict::Warn));
    assert_eq!(judge(None, true), Some(Verdict::Error));
    assert_eq!(judge(None, false), None, "there was nobody to ask as");
}

#[test]
fn a_role_is_well_capped_nearly_full_or_refused() {
    assert_eq!(trial("a", Ok(granted("a"))).verdict, Verdict::Ok);
    let capped = trial("a", Ok(Granted { capped: true, ..granted("a") }));
    assert_eq!((capped.verdict, capped.fix.as_deref()), (Verdict::Warn, Some("duration = \"1h\"")));
    let full = |percent| trial("a", Ok(Granted { packed: Some(percent), ..granted("a") }));
    assert_eq!((full(79).verdict, full(80).verdict), (Verdict::Ok, Verdict::Warn));
    assert!(full(12).sentence.ends_with("; 12 % of the room for policies and tags"));
    let late = roles::judge(&Trial { service: "a".into(), role: role("x"), answer: None });
    assert_eq!(page::code(&[late]), Code::FAILED);
    assert_eq!(roles::untried(&["a", "b"]).sentence, "no roles were tried, for want of a base identity: a, b");
}

#[test]
fn a_machine_without_walls_is_a_warning_where_services_share_a_user() {
    let lacking = machine::Facts { walls: Err(Lack::NoLandlock), ..machine() };
    assert_eq!(machine::judge(&lacking)[0].verdict, Verdict::Warn);
    let alone = machine::Facts { neighbours: false, ..lacking };
    assert_eq!(machine::judge(&alone)[0].verdict, Verdict::Ok);
}

#[test]
fn limits_that_cannot_be_kept_and_a_wrong_tree_are_errors() {
    let facts = machine::Facts {
        refused: vec![("a".into(), "`limits.memory` needs the cgroup controller `memory`: none".into())],
        tree: Outlook::Wrong("DEVSUP_TREE is `x`".into()),
        files: Some(100),
        inotify: Err("Too many open files".into()),
        as_root: vec!["a".into()],
        core: vec!["a".into()],
        ..machine()
    };
    assert_eq!(
        verdicts(&machine::judge(&facts)),
        [
            ("isolation", Verdict::Ok),
            ("isolation", Verdict::Warn),
            ("tree", Verdict::Error),
            ("limits", Verdict::Error),
            ("files", Verdict::Warn),
            ("inotify", Verdict::Warn),
            ("core", Verdict::Ok),
        ]
    );
}

#[test]
fn a_state_folder_that_cannot_be_had_is_an_error() {
    let facts = project::Facts { state: Some(Err("state folder `/x` belongs to uid 1".into())), ..Default::default() };
    assert!(project::judge(&facts).iter().any(|found| found.check == "state" && found.verdict == Verdict::Error));
    let hidden = project::Facts { hidden: Some(7), state: Some(Ok(PathBuf::from("/x"))), ..Default::default() };
    assert_eq!(page::code(&project::judge(&hidden)), Code::FAILED);
}
