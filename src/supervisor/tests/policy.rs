//! Restart policy, backoff, holds, order, keepers: one rule a test.

use std::time::Duration;

use super::stage::{MIN, Stage, needs, run, service};
use crate::manifest::{Condition, Name, Restart, Service};
use crate::supervisor::{By, Command, Event, State};

#[test]
fn dependents_follow_a_replacement_when_they_asked_to() {
    let mut follower = needs(service("b"), "a", Condition::Started);
    follower.depends_on.get_mut("a").expect("just set").restart = true;
    let mut stage = Stage::new(vec![service("a"), follower]);
    stage.bring_up(&["a"]);
    stage.started("b", 1);
    stage.pass(1_000);
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["replace b#1"]);
}

#[test]
fn backoff_doubles_is_capped_and_a_person_does_not_wait_for_it() {
    let mut stage = Stage::new(vec![service("a")]);
    let mut waits = Vec::new();
    for number in 1..12 {
        stage.started("a", number);
        stage.said();
        stage.over("a", number, 1);
        let mut wait = 0;
        while stage.said().is_empty() {
            stage.pass(10);
            wait += 10;
        }
        waits.push(wait);
    }
    for (at, &wait) in waits.iter().enumerate() {
        let plain = (500u64 << at).min(30_000);
        assert!((plain * 8 / 10..=plain * 12 / 10 + 10).contains(&wait), "{at}: {wait} around {plain}");
    }
    stage.started("a", 12);
    stage.over("a", 12, 1);
    assert_eq!((stage.view("a").state, stage.view("a").crashes), (State::Backoff, 12));
    stage.restart("a");
    assert_eq!(stage.said(), ["spawn a#13 (restart (alice))"]);
    assert_eq!(stage.view("a").crashes, 0);
}

#[test]
fn health_clears_the_crash_counter() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.started("a", 1);
    stage.over("a", 1, 1);
    stage.pass(1_000);
    stage.started("a", 2);
    stage.pass(2 * MIN);
    stage.over("a", 2, 1);
    assert_eq!(stage.view("a").crashes, 1);
}

#[test]
fn the_restart_policy_decides_what_an_exit_means() {
    for (restart, code, state) in [
        (Restart::Always, 0, State::Backoff),
        (Restart::OnFailure, 0, State::Done),
        (Restart::OnFailure, 1, State::Backoff),
        (Restart::Never, 0, State::Done),
        (Restart::Never, 1, State::Failed),
    ] {
        let mut stage = Stage::new(vec![Service { restart, ..service("a") }]);
        stage.started("a", 1);
        stage.over("a", 1, code);
        assert_eq!(stage.view("a").state, state, "{restart:?} {code}");
    }
}

#[test]
fn max_restarts_gives_up_and_a_person_begins_anew() {
    let mut stage = Stage::new(vec![Service { max_restarts: Some(2), ..service("a") }]);
    for number in 1..=3 {
        stage.started("a", number);
        stage.over("a", number, 1);
        stage.pass(MIN);
    }
    assert_eq!((stage.view("a").state, stage.view("a").status.as_str()), (State::Failed, "failed: exit 1"));
    stage.said();
    stage.start("a");
    assert_eq!(stage.said(), ["spawn a#4"]);
}

#[test]
fn another_ones_hold_is_not_restarted_over_without_force() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    let bob = By { uid: 1001, user: "bob".into() };
    let restart = |force| Command::Restart { services: vec![Name::new("a")], timeout: None, no_deps: false, force };
    let refused = stage.supervisor.refuses(&bob, &restart(false)).expect("held by alice");
    assert!(refused.contains("held by alice") && refused.contains("--force"), "{refused}");
    assert_eq!(stage.supervisor.refuses(&bob, &restart(true)), None);
}

#[test]
fn a_hold_for_a_while_ends_by_itself() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.command(Command::Hold { service: Name::new("a"), lasts: Some(Duration::from_mins(5)) });
    stage.pass(5 * MIN - 1);
    assert!(stage.view("a").held.is_some());
    stage.pass(1);
    assert!(stage.view("a").held.is_none());
}

