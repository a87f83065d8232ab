//! Restart policy, backoff, leases that are refused, holds, order: one rule a test.

use std::time::Duration;

use super::stage::{MIN, Stage, needs, run, service, with_role};
use crate::manifest::{Condition, Delivery, Name, Restart, Service};
use crate::supervisor::{By, Command, Event, State, Wall};

const LIFE: u64 = 60 * MIN;

#[test]
fn nothing_starts_before_its_own_lease() {
    let mut stage = Stage::new(vec![with_role("a"), with_role("b"), service("c")]);
    assert_eq!(stage.said(), ["ask a", "ask b", "spawn c#1"]);
    let lease = stage.grant("b", LIFE);
    assert_eq!(stage.said(), [format!("spawn b#1 on {lease}")]);
    assert_eq!(stage.view("a").status, "waiting for credentials");
}

#[test]
fn a_lasting_refusal_is_asked_again_every_two_minutes_and_at_once_by_a_person() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.said();
    stage.refuse("a", "AccessDenied", true);
    assert_eq!(stage.view("a").status, "waiting for credentials: AccessDenied");
    assert!(stage.view("a").next.is_some_and(|next| next.contains("devsup creds a --refresh")));
    stage.pass(2 * MIN - 1);
    assert_eq!(stage.said(), [""; 0]);
    stage.pass(1);
    assert_eq!(stage.said(), ["ask a"]);
    stage.refuse("a", "AccessDenied", true);
    stage.command(Command::Refresh { services: vec![Name::new("a")] });
    assert_eq!(stage.said(), ["ask a"]);
}

#[test]
fn transient_refusals_are_retried_within_fifteen_seconds_while_nothing_is_held() {
    let mut stage = Stage::new(vec![with_role("a")]);
    for _ in 0..20 {
        stage.said();
        stage.refuse("a", "Unreachable", false);
        stage.pass(15_000);
        assert_eq!(stage.said(), ["ask a"]);
    }
}

#[test]
fn the_run_stays_while_sts_is_down_and_is_replaced_when_it_is_back() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    for _ in 0..400 {
        if stage.said().contains(&"ask a".to_owned()) {
            stage.refuse("a", "Unreachable", false);
        }
        stage.pass(10_000);
        assert_eq!(stage.view("a").state, State::Running);
    }
    assert!(stage.view("a").credentials.contains("EXPIRED"), "{}", stage.view("a").credentials);
    assert!(stage.view("a").credentials.contains("Unreachable"));
    while !stage.said().contains(&"ask a".to_owned()) {
        stage.pass(1_000);
    }
    stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["forget 1", "replace a#1"]);
}

#[test]
fn a_rotation_is_no_crash_and_no_reason_to_restart_dependents() {
    let mut stage = Stage::new(vec![with_role("a"), needs(service("b"), "a", Condition::Started)]);
    stage.bring_up(&["a"]);
    stage.started("b", 1);
    stage.pass(1_000);
    stage.until_asked(&["a"]);
    stage.grant("a", LIFE);
    stage.pass(3 * MIN);
    stage.over("a", 1, 143);
    stage.started("a", 2);
    stage.pass(1_000);
    let view = stage.view("a");
    assert_eq!((view.crashes, view.rotations, view.restarts), (0, 1, 1));
    assert_eq!(stage.view("b").run, Some(1));
}

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
fn endpoint_delivery_renews_without_a_replacement() {
    let mut service = with_role("a");
    service.role.as_mut().expect("has one").delivery = Delivery::Endpoint;
    let mut stage = Stage::new(vec![service]);
    stage.bring_up(&["a"]);
    for _ in 0..5 {
        stage.pass(50 * MIN);
        assert!(stage.said().contains(&"ask a".to_owned()));
        stage.grant("a", LIFE);
        assert!(!stage.said().iter().any(|word| word.starts_with("replace")));
    }
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
fn a_restart_waits_five_seconds_for_fresh_credentials_and_then_takes_the_held_ones() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.pass(10 * MIN);
    stage.restart("a");
    assert_eq!(stage.said(), ["ask a"]);
    stage.pass(4_900);
    assert_eq!(stage.said(), [""; 0]);
    stage.pass(200);
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 on 1 (restart (alice))"]);
}

#[test]
fn a_restart_with_fresh_credentials_in_time_runs_on_them() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    let fresh = stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["ask a", "forget 1", "replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), [format!("spawn a#2 on {fresh} (restart (alice))")]);
}

