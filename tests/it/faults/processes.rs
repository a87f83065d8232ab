//! Services that end when they should not, and services that do not end when they should.

use devsup::control::api::ExitJson;
use devsup::supervisor::State;
use devsup::sys::tree;
use nix::sys::signal::Signal;

use super::{STUBBORN, badly, keeper_of, send, tree_of, until_gone, until_nothing_is_left};
use crate::project::{Project, wait_until};

fn alone(command: &str, more: &str) -> Project {
    Project::new(&format!(
        "name = \"alone\"\n[services.a]\ncommand = {command}\n{more}\n[services.other]\ncommand = [\"sleep\", \"600\"]\n"
    ))
}

/// How long it waited after each crash, with the count of crashes.
fn waits(project: &Project) -> Vec<(u64, u64)> {
    let backoffs = project.events().into_iter().filter(|event| event.event == "backoff");
    let number = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_u64).expect("a number");
    backoffs.map(|event| (number(event.more.get("crashes")), number(event.more.get("wait_ms")))).collect()
}

#[test]
fn a_crash_loop_slows_down_is_counted_and_is_cleared_by_a_person() {
    let project = alone(&badly("exit 3"), "backoff = { first = \"200ms\", max = \"20s\" }");
    project.devsup(&["up", "-d"]);
    let a = project.until_one("a", |a| a.crashes >= 4 && a.state == State::Backoff, "it has crashed four times");
    assert!(a.status.contains("crash ") && a.exit == Some(ExitJson::Code(3)), "{a:#?}");
    let before = waits(&project);
    for pair in before.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "each crash counts once: {before:?}");
        // Doubled, each within a fifth.
        assert!(pair[1].1 * 10 > pair[0].1 * 13, "it waits longer each time: {before:?}");
    }
    project.devsup(&["restart", "a"]);
    project.until(|_| waits(&project).len() > before.len(), "it crashes again");
    let after = waits(&project)[before.len()..].to_vec();
    assert!(after[0].0 == 1 && after[0].1 < 300, "a person's restart clears the counter: {after:?}");
    assert_eq!(project.service("other").restarts, 0);
}

#[test]
fn who_ignores_the_stop_signal_is_killed_with_all_it_started() {
    let project = alone(&badly(STUBBORN), "stop_timeout = \"1s\"");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let other = project.service("other").pid;
    let first = tree_of(keeper_of(&project, "a"), 3);
    project.devsup(&["restart", "a"]).ok();
    until_gone(&first);
    let second = tree_of(keeper_of(&project, "a"), 3);
    project.devsup(&["stop", "a"]).ok();
    until_gone(&second);
    let a = project.service("a");
    assert_eq!((a.state, a.crashes, a.exit), (State::Stopped, 0, Some(ExitJson::Signal(9))), "{a:#?}");
    assert_eq!(project.service("other").pid, other);
    project.devsup(&["start", "a"]).ok();
    let third = tree_of(keeper_of(&project, "a"), 3);
    project.devsup(&["down"]).ok();
    until_gone(&third);
    until_nothing_is_left(&project);
}

#[test]
fn a_main_process_that_is_killed_is_seen_counted_and_started_again() {
    let project = alone("[\"sleep\", \"600\"]", "backoff = { first = \"100ms\" }");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let (killed, other) = (project.service("a").pid.expect("it runs"), project.service("other").pid);
    send(killed, Signal::SIGKILL);
    let a = project.until_one("a", |a| a.state == State::Running && a.pid != Some(killed), "it runs again");
    assert_eq!((a.crashes, a.run, a.exit), (1, Some(2), Some(ExitJson::Signal(9))), "{a:#?}");
    assert_eq!(project.service("other").pid, other);
}

/// What a main process leaves behind when it ends by itself is ended too, before the next run.
#[test]
fn what_a_crashed_run_leaves_is_ended_before_the_next() {
    let words = "fork setsid [ ignore TERM sleep 600 ] daemon [ sleep 600 ] wait-for go exit 1";
    let project = alone(&badly(words), "stop_timeout = \"1s\"\nbackoff = { first = \"100ms\" }");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let tree = tree_of(keeper_of(&project, "a"), 3);
    project.write("go", "");
    project.until_one("a", |a| a.crashes > 0, "the crash is seen");
    until_gone(&tree);
    std::fs::remove_file(project.path("go")).expect("it was there");
    project.until_one("a", |a| a.state == State::Running && !tree.contains(&a.pid.unwrap_or(0)), "the next run");
}

/// Children that it has not waited for, and that are dead, are nobody to end.
#[test]
fn the_dead_are_not_what_a_run_leaves_behind() {
    let project = alone(&badly("fork [ exit 0 ] wait-for go exit 0"), "");
    project.devsup(&["up", "-d"]).ok();
    let main = project.until_one("a", |a| a.pid.is_some(), "it runs").pid.expect("just seen");
    wait_until("its child is dead", || {
        tree::children(main).into_iter().filter_map(tree::look).any(|child| child.state == 'Z')
    });
    project.write("go", "");
    project.until_one("a", |a| a.state == State::Done, "it has ended");
    let log = project.devsup(&["logs", "a"]).ok().stdout;
    assert!(log.contains("a exited (exit 0)") && !log.contains("left behind"), "{log}");
}