#[test]
fn dependencies_start_first_and_stop_last() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    assert_eq!(stage.said(), ["spawn b#1"]);
    assert_eq!(stage.view("a").status, "waiting for b");
    stage.started("b", 1);
    stage.pass(999);
    assert_eq!(stage.said(), [""; 0]);
    stage.pass(1);
    assert_eq!(stage.said(), ["spawn a#1"]);
    stage.started("a", 1);
    stage.command(Command::Shutdown { timeout: None });
    assert_eq!(stage.said(), ["stop a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["stop b#1"]);
    stage.over("b", 1, 0);
    assert_eq!(stage.said(), ["finished"]);
}

#[test]
fn starting_one_starts_what_it_needs_unless_told_not_to() {
    let services = || vec![needs(service("a"), "b", Condition::Started), service("b")];
    let mut stage = Stage::new(services());
    stage.command(Command::Shutdown { timeout: None });
    for (no_deps, first) in [(false, "spawn b#1"), (true, "spawn a#1")] {
        let mut stage = Stage::new(vec![]);
        stage.load(services());
        stage.command(Command::Start { services: vec![Name::new("a")], no_deps });
        assert_eq!(stage.said(), [first]);
    }
}

#[test]
fn a_person_who_stops_a_dependency_does_not_stop_what_runs_from_restarting() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.bring_up(&["b"]);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.stop("b");
    stage.over("b", 1, 0);
    stage.over("a", 1, 1);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn a#2"]);
}

#[test]
fn a_keeper_that_does_not_answer_is_helped_from_outside() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.stop("a");
    assert_eq!(stage.said(), ["stop a#1"]);
    stage.pass(11_900);
    assert_eq!(stage.said(), [""; 0], "the keeper sends SIGKILL itself after 10 s");
    stage.pass(200);
    assert_eq!(stage.said(), ["kill a#1"]);
}

#[test]
fn a_second_stop_may_only_shorten_the_first() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.stop("a");
    assert_eq!(stage.said(), ["stop a#1"]);
    let stop = |seconds| Command::Stop { services: vec![Name::new("a")], timeout: Some(Duration::from_secs(seconds)) };
    stage.command(stop(60));
    assert_eq!(stage.said(), [""; 0]);
    stage.command(stop(1));
    assert_eq!(stage.said(), ["stop a#1"]);
    stage.command(Command::Shutdown { timeout: Some(Duration::ZERO) });
    assert_eq!(stage.said(), ["stop a#1"]);
}

#[test]
fn never_restarted_means_never_though_no_process_came_of_it() {
    let mut stage = Stage::new(vec![Service { restart: Restart::Never, ..service("a") }]);
    stage.event(Event::StartFailed { run: run("a", 1), what: "no such file".into() });
    stage.event(Event::Gone { run: run("a", 1) });
    assert_eq!(stage.view("a").state, State::Failed);
}

#[test]
fn restart_without_dependencies_leaves_them_down() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Started), service("b")]);
    stage.bring_up(&["b"]);
    stage.started("a", 1);
    stage.stop("b");
    stage.over("b", 1, 0);
    stage.said();
    let services = vec![Name::new("a")];
    stage.command(Command::Restart { services, timeout: None, no_deps: true, force: false });
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn a_lost_keeper_is_a_crash_with_its_reason() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.event(Event::KeeperLost { run: run("a", 1), what: "its keeper was killed (signal 9)".into() });
    stage.event(Event::Gone { run: run("a", 1) });
    let view = stage.view("a");
    assert_eq!((view.state, view.crashes), (State::Backoff, 1));
    assert_eq!(view.why.as_deref(), Some("its keeper was killed (signal 9)"));
}

#[test]
fn an_earlier_devsups_keeper_holds_up_its_service_only() {
    let mut stage = Stage::new(vec![]);
    stage.load(vec![service("a"), service("b")]);
    let earlier = "run 4 of an earlier devsup, keeper 812".to_owned();
    stage.event(Event::Occupied { service: Name::new("a"), by: Some(earlier) });
    stage.command(Command::Start { services: vec![Name::new("a"), Name::new("b")], no_deps: false });
    assert_eq!(stage.said(), ["spawn b#1"]);
    assert!(stage.view("a").status.contains("keeper 812"), "{}", stage.view("a").status);
    stage.event(Event::Occupied { service: Name::new("a"), by: None });
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn a_removed_service_is_stopped_and_forgotten() {
    let mut stage = Stage::new(vec![service("a"), service("b")]);
    stage.bring_up(&["a", "b"]);
    stage.load(vec![service("b")]);
    assert_eq!(stage.said(), ["stop a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.supervisor.views(stage.now).len(), 1);
}
