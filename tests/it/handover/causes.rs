//! Overlap, whatever the cause: two runs at once, the old one serves until the new one does, and no caller notices.

use super::{Callers, SERVES, one, overlap, said, until_runs, up};
use crate::project::{Foreground, Project};
use crate::ready::address;

const ROLE: &str = "role = 'service-a'\n[aws]\nregion = 'eu-west-1'\nrole_prefix = 'arn:aws:iam::033145145979:role/'";

/// The new run is not ready before it is let; both are there then, and the old one serves.
fn both_at_once(project: &Project, at: &str, cause: &str, begin: impl FnOnce() -> Option<Foreground>) {
    let callers = Callers::begin(at);
    callers.until_served_by(1);
    project.write("slow", "");
    let typed = begin();
    until_runs(project, &[1, 2]);
    callers.until_served_by(1);
    assert!(!callers.so_far().served.contains_key(&2), "{cause}: it is not ready");
    project.write("go", "");
    callers.until_served_by(2);
    let count = callers.end_well();
    assert!(count.served.len() >= 2, "{count:?}");
    project.until_one("a", |a| a.run >= Some(2) && a.ready, "the new one is it");
    crate::project::wait_until("the old one has gone", || !super::runs(project).contains(&1));
    typed.map(|typed| typed.finish().ok());
    let replaced = said(project, "replaced");
    assert!(replaced.iter().any(|why| why.contains(cause)), "{cause}: {replaced:?}");
    assert_eq!(project.service("a").crashes, 0);
}

#[test]
fn by_restart() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = up(&overlap(&at, handover, ""));
        both_at_once(&project, &at, "restart", || Some(project.spawn(&["restart", "a"])));
    }
}

#[test]
fn by_fresh_credentials() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = Project::new(&overlap(&at, handover, &format!("{ROLE}\n[sandbox]\nlease = '10m'")));
        project.up_sandbox();
        both_at_once(&project, &at, "credentials", || Some(project.spawn(&["creds", "a", "--refresh"])));
    }
}

#[test]
fn by_credentials_that_expire() {
    let at = address();
    let project = Project::new(&overlap(&at, "forward", &format!("{ROLE}\n[sandbox]\nlease = '30s'")));
    project.up_sandbox();
    both_at_once(&project, &at, "credentials", || None);
}

#[test]
fn by_a_changed_manifest() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = up(&overlap(&at, handover, "env = { WORD = 'before' }"));
        both_at_once(&project, &at, "manifest changed", || {
            project.write("services.toml", &overlap(&at, handover, "env = { WORD = 'after' }"));
            Some(project.spawn(&["reload"]))
        });
    }
}

#[test]
fn by_a_file_that_changed() {
    let at = address();
    let project = Project::new(&overlap(&at, "forward", "watch = ['src/*.py']"));
    std::fs::create_dir(project.path("src")).expect("a folder");
    project.write("src/x.py", "1");
    project.devsup(&["up", "-d", "--wait"]).ok();
    both_at_once(&project, &at, "file changed: src/x.py", || {
        project.write("src/x.py", "2");
        None
    });
}

#[test]
fn by_a_run_that_is_unwell() {
    let at = address();
    let project = up(&overlap(
        &at,
        "forward",
        "live = { exec = 'test \"$DEVSUP_RUN\" != \"$(cat sick)\"', interval = '100ms', failures = 2 }",
    ));
    let id = project.state().expect("its state").file_name().expect("its id").display().to_string();
    both_at_once(&project, &at, "unhealthy", || {
        project.write("sick", &format!("{id}/a#1"));
        None
    });
}

/// Without overlap there is one at a time, and callers wait for the next.
#[test]
fn one_at_a_time_nobody_notices_either() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = up(&one(SERVES, &at, handover, ""));
        let callers = Callers::begin(&at);
        for run in 1..4 {
            callers.until_served_by(run);
            project.devsup(&["restart", "a"]).ok();
        }
        callers.until_served_by(4);
        callers.end_well();
    }
}

/// Who follows the log sees both, while both are there.
#[test]
fn who_follows_the_log_sees_both_runs() {
    let at = address();
    let words = SERVES.replace("answer WHERE", "say begun answer WHERE");
    let project = up(&one(&format!("on USR1 say here {words}"), &at, "forward", "replace = 'overlap'"));
    let mut follows = project.spawn(&["logs", "-f", "--no-log-prefix", "a"]);
    follows.until_says("ready\n");
    project.write("slow", "");
    let old = project.service("a").pid.expect("the old one");
    let typed = project.spawn(&["restart", "a"]);
    until_runs(&project, &[1, 2]);
    crate::faults::send(old, nix::sys::signal::Signal::SIGUSR1);
    follows.until_says("here");
    project.write("go", "");
    until_runs(&project, &[2]);
    crate::project::wait_until("the new one is followed", || follows.so_far().stdout.matches("ready").count() == 2);
    typed.finish().ok();
}