#[test]
fn a_restart_on_expired_credentials_leaves_the_run_alone_until_fresh_ones_come() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.refuse("a", "AccessDenied", true);
    stage.pass(20 * MIN);
    stage.said();
    stage.restart("a");
    stage.pass(30_000);
    assert_eq!(stage.view("a").state, State::Running);
    stage.grant("a", LIFE);
    assert!(stage.said().contains(&"replace a#1".to_owned()));
}

#[test]
fn a_refresh_replaces_on_the_fresh_lease_and_a_refusal_of_it_changes_nothing() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.command(Command::Refresh { services: vec![Name::new("a")] });
    stage.refuse("a", "AccessDenied", true);
    assert_eq!(stage.said(), ["ask a"]);
    stage.command(Command::Refresh { services: vec![Name::new("a")] });
    stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["ask a", "forget 1", "replace a#1"]);
    stage.over("a", 1, 0);
    assert_eq!(stage.said(), ["spawn a#2 on 3 (credentials)"]);
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
fn no_rotation_while_a_debugger_is_attached_and_one_as_soon_as_it_is_gone() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.debugger = Some("gdb (pid 812)".into());
    stage.until_asked(&["a"]);
    stage.grant("a", LIFE);
    stage.pass(5 * MIN);
    assert!(!stage.said().contains(&"replace a#1".to_owned()));
    assert!(stage.view("a").why.is_some_and(|why| why.contains("gdb (pid 812)")));
    stage.debugger = None;
    stage.pass(15_000);
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn a_person_is_obeyed_though_a_debugger_is_attached() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.debugger = Some("gdb (pid 812)".into());
    stage.restart("a");
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn never_restarted_means_never_though_no_process_came_of_it() {
    let mut stage = Stage::new(vec![Service { restart: Restart::Never, ..service("a") }]);
    stage.event(Event::StartFailed { run: run("a", 1), what: "no such file".into() });
    stage.event(Event::Gone { run: run("a", 1) });
    assert_eq!(stage.view("a").state, State::Failed);
}

#[test]
fn a_refused_question_is_asked_again_though_a_good_lease_is_held() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.command(Command::Refresh { services: vec![Name::new("a")] });
    stage.refuse("a", "Unreachable", false);
    stage.said();
    stage.pass(15_000);
    assert_eq!(stage.said(), ["ask a"]);
    stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["forget 1", "replace a#1"], "the wish outlived the refusal");
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
fn rotations_part_in_one_lane_and_more_lanes_open_when_time_gets_short() {
    let names: Vec<String> = (0..40).map(|at| format!("s{at:02}")).collect();
    let mut stage = Stage::new(names.iter().map(|name| with_role(name)).collect());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Lives of a minute: forty rotations of two seconds each do not fit into one lane.
    for name in &names {
        stage.grant(name, MIN);
        stage.started(name, 1);
    }
    stage.pass(1_000);
    stage.said();
    let mut most = 0;
    for _ in 0..600 {
        stage.pass(100);
        for word in stage.said() {
            match word.split_once(' ') {
                Some(("ask", name)) => drop(stage.grant(name, MIN)),
                Some(("replace", run)) => {
                    let (name, number) = run.split_once('#').expect("a run");
                    let number = number.parse().expect("a number");
                    stage.over(name, number, 0);
                    stage.started(name, number + 1);
                }
                _ => {}
            }
        }
        most = most.max(names.iter().filter(|name| stage.view(name).state == State::Starting).count());
    }
    for name in &names {
        assert!(stage.view(name).run >= Some(2), "{name} was not replaced in time");
        assert!(!stage.view(name).credentials.starts_with("EXPIRED"), "{name}");
    }
    assert!(most > 1, "one lane is not enough here");
    assert!(most < 30, "and they do not all go at once: {most}");
}

#[test]
fn the_wall_clock_shortens_a_lease_only_by_what_it_ran_ahead() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    // Set back by years: the lease is not longer for it.
    stage.now.wall = Wall(0);
    stage.event(Event::Woke);
    stage.until_asked(&["a"]);
    assert_eq!(stage.said(), ["ask a"]);
    stage.grant("a", LIFE);
    // A snapshot restored an hour later: boottime knows nothing of it.
    stage.now.wall = stage.now.wall + Duration::from_hours(2);
    stage.event(Event::Woke);
    assert!(stage.said().contains(&"ask a".to_owned()));
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
