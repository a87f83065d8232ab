//! When leases are asked for, what a refusal changes, and how runs are replaced for fresher ones: one rule a test.

use std::time::Duration;

use super::stage::{MIN, Stage, needs, service, with_role};
use crate::manifest::{Condition, Delivery, Name, Service};
use crate::supervisor::{Command, Event, Happening, State, Wall};

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

fn served(name: &str, delivery: Delivery) -> Service {
    let mut service = with_role(name);
    service.role.as_mut().expect("has one").delivery = delivery;
    service
}

#[test]
fn a_run_whose_role_was_edited_is_served_its_own_to_the_end_and_never_the_new_one() {
    for delivery in [Delivery::Endpoint, Delivery::Process] {
        let mut stage = Stage::new(vec![served("a", delivery)]);
        stage.bring_up(&["a"]);
        let own = stage.view("a").lease.expect("it has one").id.0;
        let mut edited = served("a", delivery);
        edited.role.as_mut().expect("has one").external_id = Some("other".into());
        stage.load(vec![edited]);
        assert_eq!(stage.said(), ["ask a"], "nothing is forgotten that is still asked for");
        stage.refuse("a", "AccessDenied", true);
        assert_eq!((stage.served_on("a", 1), stage.view("a").run), (Some(own), Some(1)));
        stage.command(Command::Hold { service: Name::new("a"), lasts: None });
        stage.command(Command::Refresh { services: vec![Name::new("a")] });
        stage.said();
        let new = stage.grant("a", LIFE);
        assert_eq!(stage.served_on("a", 1), Some(own), "held or not, it is no other role");
        stage.command(Command::Release { service: Name::new("a") });
        assert_eq!(stage.said(), ["replace a#1"]);
        stage.over("a", 1, 143);
        assert_eq!(stage.said(), [format!("forget {own}"), format!("spawn a#2 on {new} (manifest changed)")]);
        assert_eq!((stage.served_on("a", 1), stage.served_on("a", 2)), (None, Some(new)));
    }
}

fn left(stage: &Stage, name: &str) -> i64 {
    stage.view(name).lease.expect("it has one").left_ms
}

#[test]
fn what_needs_no_restart_is_renewed_at_half_of_its_life_less_up_to_a_tenth() {
    for delivery in [Delivery::Endpoint, Delivery::Process] {
        let names: Vec<String> = (0..40).map(|at| format!("s{at:02}")).collect();
        let mut stage = Stage::new(names.iter().map(|name| served(name, delivery)).collect());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        stage.bring_up(&names);
        let mut asked_at = Vec::new();
        for renewal in 1..=3_u64 {
            let mut open: Vec<&str> = names.clone();
            while !open.is_empty() {
                stage.pass(1_000);
                for word in stage.said() {
                    let name = word.strip_prefix("ask ").filter(|name| open.contains(name));
                    let name =
                        names[names.iter().position(|one| Some(*one) == name).unwrap_or_else(|| panic!("{word}"))];
                    asked_at.push(left(&stage, name));
                    open.retain(|one| *one != name);
                }
            }
            for name in &names {
                stage.grant(name, LIFE);
                assert_eq!((left(&stage, name), stage.view(name).run), (60 * 60_000, Some(1)), "renewal {renewal}");
            }
            // The old secrets go, and nothing else happens.
            assert!(stage.said().iter().all(|word| word.starts_with("forget ")));
        }
        let (least, most) = (asked_at.iter().min().expect("some"), asked_at.iter().max().expect("some"));
        assert!(*least >= 30 * 60_000 - 1_000 && *most <= 36 * 60_000, "asked with {least} to {most} ms left");
        assert!(most - least > 4 * 60_000, "leases that came together part: {least} to {most}");
    }
}

