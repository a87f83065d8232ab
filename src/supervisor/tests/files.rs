//! A watched file changes.

use super::stage::{MIN, Stage, needs, service, with_role};
use crate::manifest::{Condition, Restart, Service};
use crate::supervisor::State;

#[test]
fn a_change_replaces_the_run_and_names_the_file() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.changed("a", "src/x.py");
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 (file changed: src/x.py)"]);
    stage.started("a", 2);
    stage.pass(MIN);
    assert_eq!((stage.said(), stage.view("a").crashes), (Vec::new(), 0));
}

#[test]
fn changes_join_while_a_replacement_is_pending_and_after_the_spawn_are_one_more() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    for path in ["src/x.py", "src/y.py", "src/x.py", "src/z.py", "src/y.py"] {
        stage.changed("a", path);
    }
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["replace a#1", "spawn a#2 (file changed: src/x.py (and 2 more))"]);
    stage.started("a", 2);
    stage.pass(1_000);
    stage.changed("a", "src/y.py");
    assert_eq!(stage.said(), ["replace a#2"]);
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), ["spawn a#3 (file changed: src/y.py)"]);
}

#[test]
fn a_change_ends_a_backoff_and_clears_the_count() {
    let mut stage = Stage::new(vec![service("a")]);
    for number in 1..5 {
        stage.started("a", number);
        stage.over("a", number, 1);
        stage.pass(if number < 4 { 10_000 } else { 0 });
    }
    stage.said();
    stage.changed("a", "src/x.py");
    assert_eq!(stage.said(), ["spawn a#5 (file changed: src/x.py)"]);
    assert_eq!(stage.view("a").crashes, 0);
}

#[test]
fn a_change_starts_again_what_failed_and_what_was_done() {
    for (restart, code, state) in
        [(Restart::Never, 1, State::Failed), (Restart::OnFailure, 0, State::Done), (Restart::Never, 0, State::Done)]
    {
        let watch = vec!["src/**".to_owned()];
        let mut stage = Stage::new(vec![Service { restart, watch, ..service("a") }]);
        stage.started("a", 1);
        stage.over("a", 1, code);
        assert_eq!(stage.view("a").state, state);
        stage.said();
        stage.changed("a", "src/x.py");
        assert_eq!(stage.said(), ["spawn a#2 (file changed: src/x.py)"]);
    }
}

#[test]
fn a_change_while_it_runs_is_not_forgotten_when_it_ends_by_itself() {
    let mut stage = Stage::new(vec![Service { restart: Restart::Never, ..service("a") }]);
    stage.bring_up(&["a"]);
    stage.debugger = Some("gdb (pid 812)".into());
    stage.changed("a", "src/x.py");
    assert_eq!(stage.said(), [""; 0]);
    assert_eq!(
        stage.view("a").why.as_deref(),
        Some("not replaced while gdb (pid 812) is attached: file changed: src/x.py")
    );
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 (file changed: src/x.py)"]);
}

#[test]
fn under_a_hold_it_waits_and_says_so() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    stage.changed("a", "src/x.py");
    assert_eq!(stage.said(), [""; 0]);
    let why = stage.view("a").why;
    assert_eq!(why.as_deref(), Some("to be replaced once released: file changed: src/x.py"));
    stage.release("a");
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn under_a_hold_what_has_ended_is_not_started_until_released() {
    for (code, word) in [(0, "runs again once released"), (1, "starts again once released")] {
        let mut stage = Stage::new(vec![Service { restart: Restart::Never, ..service("a") }]);
        stage.started("a", 1);
        stage.over("a", 1, code);
        stage.hold("a");
        stage.said();
        stage.changed("a", "src/x.py");
        stage.pass(MIN);
        assert_eq!(stage.said(), [""; 0]);
        assert!(stage.view("a").next.is_some_and(|next| next.starts_with(word)));
        assert!(stage.view("a").why.is_some_and(|why| why.contains("file changed: src/x.py")), "{code}");
        stage.release("a");
        assert_eq!(stage.said(), ["spawn a#2 (file changed: src/x.py)"]);
    }
}

#[test]
fn nothing_comes_of_it_when_it_is_down_or_has_never_run() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.stop("a");
    stage.over("a", 1, 0);
    stage.said();
    stage.changed("a", "src/x.py");
    assert_eq!(stage.said(), [""; 0]);
    stage.start("a");
    assert_eq!(stage.said(), ["spawn a#2"], "and is no reason later");
    stage.started("a", 2);
    stage.hold("a");
    stage.changed("a", "src/x.py");
    stage.stop("a");
    stage.over("a", 2, 0);
    stage.said();
    stage.start("a");
    assert_eq!(stage.said(), ["spawn a#3"], "nor is what a hold kept waiting");
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.changed("a", "src/x.py");
    stage.started("b", 1);
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn b#1", "spawn a#1"]);
}

#[test]
fn a_change_and_a_restart_are_one_replacement_with_both_reasons() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.changed("a", "src/x.py");
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.pass(10_000);
    let said = stage.said();
    assert_eq!(said.iter().filter(|said| said.starts_with("spawn")).count(), 1, "{said:?}");
    assert!(said.iter().any(|said| said.ends_with("(file changed: src/x.py, restart (alice))")), "{said:?}");
}
