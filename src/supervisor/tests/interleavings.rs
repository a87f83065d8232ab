//! Two things at once, and what must come of them: the seventeen of the design, by number.

use super::stage::{MIN, Stage, needs, overlapping, run, service, with_role};
use crate::manifest::{Condition, Name, RoleArn, Service};
use crate::supervisor::{Command, Event, Exit, State, Want};

const LIFE: u64 = 60 * MIN;

#[test]
fn i01_a_fresh_lease_during_backoff_changes_nothing_but_the_next_start() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    assert_eq!(stage.said(), ["ask a"]);
    stage.over("a", 1, 1);
    let (crashes, status) = (stage.view("a").crashes, stage.view("a").status);
    let fresh = stage.grant("a", LIFE);
    assert_eq!((stage.view("a").crashes, stage.view("a").status), (crashes, status));
    assert_eq!(stage.said(), ["forget 1"]);
    stage.pass(1_000);
    assert_eq!(stage.said(), [format!("spawn a#2 on {fresh}")]);
}

#[test]
fn i02_an_exit_before_our_signal_is_a_crash_and_after_it_the_end_of_the_replacement() {
    for (signal_first, crashes) in [(false, 1), (true, 0)] {
        let mut stage = Stage::new(vec![with_role("a")]);
        stage.bring_up(&["a"]);
        stage.until_asked(&["a"]);
        stage.grant("a", LIFE);
        if signal_first {
            stage.until_said("replace a#1");
        }
        stage.over("a", 1, 7);
        assert_eq!(stage.view("a").crashes, crashes);
        stage.pass(1_000);
        let spawned = stage.said().pop().expect("a second run");
        assert!(spawned.starts_with("spawn a#2 on 2"), "{spawned}");
    }
}

#[test]
fn i03_a_restart_while_a_rotation_stops_it_is_one_stop_and_one_start_with_both_reasons() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", LIFE);
    stage.until_said("replace a#1");
    assert_eq!(stage.said(), ["ask a", "forget 1", "replace a#1"]);
    stage.restart("a");
    assert_eq!(stage.said(), [""; 0], "the lease asked for the rotation counts as fresh");
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 on 2 (credentials, restart (alice))"]);
    stage.started("a", 2);
    stage.pass(10 * MIN);
    assert_eq!(stage.said(), [""; 0]);
}

#[test]
fn i04_a_second_restart_joins_before_the_spawn_and_is_one_more_after_it() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.restart("a");
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["replace a#1", "spawn a#2 (restart (alice))"]);
    stage.restart("a");
    assert_eq!(stage.said(), ["replace a#2"]);
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), ["spawn a#3 (restart (alice))"]);
    let by = crate::supervisor::By { uid: 1, user: "bob".into() };
    let command = Command::Restart { services: vec![Name::new("a")], timeout: None, no_deps: false, force: false };
    stage.event(Event::Commanded { request: "same".into(), by: by.clone(), command: command.clone() });
    assert_eq!(stage.said(), ["replace a#3"]);
    stage.over("a", 3, 0);
    stage.said();
    stage.event(Event::Commanded { request: "same".into(), by, command });
    assert_eq!(stage.said(), [""; 0], "the same request twice is once");
}

fn in_overlap() -> Stage {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", LIFE);
    stage.until_said("spawn a#2");
    assert_eq!(stage.said(), ["ask a", "forget 1", "spawn a#2 on 2 (credentials)"]);
    stage.started("a", 2);
    stage
}

#[test]
fn an_overlap_switches_when_the_new_run_is_ready() {
    let mut stage = in_overlap();
    stage.ready("a", 2);
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!((stage.view("a").rotations, stage.view("a").crashes, stage.view("a").run), (1, 0, Some(2)));
}

#[test]
fn i05_stop_and_start_during_an_overlap_ends_both_newer_first_and_starts_once() {
    let mut stage = in_overlap();
    stage.stop("a");
    assert_eq!(stage.said(), ["stop a#2", "stop a#1"]);
    stage.start("a");
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), [""; 0], "it waits for both trees");
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#3 on 2"]);
}

#[test]
fn i06_an_edit_during_an_overlap_ends_the_newer_run_and_never_makes_three() {
    let mut stage = in_overlap();
    let edited = Service { stop_timeout: std::time::Duration::from_secs(9), ..overlapping("a") };
    stage.load(vec![edited]);
    assert_eq!(stage.said(), ["stop a#2"]);
    stage.pass(5_000);
    assert_eq!(stage.said(), [""; 0]);
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), ["spawn a#3 on 2 (manifest changed, credentials)"]);
}

#[test]
fn i06_a_fresher_lease_alone_leaves_the_second_run_be() {
    let mut stage = in_overlap();
    stage.command(Command::Refresh { services: vec![] });
    stage.pass(1_000);
    assert_eq!(stage.said(), [""; 0]);
}

#[test]
fn i07_the_old_run_dies_during_an_overlap_and_the_new_one_is_an_ordinary_start() {
    let mut stage = in_overlap();
    stage.over("a", 1, 1);
    assert_eq!((stage.view("a").crashes, stage.view("a").state), (0, State::Starting));
    stage.ready("a", 2);
    assert_eq!(stage.said(), [""; 0]);
    assert_eq!(stage.view("a").state, State::Running);
}

