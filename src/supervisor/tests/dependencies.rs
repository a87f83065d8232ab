//! What a start waits for, and how that is said.

use super::stage::{MIN, Stage, checked, needs, service};
use crate::manifest::{Condition, Name, Restart, Service};
use crate::supervisor::{Command, State};

fn one_shot(name: &str) -> Service {
    Service { restart: Restart::Never, ..service(name) }
}

/// Status, why, next of `a`.
fn words(stage: &Stage) -> [String; 3] {
    let view = stage.view("a");
    [view.status, view.why.unwrap_or_default(), view.next.unwrap_or_default()]
}

#[test]
fn who_waits_for_ready_says_what_is_not_ready_and_why() {
    let mut stage = Stage::new(vec![needs(service("a"), "db", Condition::Ready), checked(service("db"))]);
    stage.started("db", 1);
    stage.pass(4_000);
    stage.not_ready("db", 1, "connection refused");
    let waits = ["waiting for db", "db is starting 4s: not ready yet: connection refused", "starts when db is ready"];
    assert_eq!(words(&stage), waits);
    assert_eq!(stage.view("a").waits_for, [Name::new("db")]);
    stage.pass(16_000);
    let late = "db is starting 20s, not ready in time: not ready after 20s: connection refused";
    assert_eq!(words(&stage)[1], late);
    stage.said();
    stage.ready("db", 1);
    assert_eq!(stage.said(), ["spawn a#1"]);
    assert!(stage.view("a").waits_for.is_empty());
}

#[test]
fn started_is_met_by_a_process_and_by_a_one_shot_that_is_done() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Started), checked(one_shot("b"))]);
    assert_eq!(words(&stage), ["waiting for b", "b is starting 0s", "starts when b has started"]);
    stage.said();
    stage.started("b", 1);
    assert_eq!(stage.said(), ["spawn a#1"]);
    let mut stage = Stage::new(vec![checked(one_shot("b"))]);
    stage.started("b", 1);
    stage.over("b", 1, 0);
    stage.said();
    stage.load(vec![needs(service("a"), "b", Condition::Started), checked(one_shot("b"))]);
    stage.start("a");
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn s13_completed_is_met_by_exit_0_and_by_nothing_else() {
    let services = || vec![needs(service("a"), "migrate", Condition::Completed), one_shot("migrate")];
    let mut stage = Stage::new(services());
    stage.started("migrate", 1);
    stage.pass(2_000);
    let waits =
        ["waiting for migrate to complete", "migrate is running (ready)", "starts when migrate has ended with exit 0"];
    assert_eq!(words(&stage), waits);
    stage.said();
    stage.over("migrate", 1, 0);
    assert_eq!(stage.said(), ["spawn a#1"]);

    let mut stage = Stage::new(services());
    stage.started("migrate", 1);
    stage.over("migrate", 1, 1);
    stage.said();
    stage.pass(MIN);
    assert_eq!(stage.said(), [""; 0]);
    let failed = [
        "waiting for migrate, which failed: exit 1",
        "migrate failed: exit 1: the last run ended with exit 1",
        "`devsup restart migrate` tries again",
    ];
    assert_eq!(words(&stage), failed);
    stage.restart("migrate");
    stage.started("migrate", 2);
    stage.over("migrate", 2, 0);
    assert_eq!(stage.said(), ["spawn migrate#2 (restart (alice))", "spawn a#1"]);
}

#[test]
fn a_one_shot_that_did_not_start_is_told_apart_from_one_that_failed() {
    let mut stage = Stage::new(vec![needs(service("a"), "migrate", Condition::Completed), one_shot("migrate")]);
    let run = super::stage::run("migrate", 1);
    stage.event(crate::supervisor::Event::StartFailed { run: run.clone(), what: "no such file".into() });
    stage.event(crate::supervisor::Event::Gone { run });
    assert_eq!(words(&stage)[0], "waiting for migrate, which did not start");
    assert_eq!(words(&stage)[1], "migrate failed: did not start: no such file");
}

#[test]
fn ready_of_a_one_shot_is_met_if_it_was_ready_before_it_ended_and_else_says_so() {
    for (lived, met) in [(1_000, true), (999, false)] {
        let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), one_shot("b")]);
        stage.stop("a");
        stage.started("b", 1);
        stage.pass(lived);
        stage.over("b", 1, 0);
        stage.said();
        stage.start("a");
        if met {
            assert_eq!(stage.said(), ["spawn a#1"]);
            continue;
        }
        assert_eq!(stage.said(), [""; 0]);
        let [status, why, next] = words(&stage);
        assert_eq!(status, "waiting for b, which is done and was never ready");
        assert_eq!(why, "b ended with exit 0 before it was ready");
        assert!(next.contains("\"completed\" is the condition"), "{next}");
    }
}

#[test]
fn a_dependency_that_a_person_stopped_is_named_as_stopped() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.stop("b");
    stage.over("b", 1, 0);
    let stopped =
        ["waiting for b, which is stopped", "b is stopped, and nothing starts it by itself", "`devsup start b`"];
    assert_eq!(words(&stage), stopped);
    stage.start("b");
    stage.started("b", 2);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn what_nothing_will_come_of_is_said_first() {
    let mut a = needs(service("a"), "b", Condition::Ready);
    a = needs(a, "migrate", Condition::Completed);
    let mut stage = Stage::new(vec![a, checked(service("b")), one_shot("migrate")]);
    assert_eq!(words(&stage)[0], "waiting for b");
    stage.started("migrate", 1);
    stage.over("migrate", 1, 2);
    assert_eq!(words(&stage)[0], "waiting for migrate, which failed: exit 2");
    assert_eq!(stage.view("a").waits_for, [Name::new("b"), Name::new("migrate")]);
}

