//! STS is down for three lives of a lease; STS refuses one of three.

use devsup::control::api::Service;
use devsup::supervisor::State;
use jiff::{SignedDuration, Timestamp};

use super::faults;
use crate::project::Project;

fn shop(lease: &str) -> Project {
    Project::new(&format!(
        r#"
name = "shop"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
command = ["sleep", "600"]
[services.a]
role = "service-a"
[services.b]
role = "service-b"
[services.c]
role = "service-c"
[sandbox]
lease = "{lease}"
"#
    ))
}

/// Invariant 3.
#[test]
fn while_sts_is_down_the_old_runs_stay_and_it_recovers_by_itself() {
    const LIFE: i64 = 6;
    let project = shop("6s");
    project.up_sandbox();
    faults(&project, "a", r#"{"down": "drop"}"#);
    let unanswered = project.until(
        |all| all.iter().all(|one| one.credentials.as_ref().is_some_and(|held| held.error.is_some())),
        "each has asked in vain",
    );
    let pids: Vec<_> = unanswered.iter().map(|one| one.pid).collect();
    let long_ago = |expires: &str| {
        let expires: Timestamp = expires.parse().expect("a time");
        Timestamp::now().duration_since(expires) > SignedDuration::from_secs(2 * LIFE)
    };
    let expired = project.until(
        |all| {
            all.iter()
                .all(|one| one.credentials.as_ref().and_then(|held| held.expires.as_deref()).is_some_and(long_ago))
        },
        "three lives of a lease are over",
    );
    for (one, pid) in expired.iter().zip(pids) {
        assert_eq!((one.pid, one.state, one.crashes), (pid, State::Running, 0), "{one:#?}");
        assert!(one.credentials_text.starts_with("EXPIRED "), "{one:#?}");
        let error = one.credentials.as_ref().and_then(|held| held.error.as_ref()).expect("a reason");
        assert!(!error.lasting && one.credentials_text.ends_with(&error.code), "{one:#?}");
    }
    let shown = project.devsup(&["ps"]).ok().stdout;
    assert_eq!(shown.matches("EXPIRED").count(), 3, "{shown}");
    let detail = project.devsup(&["ps", "a"]).ok().stdout;
    assert!(detail.contains("asks again in"), "{detail}");

    faults(&project, "a", "{}");
    let mended = project.until(
        |all| all.iter().all(|one| !one.credentials_text.contains("EXPIRED") && one.state == State::Running),
        "all have fresh credentials",
    );
    for (one, before) in mended.iter().zip(expired) {
        assert!(one.pid != before.pid && one.rotations > before.rotations && one.crashes == 0, "{one:#?}");
    }
    project.until(
        |all| all.iter().zip(&mended).all(|(one, then)| one.rotations > then.rotations),
        "rotation goes on as before",
    );
}

#[test]
fn a_refused_role_says_so_wherever_it_shows_and_the_others_run() {
    let project = shop("10m");
    project.devsup(&["up", "-d", "--wait", "--sandbox", "a"]).ok();
    faults(&project, "a", r#"{"deny": ["service-b"]}"#);
    let up = project.devsup(&["up", "-d", "--sandbox"]).ends(7);
    assert!(up.stderr.contains("AccessDenied") && up.stderr.contains("role/service-b"), "{up:#?}");
    let runs = |all: &[Service], name: &str| all.iter().any(|one| one.name == name && one.state == State::Running);
    project.until(|all| runs(all, "a") && runs(all, "c"), "the others run");
    let refused = project.service("b");
    let error = refused.credentials.as_ref().and_then(|held| held.error.clone()).expect("why it is refused");
    assert_eq!((error.code.as_str(), error.lasting), ("AccessDenied", true), "{error:#?}");
    assert!(error.message.contains("may not assume"), "{error:#?}");
    let hint = error.hint.expect("how to mend it");
    let first = hint.lines().next().expect("a line");
    assert!(refused.status == "waiting for credentials: AccessDenied" && refused.crashes == 0, "{refused:#?}");

    let table = project.devsup(&["ps"]).ok().stdout;
    assert!(table.contains("waiting for credentials: AccessDenied"), "{table}");
    let detail = project.devsup(&["ps", "b"]).ends(3).stdout;
    assert!(detail.contains(&error.message) && detail.contains(first.trim()), "{detail}\n\n{hint}");
    assert!(detail.contains("devsup creds b --refresh"), "{detail}");
    let events = project.devsup(&["events"]).ok().stdout;
    assert!(events.lines().any(|line| line.contains("AccessDenied") && line.contains('b')), "{events}");

    faults(&project, "a", "{}");
    // It would ask again by itself in two minutes: longer than any deadline here.
    project.devsup(&["creds", "b", "--refresh"]);
    let b = project.until_one("b", |b| b.state == State::Running, "the mended one runs");
    assert_eq!((b.crashes, b.restarts), (0, 0), "{b:#?}");
}

/// The warning is of AWS's last answer, so it goes when the clock is right again.
#[test]
fn a_clock_that_is_off_is_said_as_long_as_it_is() {
    let project = Project::new(
        "name = 'shop'\n[services.a]\nrole = 'arn:aws:iam::033145145979:role/service-a'\ncommand = 'sleep 600'\n\
         [sandbox]\nlease = '10m'\n",
    );
    project.up_sandbox();
    let warned = || project.devsup(&["ps"]).ok().stderr.contains("clock is 5m ahead of AWS's");
    assert!(!warned());
    faults(&project, "a", r#"{"skew_s": -300}"#);
    project.devsup(&["creds", "a", "--refresh"]).ok();
    assert!(warned(), "{:#?}", project.devsup(&["ps"]));
    faults(&project, "a", "{}");
    project.devsup(&["creds", "a", "--refresh"]).ok();
    assert!(!warned(), "{:#?}", project.devsup(&["ps"]));
}