#[test]
fn i08_a_new_run_that_never_gets_ready_is_ended_and_the_old_one_stays_past_expiry() {
    let mut stage = in_overlap();
    stage.pass(20_000);
    assert_eq!(stage.said(), ["stop a#2"]);
    stage.over("a", 2, 0);
    stage.pass(500);
    assert_eq!(stage.said(), [""; 0], "backoff");
    stage.pass(500);
    assert_eq!(stage.said(), ["spawn a#3 on 2 (credentials)"], "the lease still has half its life");
    stage.pass(20_000);
    stage.over("a", 3, 0);
    // By now less than half a life is left of it: the next try waits for a lease worth the trouble.
    stage.pass(60 * MIN);
    let view = stage.view("a");
    assert_eq!(view.run, Some(stage.supervisor.view(stage.now, "a").and_then(|view| view.run).expect("runs")));
    assert!(view.credentials.starts_with("EXPIRED"), "{}", view.credentials);
    assert!(view.why.is_some_and(|why| why.contains("new run not ready")));
    assert_eq!(view.pid, Some(4001), "the old run serves on");
}

#[test]
fn i09_sts_down_and_a_crash_starts_at_once_on_what_is_held_or_waits_with_the_reason() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.refuse("a", "Unreachable", false);
    stage.over("a", 1, 1);
    stage.pass(650);
    assert!(stage.said().contains(&"spawn a#2 on 1".to_owned()), "12 minutes left are enough");
    stage.pass(20 * MIN);
    stage.said();
    stage.over("a", 2, 1);
    stage.pass(2_000);
    assert!(stage.said().iter().all(|word| word == "ask a"));
    let view = stage.view("a");
    assert_eq!((view.state, view.status.as_str()), (State::Waiting, "waiting for credentials: Unreachable"));
    assert!(view.why.is_some());
    while stage.view("a").state == State::Waiting {
        stage.pass(1_000);
        if stage.asking("a") {
            stage.grant("a", LIFE);
        }
    }
    assert_eq!(stage.view("a").state, State::Starting);
}

#[test]
fn i10_a_hold_outlives_the_lease_and_release_replaces_at_once() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    stage.until_asked(&["a"]);
    stage.grant("a", 2 * LIFE);
    stage.pass(14 * MIN);
    assert_eq!(stage.said(), ["ask a", "forget 1"]);
    let view = stage.view("a");
    assert!(view.credentials.starts_with("EXPIRED"), "{}", view.credentials);
    assert!(view.status.contains("held by alice"), "{}", view.status);
    stage.command(Command::Release { service: Name::new("a") });
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn i10_under_a_hold_crashes_restart_and_people_are_obeyed_but_an_edit_waits() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    stage.over("a", 1, 1);
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn a#2 on 1"]);
    stage.started("a", 2);
    stage.load(vec![Service { stop_signal: 2, ..with_role("a") }]);
    assert_eq!(stage.said(), [""; 0]);
    assert!(stage.view("a").why.is_some_and(|why| why.contains("manifest changed")));
    stage.restart("a");
    stage.grant("a", LIFE);
    assert!(stage.said().contains(&"replace a#2".to_owned()));
    stage.over("a", 2, 0);
    stage.stop("a");
    stage.over("a", 3, 0);
    assert_eq!(stage.view("a").want, Want::Down);
}

#[test]
fn i11_a_role_changed_while_an_ask_is_in_flight_drops_its_answer_and_keeps_the_old_run() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    let old = stage.asked("a");
    let mut edited = with_role("a");
    edited.role.as_mut().expect("has one").arn = RoleArn::checked("arn:aws:iam::033145145979:role/other");
    stage.load(vec![edited]);
    assert_eq!(stage.said(), ["ask a", "forget 1", "ask a"]);
    stage.grant_late(old, "a", LIFE);
    assert_eq!(stage.said(), [format!("forget {}", old.0)], "zeroized, not used");
    stage.refuse("a", "AccessDenied", true);
    assert_eq!(stage.view("a").state, State::Running, "refused: the old one stays");
    stage.pass(2 * MIN);
    let fresh = stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["ask a", "replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), [format!("spawn a#2 on {fresh} (manifest changed, credentials)")]);
}

#[test]
fn i12_after_a_resume_every_expired_run_is_replaced_as_its_lease_comes() {
    let names = ["a", "b", "c"];
    let mut stage = Stage::new(names.map(with_role).to_vec());
    stage.bring_up(&names);
    stage.suspend(3 * LIFE);
    let mut said = stage.said();
    said.sort();
    assert_eq!(said, ["ask a", "ask b", "ask c"]);
    for name in names {
        stage.grant(name, LIFE);
    }
    said = stage.said();
    said.retain(|word| word.starts_with("replace"));
    assert_eq!(said, ["replace a#1", "replace b#1", "replace c#1"], "expired runs do not wait in the lane");
}

