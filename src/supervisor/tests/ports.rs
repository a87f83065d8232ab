//! Ports: seen to be free before a start, drained before a stop.

use super::stage::{MIN, Stage, checked, handed_over, overlapping, run, service, with_role};
use crate::manifest::{Handover, Listen, Port, Replace};
use crate::supervisor::{Command, Event, Happening, State};

const HELD: &str = "127.0.0.1:8001 is held by pid 812 (python3) of bob";

fn free(stage: &mut Stage, name: &str) {
    stage.port_held = None;
    stage.event(Event::Ports { service: name.into(), trouble: None });
}

#[test]
fn a_start_waits_for_its_port_and_says_who_has_it() {
    let mut stage = Stage::new(vec![]);
    stage.port_held = Some(HELD.into());
    stage.load(vec![handed_over(service("a"), Handover::None)]);
    stage.start("a");
    assert!(stage.said().is_empty());
    let view = stage.view("a");
    assert_eq!((view.state, view.status.as_str()), (State::Waiting, "waiting for its port"));
    assert_eq!(view.why.as_deref(), Some(HELD));
    assert_eq!(view.next.as_deref(), Some("starts when it is free"));
    let held = Happening::PortHeld { what: HELD.into() };
    assert_eq!(stage.happened("a", &held), 1);
    stage.event(Event::Ports { service: "a".into(), trouble: Some(HELD.into()) });
    assert_eq!(stage.happened("a", &held), 0, "what is known is not said again");
    free(&mut stage, "a");
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn who_gives_up_lets_its_ports_go() {
    let mut stage = Stage::new(vec![handed_over(service("a"), Handover::Socket)]);
    stage.bring_up(&["a"]);
    stage.stop("a");
    assert_eq!(stage.said(), ["stop a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["unclaim a"]);
    stage.port_held = Some(HELD.into());
    stage.start("a");
    stage.stop("a");
    assert_eq!(stage.said(), ["unclaim a"]);
    free(&mut stage, "a");
    assert!(stage.said().is_empty(), "an answer to a question that is over");
    assert_eq!(stage.view("a").state, State::Stopped);
}

#[test]
fn a_crash_keeps_what_devsup_holds_and_looks_at_it_again() {
    let mut stage = Stage::new(vec![handed_over(service("a"), Handover::None)]);
    stage.bring_up(&["a"]);
    stage.port_held = Some(HELD.into());
    stage.over("a", 1, 1);
    stage.pass(2_000);
    assert!(stage.said().is_empty());
    assert_eq!(stage.view("a").why.as_deref(), Some(HELD));
    free(&mut stage, "a");
    assert_eq!(stage.said(), ["spawn a#2"]);
}

#[test]
fn what_devsup_cannot_bind_leaves_the_old_run_up() {
    let a = checked(handed_over(service("a"), Handover::Forward));
    let mut stage = Stage::new(vec![a.clone()]);
    stage.bring_up(&["a"]);
    let listen = Listen::At("127.0.0.1:8002".parse().expect("an address"));
    let moved = Port { listen, ..a.ports["http"].clone() };
    stage.port_held = Some(HELD.into());
    stage.load(vec![crate::manifest::Service { ports: [("http".to_owned(), moved)].into(), ..a }]);
    assert!(stage.said().is_empty());
    assert_eq!(stage.view("a").state, State::Running);
    assert_eq!(stage.view("a").why, Some(format!("not replaced: {HELD}")));
    free(&mut stage, "a");
    assert_eq!(stage.said(), ["drain a#1"]);
}

/// It listened there by itself until now. Nobody waits for it to let go, nor can two be there at once.
#[test]
fn what_its_own_run_holds_is_taken_over_when_that_is_gone() {
    for replace in [Replace::Restart, Replace::Overlap] {
        let a = checked(service("a"));
        let mut stage = Stage::new(vec![a.clone()]);
        stage.bring_up(&["a"]);
        stage.port_held = Some(HELD.into());
        stage.load(vec![crate::manifest::Service { replace, ..handed_over(a, Handover::Forward) }]);
        assert!(stage.said().is_empty());
        stage.event(Event::PortsOwn { service: "a".into() });
        assert_eq!(stage.said(), ["replace a#1"]);
        stage.port_held = None;
        stage.over("a", 1, 0);
        assert_eq!(stage.said(), ["spawn a#2 (manifest changed)"]);
    }
}

#[test]
fn what_the_old_run_binds_itself_is_free_only_when_it_is_gone() {
    let old = checked(handed_over(service("a"), Handover::None));
    let mut stage = Stage::new(vec![old.clone()]);
    stage.bring_up(&["a"]);
    stage.port_held = Some(HELD.into());
    let replace = Replace::Overlap;
    stage.load(vec![crate::manifest::Service { replace, ..handed_over(old, Handover::Forward) }]);
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.port_held = None;
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 (manifest changed)"]);
}

#[test]
fn connections_leave_before_the_run_is_told_to_stop() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    assert_eq!(stage.said(), ["drain a#1"]);
    assert_eq!(stage.view("a").status, "draining 0s, 5s at most");
    stage.pass(3_000);
    assert!(stage.said().is_empty());
    stage.event(Event::Drained { run: run("a", 1) });
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.event(Event::Drained { run: run("a", 1) });
    assert!(stage.said().is_empty());
    stage.pass(9_000);
    assert_eq!(stage.view("a").status, "stopping 12s, SIGKILL in 1s", "it has its own grace after the callers'");
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 (restart (alice))"]);
}

#[test]
fn callers_may_finish_for_half_of_what_others_wait_meanwhile() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.pass(4_999);
    assert_eq!(stage.said(), ["drain a#1"]);
    stage.pass(1);
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.pass(9_000);
    assert_eq!(stage.view("a").status, "stopping 14s, SIGKILL in 1s", "its own grace is whole");
}

#[test]
fn in_an_overlap_callers_may_finish_as_long_as_a_stop_may_take() {
    let mut stage = Stage::new(vec![handed_over(overlapping("a"), Handover::Forward)]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", 60 * MIN);
    stage.until_said("spawn a#2");
    stage.said();
    stage.started("a", 2);
    stage.ready("a", 2);
    stage.pass(9_999);
    assert_eq!(stage.said(), ["drain a#1"]);
    stage.pass(1);
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn nobody_is_drained_who_has_no_callers_or_is_not_replaced() {
    let forwarded = |name| checked(handed_over(service(name), Handover::Forward));
    let mut stage = Stage::new(vec![forwarded("a"), forwarded("b")]);
    // Not ready yet.
    stage.started("a", 1);
    stage.restart("a");
    assert!(stage.said().contains(&"replace a#1".to_owned()));
    stage.started("b", 1);
    stage.ready("b", 1);
    stage.stop("b");
    assert_eq!(stage.said(), ["stop b#1"]);
}

#[test]
fn a_person_who_wants_it_down_does_not_wait_for_callers() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    assert_eq!(stage.said(), ["drain a#1"]);
    stage.stop("a");
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["unclaim a"]);
}

#[test]
fn a_shorter_timeout_shortens_the_drain_and_the_stop() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    let timeout = Some(std::time::Duration::from_secs(2));
    stage.command(Command::Restart { services: vec!["a".into()], timeout, no_deps: false, force: false });
    assert_eq!(stage.said(), ["drain a#1"]);
    stage.pass(2_000);
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.pass(1_500);
    assert_eq!(stage.view("a").status, "stopping 3s, SIGKILL in 1s");
}