#[test]
fn a_chain_is_told_to_its_root() {
    let mut stage = Stage::new(vec![
        needs(service("a"), "b", Condition::Ready),
        needs(service("b"), "c", Condition::Ready),
        checked(service("c")),
    ]);
    stage.started("c", 1);
    stage.pass(2_000);
    assert_eq!(words(&stage)[1], "b is waiting for c: c is starting 2s");
}

#[test]
fn a_dependency_that_does_not_start_by_itself_is_pulled_in() {
    let mut stage = Stage::new(vec![]);
    let b = Service { autostart: false, ..service("b") };
    stage.load(vec![needs(service("a"), "b", Condition::Started), b]);
    stage.start("a");
    assert_eq!(stage.said(), ["spawn b#1"]);
    stage.started("b", 1);
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn the_dependents_of_a_crash_loop_wait_and_say_for_what() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    for number in 1..4 {
        stage.started("b", number);
        stage.over("b", number, 1);
        assert_eq!(stage.view("b").state, State::Backoff);
        assert!(words(&stage)[1].starts_with("b is in backoff, again in "), "{:?}", words(&stage));
        stage.pass(10_000);
    }
    assert_eq!(stage.said(), ["spawn b#1", "spawn b#2", "spawn b#3", "spawn b#4"]);
    assert_eq!((stage.view("a").state, stage.view("a").crashes), (State::Waiting, 0));
}

#[test]
fn s42_a_flapping_dependency_starts_its_dependents_once_and_leaves_them_alone() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.started("b", 1);
    stage.over("b", 1, 1);
    stage.until_said("spawn b#2");
    stage.started("b", 2);
    stage.pass(1_000);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.said();
    for number in 2..6 {
        stage.over("b", number, 1);
        stage.until_said(&format!("spawn b#{}", number + 1));
        stage.started("b", number + 1);
        stage.pass(1_500);
    }
    assert!(stage.said().iter().all(|said| said.contains(" b#")), "a keeps its run");
    assert_eq!((stage.view("a").run, stage.view("a").state), (Some(1), State::Running));
}

#[test]
fn a_crash_of_the_dependent_waits_for_the_condition_again_but_not_for_what_was_stopped() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), checked(service("b"))]);
    stage.bring_up(&["b"]);
    stage.started("a", 1);
    stage.over("b", 1, 1);
    stage.over("a", 1, 1);
    stage.pass(10_000);
    assert_eq!(stage.view("a").status, "waiting for b");
    stage.said();
    stage.stop("b");
    assert!(stage.said().contains(&"spawn a#2".to_owned()));
}

#[test]
fn s43_followers_of_a_replacement_are_asked_once_while_held() {
    let mut follower = needs(service("b"), "a", Condition::Started);
    follower.depends_on.get_mut("a").expect("just set").restart = true;
    let mut stage = Stage::new(vec![service("a"), follower, needs(service("c"), "a", Condition::Started)]);
    stage.bring_up(&["a"]);
    stage.bring_up(&["b", "c"]);
    stage.hold("b");
    for number in 1..4 {
        stage.restart("a");
        stage.over("a", number, 0);
        stage.started("a", number + 1);
        stage.pass(1_000);
    }
    let why = stage.view("b").why;
    assert_eq!(why.as_deref(), Some("to be replaced once released: a was replaced"), "told once");
    stage.said();
    stage.release("b");
    assert_eq!(stage.said(), ["replace b#1"]);
    stage.over("b", 1, 0);
    stage.started("b", 2);
    stage.pass(MIN);
    assert_eq!(stage.said(), ["spawn b#2 (a was replaced)"]);
}

#[test]
fn a_replacement_is_not_held_up_by_what_has_gone_since() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.bring_up(&["b"]);
    stage.started("a", 1);
    stage.over("b", 1, 1);
    stage.said();
    stage.restart("a");
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["replace a#1", "spawn a#2 (restart (alice))"]);
}

#[test]
fn an_edit_is_one_more_chance_for_what_has_failed() {
    let mut stage = Stage::new(vec![one_shot("a")]);
    stage.started("a", 1);
    stage.over("a", 1, 1);
    stage.said();
    stage.load(vec![Service { stop_timeout: std::time::Duration::from_secs(9), ..one_shot("a") }]);
    assert_eq!(stage.said(), ["spawn a#2"]);
}

#[test]
fn without_dependencies_nothing_is_waited_for() {
    let mut stage = Stage::new(vec![]);
    stage.load(vec![needs(service("a"), "b", Condition::Completed), service("b")]);
    stage.command(Command::Start { services: vec![Name::new("a")], no_deps: true });
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn in_an_overlap_the_old_run_still_meets_the_condition() {
    use super::stage::overlapping;
    let mut stage = Stage::new(vec![overlapping("b")]);
    stage.bring_up(&["b"]);
    stage.load(vec![needs(service("a"), "b", Condition::Ready), overlapping("b")]);
    stage.health("b", 1, Some("timeout"));
    stage.health("b", 1, None);
    stage.said();
    stage.start("a");
    assert_eq!(stage.said(), ["spawn a#1"], "b#2 is beside b#1, which serves");
}