#[test]
fn i13_late_reports_are_dropped_and_an_exit_before_spawn_returned_is_a_failed_start() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.said();
    stage.ready("a", 1);
    stage.exited("a", 1, 3);
    assert_eq!((stage.view("a").state, stage.view("a").crashes), (State::Starting, 0));
    stage.exited("a", 2, 1);
    stage.started("a", 2);
    assert_eq!(stage.view("a").crashes, 1);
    stage.event(Event::Gone { run: run("a", 2) });
    assert_eq!(stage.view("a").state, State::Backoff);
}

#[test]
fn i14_nothing_starts_after_down_and_it_ends_only_when_every_tree_is_empty() {
    let mut stage = Stage::new(vec![overlapping("a"), with_role("b"), with_role("c")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", LIFE);
    stage.until_said("spawn a#2");
    stage.grant("b", LIFE);
    stage.said();
    let late = stage.asked("c");
    stage.command(Command::Shutdown { timeout: None });
    let mut said = stage.said();
    said.sort();
    assert_eq!(said, ["stop a#1", "stop a#2", "stop b#1"], "a shim before exec is stopped like a run");
    stage.grant_late(late, "c", LIFE);
    assert_eq!(stage.said(), [format!("forget {}", late.0)]);
    stage.start("c");
    assert_eq!(stage.said(), [""; 0]);
    stage.command(Command::KillAll);
    assert_eq!(stage.said(), ["kill a#1", "kill a#2", "kill b#1"]);
    stage.over("a", 2, 0);
    stage.over("a", 1, 0);
    assert!(!stage.said().contains(&"finished".to_owned()));
    stage.over("b", 1, 0);
    assert!(stage.said().contains(&"finished".to_owned()));
}

#[test]
fn i15_both_ends_of_an_edge_are_replaced_dependency_first() {
    let mut stage = Stage::new(vec![needs(with_role("a"), "b", Condition::Ready), with_role("b")]);
    stage.bring_up(&["b", "a"]);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.until_asked(&["a", "b"]);
    for name in ["a", "b"] {
        stage.grant(name, LIFE);
    }
    stage.pass(4 * MIN);
    let mut said = stage.said();
    said.retain(|word| word.starts_with("replace"));
    assert_eq!(said, ["replace b#1"]);
    stage.over("b", 1, 0);
    stage.started("b", 2);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["replace a#1"], "as soon as the dependency is ready");
}

#[test]
fn i15_its_own_deadline_presses_harder_than_the_edge() {
    let mut stage = Stage::new(vec![needs(with_role("a"), "b", Condition::Ready), with_role("b")]);
    stage.bring_up(&["b", "a"]);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.until_asked(&["a", "b"]);
    for name in ["a", "b"] {
        stage.grant(name, LIFE);
    }
    let left = |stage: &Stage| stage.view("a").lease.map_or(0, |lease| lease.left_ms);
    while left(&stage) > 13_000 {
        stage.pass(1_000);
    }
    assert!(!stage.said().contains(&"replace a#1".to_owned()), "b hangs in its stop");
    stage.until_said("replace a#1");
    assert!(left(&stage) > 0, "before it expires");
}

#[test]
fn i16_what_sigkill_does_not_end_is_named_and_holds_up_nobody_else() {
    let mut stage = Stage::new(vec![with_role("a"), with_role("b")]);
    stage.bring_up(&["a", "b"]);
    stage.until_asked(&["a", "b"]);
    for name in ["a", "b"] {
        stage.grant(name, LIFE);
    }
    stage.pass(3 * MIN);
    let first = stage.said().into_iter().find(|word| word.starts_with("replace")).expect("one goes first");
    let (stuck, other) = if first.contains("a#1") { ("a", "b") } else { ("b", "a") };
    stage.event(Event::Survived { run: run(stuck, 1), who: vec!["pid 812 (D state)".into()] });
    assert_eq!(stage.said(), [format!("replace {other}#1")], "the lane is free");
    let view = stage.view(stuck);
    assert_eq!(view.state, State::Stopping);
    assert!(view.why.is_some_and(|why| why.contains("pid 812 (D state)")));
    stage.pass(10 * MIN);
    assert!(!stage.said().iter().any(|word| word.starts_with(&format!("spawn {stuck}"))));
}

#[test]
fn i17_a_crash_while_the_dependency_rotates_waits_for_it_and_counts_once() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), with_role("b")]);
    stage.bring_up(&["b"]);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.until_asked(&["b"]);
    stage.grant("b", LIFE);
    stage.pass(4 * MIN);
    assert!(stage.said().contains(&"replace b#1".to_owned()));
    stage.event(Event::Exited { run: run("a", 1), exit: Exit::Code(1) });
    stage.event(Event::Gone { run: run("a", 1) });
    stage.pass(5_000);
    let view = stage.view("a");
    assert_eq!((view.status.as_str(), view.crashes), ("waiting for b", 1));
    stage.over("b", 1, 0);
    stage.started("b", 2);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn a#2"]);
    assert_eq!(stage.view("a").crashes, 1);
}