#[test]
fn the_second_end_kills_what_is_draining() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.said();
    stage.command(Command::KillAll);
    assert_eq!(stage.said(), ["kill a#1"]);
    stage.over("a", 1, 1);
    assert_eq!(stage.said(), ["unclaim a", "finished"]);
}

#[test]
fn in_an_overlap_the_old_run_is_drained_when_the_new_one_is_ready() {
    let mut stage = Stage::new(vec![handed_over(overlapping("a"), Handover::Forward)]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", 60 * MIN);
    stage.until_said("spawn a#2");
    stage.said();
    stage.started("a", 2);
    stage.ready("a", 2);
    assert_eq!(stage.said(), ["drain a#1"]);
    assert_eq!(stage.view("a").state, State::Running);
    assert_eq!(stage.view("a").run, Some(2));
    stage.event(Event::Drained { run: run("a", 1) });
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.exited("a", 1, 0);
    stage.event(Event::Gone { run: run("a", 1) });
    let replaced = Happening::Replaced {
        why: vec![crate::supervisor::Reason::Credentials],
        gap_ms: None,
        waited_ms: Some(0),
        given_up: None,
    };
    assert_eq!(stage.happened("a", &replaced), 1);
}

#[test]
fn an_old_run_that_dies_while_it_drains_is_no_crash() {
    let mut stage = Stage::new(vec![checked(handed_over(with_role("a"), Handover::Forward))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.grant("a", 60 * MIN);
    assert!(stage.said().contains(&"drain a#1".to_owned()));
    stage.over("a", 1, 3);
    assert!(stage.said().iter().any(|word| word.starts_with("spawn a#2")));
    assert_eq!(stage.view("a").crashes, 0);
}

#[test]
fn the_gap_lasts_until_the_new_run_is_ready() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::None))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.pass(40);
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.pass(300);
    stage.ready("a", 2);
    let why = vec![crate::supervisor::Reason::Restart { by: "alice".into() }];
    let replaced = Happening::Replaced { why, gap_ms: Some(300), waited_ms: None, given_up: None };
    assert_eq!(stage.happened("a", &replaced), 1);
}

#[test]
fn callers_of_a_passed_socket_wait_from_the_order_to_stop_until_the_new_run_is_ready() {
    let mut stage = Stage::new(vec![checked(handed_over(service("a"), Handover::Socket))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.pass(40);
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.pass(300);
    stage.ready("a", 2);
    let why = vec![crate::supervisor::Reason::Restart { by: "alice".into() }];
    let replaced = Happening::Replaced { why, gap_ms: Some(300), waited_ms: Some(340), given_up: None };
    assert_eq!(stage.happened("a", &replaced), 1);
}

#[test]
fn while_a_new_run_starts_the_one_that_serves_is_shown_and_what_it_waits_for() {
    let mut stage = Stage::new(vec![handed_over(overlapping("a"), Handover::Forward)]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.grant("a", 60 * MIN);
    stage.until_said("spawn a#2");
    stage.started("a", 2);
    stage.not_ready("a", 2, "127.0.0.1:23711: connection refused");
    let view = stage.view("a");
    assert_eq!((view.state, view.pid, view.ready), (State::Running, Some(4001), true));
    assert_eq!(view.why.as_deref(), Some("run 2 is starting: 127.0.0.1:23711: connection refused"));
    assert!(view.next.is_some_and(|next| next.starts_with("it serves until run 2 is ready; ")));
}

#[test]
fn ports_that_are_no_more_are_let_go_when_the_last_run_that_had_them_is_gone() {
    let a = checked(handed_over(service("a"), Handover::Socket));
    let mut stage = Stage::new(vec![a.clone()]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    stage.load(vec![crate::manifest::Service { ports: [].into(), ..a }]);
    assert!(stage.said().is_empty(), "it is held, and its callers are served");
    stage.release("a");
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["unclaim a", "spawn a#2 (manifest changed)"]);
}