#[test]
fn a_refused_renewal_is_tried_like_any_other_and_the_service_lives_on_what_is_held() {
    let mut stage = Stage::new(vec![served("a", Delivery::Endpoint)]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    let (mut waits, mut last) = (Vec::new(), stage.now);
    while left(&stage, "a") > -20 * 60_000 {
        if stage.asking("a") {
            waits.push((left(&stage, "a"), stage.now.mono.since(last.mono)));
            last = stage.now;
            stage.refuse("a", "Unreachable", false);
            let said = stage.view("a").credentials;
            let held = left(&stage, "a") > 0;
            assert_eq!(said.starts_with("served (endpoint), expires in "), held, "{said}");
            assert_eq!(said.starts_with("EXPIRED "), !held, "{said}");
            assert!(said.ends_with(": Unreachable"), "{said}");
        }
        stage.pass(100);
    }
    let longest = |late: bool| {
        let of = waits.iter().skip(1).filter(|(left, _)| (*left < 4 * 60_000) == late).map(|(_, wait)| *wait);
        of.max().expect("some of both")
    };
    assert!(longest(false) > Duration::from_secs(15) && longest(false) <= Duration::from_secs(61), "{waits:?}");
    assert!(longest(true) <= Duration::from_secs(16), "{waits:?}");
    assert_eq!(stage.happened("a", &Happening::LeaseExpired), 1);
    assert_eq!((stage.view("a").state, stage.view("a").run), (State::Running, Some(1)));
    stage.said();
    while !stage.asking("a") {
        stage.pass(100);
    }
    stage.grant("a", LIFE);
    assert_eq!(stage.said(), ["ask a", "forget 1"], "the first success mends it, without a restart");
    assert_eq!(stage.view("a").credentials, "served (endpoint), 1h left");
}

#[test]
fn what_is_shown_is_what_is_served_and_not_what_the_run_was_born_with() {
    let mut stage = Stage::new(vec![served("a", Delivery::Process)]);
    stage.bring_up(&["a"]);
    let view = stage.view("a");
    assert_eq!(view.credentials, "served (process), 59m left");
    assert_eq!(view.lease.expect("it has one").rotates, None);
    let next = view.next.expect("it is said");
    assert!(next.starts_with("fresh credentials in ") && next.ends_with(", without a restart"), "{next}");
    stage.until_asked(&["a"]);
    let fresh = stage.grant("a", LIFE);
    assert_eq!(stage.view("a").lease.map(|lease| lease.id.0), Some(fresh));
    stage.command(Command::Refresh { services: vec![Name::new("a")] });
    let asked = stage.grant("a", LIFE);
    assert_eq!(stage.view("a").lease.map(|lease| lease.id.0), Some(asked));
    assert_eq!(stage.said(), ["ask a", "forget 1", "ask a", &format!("forget {fresh}")], "and no run is replaced");
}

#[test]
fn a_crash_starts_on_what_is_held_and_a_stop_ends_the_renewals() {
    let mut stage = Stage::new(vec![served("a", Delivery::Endpoint)]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    let fresh = stage.grant("a", LIFE);
    stage.said();
    stage.over("a", 1, 1);
    stage.until_said("spawn");
    assert_eq!(stage.said(), [format!("spawn a#2 on {fresh}")]);
    stage.started("a", 2);
    stage.pass(1_000);
    stage.stop("a");
    assert_eq!(stage.said(), ["stop a#2"], "while it stops it may still ask for what is held");
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), [format!("forget {fresh}")]);
    stage.pass(3 * LIFE);
    assert_eq!(stage.said(), [""; 0], "nobody asks for a service that is down");
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
fn what_is_held_keeps_no_lane_from_the_others() {
    for (held, free) in [("a", "b"), ("b", "a")] {
        let mut stage = Stage::new(vec![with_role("a"), with_role("b")]);
        stage.bring_up(&["a", "b"]);
        stage.hold(held);
        stage.until_asked(&["a", "b"]);
        stage.grant("a", 60 * MIN);
        stage.grant("b", 60 * MIN);
        stage.until_said(&format!("replace {free}#1"));
        let left = stage.view(free).lease.map(|lease| lease.left_ms);
        assert!(left > Some(5 * 60_000), "{free} waits for {held}, which is held: {left:?}");
    }
}

#[test]
fn a_person_is_obeyed_though_the_keeper_does_not_answer() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.deaf = true;
    stage.restart("a");
    assert_eq!(stage.said(), ["replace a#1"]);
}

#[test]
fn that_a_lease_has_expired_is_noted_when_it_has_and_once() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    let left = |stage: &Stage| stage.view("a").lease.expect("it has one").left_ms;
    stage.pass(u64::try_from(left(&stage) - 1).expect("some is left"));
    stage.event(Event::Woke);
    assert_eq!(stage.happened("a", &Happening::LeaseExpired), 0);
    stage.pass(1);
    assert_eq!(stage.happened("a", &Happening::LeaseExpired), 1);
    stage.pass(MIN);
    assert_eq!(stage.happened("a", &Happening::LeaseExpired), 0);
}
