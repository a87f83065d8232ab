//! `kill -9` of the daemon, of a keeper, of both; and a keeper that is stopped. Invariants 5 and 6.

use devsup::control::api::Service;
use devsup::supervisor::State;
use nix::sys::signal::Signal;

use super::{STUBBORN, badly, daemon, keeper_of, lives, send, tree_of, until_gone, until_nothing_is_left};
use crate::project::Project;

fn two(stop_timeout: &str) -> Project {
    let stubborn = badly(STUBBORN);
    Project::new(&format!(
        "name = \"two\"\n[services.polite]\ncommand = [\"sleep\", \"600\"]\n[services.stubborn]\ncommand = {stubborn}\n\
         stop_timeout = \"{stop_timeout}\"\n[defaults]\nbackoff = {{ first = \"100ms\" }}\n"
    ))
}

#[test]
fn when_the_daemon_is_killed_its_keepers_end_everything() {
    let project = two("2s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut all = tree_of(keeper_of(&project, "stubborn"), 3);
    all.extend([keeper_of(&project, "stubborn"), keeper_of(&project, "polite")]);
    all.extend(project.service("polite").pid);
    send(daemon(&project), Signal::SIGKILL);
    until_gone(&all);
    until_nothing_is_left(&project);
    project.devsup(&["ps"]).ends(5);
    let up = project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(!up.stderr.contains("stale") && !up.stderr.contains("error"), "{up:#?}");
    for one in project.ps() {
        assert!(one.state == State::Running && one.crashes == 0 && one.run == Some(2), "{one:#?}");
    }
}

#[test]
fn a_service_that_an_earlier_keeper_still_ends_says_so_and_the_others_start() {
    let project = two("15s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "stubborn");
    let old = tree_of(keeper, 3);
    send(daemon(&project), Signal::SIGKILL);
    let up = project.spawn(&["up", "-d"]);
    let seen = project.until(
        |all| all.iter().any(|one| one.name == "polite" && one.state == State::Running),
        "the polite one runs again",
    );
    let stubborn = seen.into_iter().find(|one| one.name == "stubborn").expect("it is in the manifest");
    assert_eq!((stubborn.state, stubborn.pid), (State::Stopping, None), "{stubborn:#?}");
    assert!(stubborn.status.contains(&format!("run 1 of an earlier devsup, keeper {keeper}")), "{stubborn:#?}");
    up.finish().ok();
    let stubborn = project.until_one("stubborn", |one| one.state == State::Running, "it starts in its turn");
    assert!(!old.iter().any(|&pid| lives(pid)), "nothing of the old run is left when the new one starts");
    assert_eq!((stubborn.run, stubborn.crashes, stubborn.restarts), (Some(2), 0, 0), "{stubborn:#?}");
    project.devsup(&["down", "-t", "1s"]).ok();
}

/// What an earlier devsup left is a service, not the owner, though no keeper of the new one is above it.
#[test]
fn a_service_of_an_earlier_devsup_may_not_command_the_next() {
    let project = Project::new(
        r#"
name = "earlier"
[services.polite]
command = ["sleep", "600"]
[services.nosy]
stop_timeout = "20s"
command = """
trap '' TERM
until [ -e go ]; do sleep 0.1; done
"$DEVSUP" stop polite; echo "stop: $?"
exec sleep 600
"""
"#,
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    send(daemon(&project), Signal::SIGKILL);
    let up = project.spawn(&["up", "-d"]);
    let is = |all: &[Service], name: &str, state| all.iter().any(|one| one.name == name && one.state == state);
    project.until(|all| is(all, "polite", State::Running) && is(all, "nosy", State::Stopping), "the next is up");
    project.write("go", "");
    project.until_log("nosy", "stop: ");
    assert!(project.log("nosy").contains("stop: 6\n"), "{}", project.log("nosy"));
    assert_eq!(project.service("polite").state, State::Running);
    up.finish();
}

#[test]
fn a_keeper_that_is_killed_is_a_crash_with_that_reason_and_leaves_nothing() {
    let project = two("2s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let polite = project.service("polite").pid;
    let keeper = keeper_of(&project, "stubborn");
    let old = tree_of(keeper, 3);
    send(keeper, Signal::SIGKILL);
    until_gone(&old);
    let again = project.until_one("stubborn", |one| one.run == Some(2) && one.state == State::Running, "it runs again");
    assert_eq!(again.crashes, 1, "{again:#?}");
    let lost = project.events().into_iter().find(|event| event.event == "keeper-lost").expect("it is told");
    assert!(lost.reason.as_deref().is_some_and(|why| why.contains("its keeper was killed (signal 9)")), "{lost:#?}");
    assert_eq!(project.service("polite").pid, polite);
}

#[test]
fn what_is_left_when_both_are_killed_is_ended_and_named_by_the_next_up() {
    let project = two("2s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "stubborn");
    let old = tree_of(keeper, 3);
    let daemon = daemon(&project);
    // Not running, it cannot take care of what the keeper leaves.
    send(daemon, Signal::SIGSTOP);
    send(keeper, Signal::SIGKILL);
    send(daemon, Signal::SIGKILL);
    until_gone(&[daemon, keeper]);
    assert_eq!(old.iter().filter(|&&pid| lives(pid)).count(), 2, "only the main process dies with its keeper");
    project.devsup(&["up", "-d", "--wait"]).ok();
    until_gone(&old);
    let swept: Vec<String> =
        project.events().into_iter().filter(|event| event.event == "swept").filter_map(|event| event.reason).collect();
    assert!(swept.len() == 2 && swept.iter().all(|why| why.contains("run 1 of an earlier devsup left")), "{swept:#?}");
}

#[test]
fn a_keeper_that_is_stopped_does_not_keep_its_service_from_being_stopped() {
    let project = two("2s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "stubborn");
    let tree = tree_of(keeper, 3);
    send(keeper, Signal::SIGSTOP);
    project.devsup(&["stop", "stubborn"]).ok();
    until_gone(&tree);
    let stopped = project.service("stubborn");
    assert_eq!((stopped.state, stopped.crashes), (State::Stopped, 0), "{stopped:#?}");
}
