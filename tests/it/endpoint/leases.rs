//! Lives of leases pass, STS is down, refuses, comes back: the process stays, and the endpoint says what is.

use std::collections::BTreeSet;

use devsup::supervisor::State;
use jiff::Timestamp;

use super::{Answer, Stolen, asks, events, get, put, shop};
use crate::faults::faults;
use crate::project::{Project, wait_until};

/// Asks again until it is so; what is there until then must be one of the answers that `may` be.
fn until(project: &Project, folder: &str, may: impl Fn(&Answer) -> bool, so: impl Fn(&Answer) -> bool) -> Answer {
    let mut last = None;
    wait_until("the endpoint says so", || {
        let answer = get(project, folder);
        let done = so(&answer);
        assert!(done || may(&answer), "{answer:?}");
        last = Some(answer);
        done
    });
    last.expect("just asked")
}

fn code(answer: &Answer) -> &str {
    answer.body["code"].as_str().unwrap_or_default()
}

#[test]
fn lives_of_leases_pass_without_a_restart_and_each_answer_is_unexpired() {
    let project = shop("9s", "", &[]);
    project.up_sandbox();
    let before = project.service("a");
    let mut keys = BTreeSet::new();
    wait_until("three leases were seen", || {
        let asked = Timestamp::now();
        let answer = get(&project, "a");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text("Expiration").parse::<Timestamp>().expect("a time") >= asked, "{answer:?}");
        keys.insert(answer.text("AccessKeyId").to_owned());
        keys.len() >= 3
    });
    let after = project.service("a");
    assert_eq!((after.pid, after.run, after.restarts, after.rotations), (before.pid, before.run, 0, 0), "{after:#?}");
}

#[test]
fn a_restart_keeps_address_and_token_and_a_stopped_service_has_none() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let before = Stolen::of(&project, "a");
    project.devsup(&["restart", "a"]).ok();
    let after = Stolen::of(&project, "a");
    assert!(before.host == after.host && before.path == after.path && before.token == after.token);
    assert_eq!(get(&project, "a").status, 200);
    project.devsup(&["stop", "a"]).ok();
    before.shown_by_us().is(403, "ServiceNotRunning");
    let told = events(&project, "token-refused");
    assert!(told.iter().any(|event| event.service.as_deref() == Some("a")), "{told:#?}");
    project.devsup(&["start", "a"]).ok();
    assert_eq!(get(&project, "a").status, 200);
}

/// Invariant 3, for who asks.
#[test]
fn while_sts_is_down_the_process_stays_and_what_has_expired_is_not_served() {
    let project = shop("5s", "", &[]);
    project.up_sandbox();
    let pid = project.service("a").pid;
    faults(&project, "a", r#"{"down": "drop"}"#);
    let expired = until(&project, "a", |answer| answer.status == 200, |answer| answer.status == 503);
    expired.is(503, "CredentialsExpired");
    assert!(expired.text("message").contains("expired at "), "{expired:?}");
    // It has asked in vain meanwhile, and says so.
    let said = until(
        &project,
        "a",
        |answer| answer.status == 503,
        |answer| code(answer) == "CredentialsExpired" && answer.text("message").contains("; STS: "),
    );
    said.is(503, "CredentialsExpired");
    faults(&project, "a", "{}");
    let mended = until(&project, "a", |answer| code(answer) == "CredentialsExpired", |answer| answer.status == 200);
    assert!(mended.text("AccessKeyId").starts_with("ASIASANDBOX"), "{mended:?}");
    let a = project.service("a");
    assert_eq!((a.pid, a.state, a.restarts, a.crashes), (pid, State::Running, 0, 0), "{a:#?}");
}

#[test]
fn what_sts_refuses_for_good_is_said_with_its_code_once_nothing_is_held() {
    let project = shop("5s", "", &[]);
    project.up_sandbox();
    let pid = project.service("a").pid;
    faults(&project, "a", r#"{"deny": ["service-a"]}"#);
    let may = |answer: &Answer| answer.status == 200 || code(answer) == "CredentialsExpired";
    let refused = until(&project, "a", may, |answer| answer.status == 403);
    refused.is(403, "AccessDenied");
    let said = refused.text("message");
    assert!(said.contains("may not assume") && said.contains("role/service-a"), "{said}");
    assert_eq!(get(&project, "b").status, 200, "the other goes on");
    faults(&project, "a", "{}");
    project.devsup(&["creds", "a", "--refresh"]).ok();
    until(&project, "a", |answer| answer.status == 403, |answer| answer.status == 200);
    assert_eq!(project.service("a").pid, pid);
}

/// The role is to be asked for in another way, and STS has not answered: what was held before is served no more.
#[test]
fn a_run_whose_role_is_edited_is_served_its_own_until_the_new_ones_run_is_there() {
    let project = shop("10m", "", &[]);
    project.up_sandbox();
    let before = get(&project, "a");
    // By the other one: nothing new will be held for a.
    faults(&project, "b", r#"{"down": "unavailable"}"#);
    let manifest = std::fs::read_to_string(project.path("services.toml")).expect("the manifest");
    project.write("services.toml", &manifest.replace("arn = 'service-a'", "arn = 'service-a', session_name = 'other'"));
    project.devsup(&["reload"]).ok();
    let still = get(&project, "a");
    assert_eq!((still.status, still.text("AccessKeyId")), (200, before.text("AccessKeyId")), "{still:?}");
    faults(&project, "b", "{}");
    let answer = until_run(&project, |answer| answer.status == 200);
    assert_ne!(answer.text("AccessKeyId"), before.text("AccessKeyId"));
}

/// The run is replaced meanwhile: what a dying process was asked may stay unanswered.
fn until_run(project: &Project, may: impl Fn(&Answer) -> bool) -> Answer {
    project.until_one("a", |a| a.run > Some(1) && a.state == State::Running, "the new role's run is there");
    until(project, "a", may, |answer| answer.status == 200)
}

#[test]
fn who_was_given_credentials_is_written_down_and_added_up() {
    const ASKED: u64 = 40;
    let keys =
        format!("[services.quiet]\nrole = {{ arn = 'service-c', delivery = 'endpoint' }}\ncommand = {}", asks("c"));
    let project = shop("10m", &keys, &[]);
    project.up_sandbox();
    let told: Vec<_> = (0..ASKED).map(|_| put(&project, "a", "-", super::GET)).collect();
    let key = told.iter().map(|told| super::answer(told).text("AccessKeyId").to_owned()).next_back();
    let sum = |events: &[devsup::control::api::Event]| {
        events.iter().map(|event| event.more["times"].as_u64().expect("a number")).sum::<u64>()
    };
    wait_until("all are counted", || sum(&events(&project, "credentials-issued")) == ASKED);
    let told = events(&project, "credentials-issued");
    assert!(told.len() < 40, "{told:#?}");
    let a = project.service("a");
    for event in &told {
        assert_eq!((event.service.as_deref(), event.run), (Some("a"), a.run), "{event:#?}");
        assert_eq!(event.more["access_key_id"].as_str(), key.as_deref(), "{event:#?}");
        assert_eq!(event.more["pid"].as_u64(), a.pid.map(u64::from), "{event:#?}");
        assert_eq!(event.by.as_ref().map(|by| by.uid), Some(devsup::sys::users::own_uid()), "{event:#?}");
        assert!(event.more["expires"].as_str().is_some_and(|expires| expires.ends_with('Z')), "{event:#?}");
    }
    let said = project.devsup(&["events"]).ok().stdout;
    assert!(said.contains("was given ASIASANDBOX"), "{said}");
}
