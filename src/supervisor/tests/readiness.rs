//! Ready, late, unwell, and how runs ended.

use super::stage::{MIN, Stage, checked, needs, overlapping, run, service, with_role};
use crate::manifest::{Condition, Name, Service};
use crate::supervisor::{Command, Event, Exit, Happening, State};

fn late(what: &str) -> Happening {
    Happening::NotReadyInTime { what: what.into() }
}

#[test]
fn a_run_with_a_check_is_ready_by_its_check_only() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.started("a", 1);
    stage.pass(10_000);
    assert_eq!((stage.view("a").state, stage.view("a").ready), (State::Starting, false));
    stage.ready("a", 1);
    assert_eq!((stage.view("a").state, stage.view("a").ready), (State::Running, true));
    assert_eq!(stage.happened("a", &Happening::Ready), 1);
    stage.ready("a", 1);
    assert_eq!(stage.happened("a", &Happening::Ready), 0, "once is enough");
}

#[test]
fn ready_may_be_told_before_started_and_neither_is_lost() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.ready("a", 1);
    stage.started("a", 1);
    let view = stage.view("a");
    assert_eq!((view.state, view.pid), (State::Running, Some(4001)));
}

#[test]
fn why_it_is_not_ready_yet_is_shown_and_when_that_will_be_late() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.started("a", 1);
    stage.pass(4_000);
    stage.not_ready("a", 1, "connection refused");
    let view = stage.view("a");
    assert_eq!(view.status, "starting 4s");
    assert_eq!(view.why.as_deref(), Some("not ready yet: connection refused"));
    assert_eq!(view.next.as_deref(), Some("ready when its check succeeds; 16s left for that"));
    stage.ready("a", 1);
    stage.not_ready("a", 1, "a late report");
    assert_eq!((stage.view("a").why, stage.view("a").state), (None, State::Running));
}

#[test]
fn s08_a_run_that_is_not_ready_in_time_is_left_running_and_that_is_said_once() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.started("a", 1);
    stage.not_ready("a", 1, "connection refused");
    stage.said();
    stage.pass(19_999);
    assert_eq!((stage.happened("a", &late("connection refused")), stage.view("a").overdue), (0, false));
    stage.pass(1);
    assert_eq!((stage.happened("a", &late("connection refused")), stage.view("a").overdue), (1, true));
    stage.pass(75_000);
    stage.not_ready("a", 1, "503 Service Unavailable");
    assert_eq!(stage.happened("a", &late("503 Service Unavailable")), 0);
    let view = stage.view("a");
    assert_eq!(view.status, "starting 1m 35s, not ready in time");
    assert_eq!(view.why.as_deref(), Some("not ready after 20s: 503 Service Unavailable"));
    assert!(view.next.is_some_and(|next| next.contains("left running")));
    assert_eq!(stage.said(), [""; 0], "it is left running");
    stage.ready("a", 1);
    let view = stage.view("a");
    assert_eq!((view.overdue, view.state, view.status.as_str()), (false, State::Running, "running (ready)"));
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.pass(20_000);
    assert_eq!(stage.happened("a", &late("its check has not succeeded yet")), 1, "once for each run");
}

#[test]
fn a_new_run_beside_a_serving_one_is_given_up_rather_than_called_late() {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.grant("a", 60 * MIN);
    stage.until_said("spawn a#2");
    stage.started("a", 2);
    stage.pass(20_000);
    assert!(stage.said().contains(&"stop a#2".to_owned()));
    assert_eq!(stage.happened("a", &late("its check has not succeeded yet")), 0);
}

#[test]
fn a_run_keeps_the_check_it_was_born_with() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.started("a", 1);
    stage.hold("a");
    stage.load(vec![service("a")]);
    stage.pass(5_000);
    assert_eq!(stage.view("a").state, State::Starting, "alive is not ready for a run that has a check");
    stage.ready("a", 1);
    assert_eq!(stage.view("a").state, State::Running);
}

#[test]
fn an_unhealthy_run_is_replaced_and_that_is_no_crash() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.bring_up(&["a"]);
    stage.health("a", 1, Some("GET /health: 503"));
    assert_eq!(stage.said(), ["replace a#1"]);
    assert_eq!(stage.happened("a", &Happening::Unhealthy { what: "GET /health: 503".into() }), 1);
    stage.over("a", 1, 1);
    assert_eq!(stage.said(), ["spawn a#2 (unhealthy)"]);
    assert_eq!((stage.view("a").crashes, stage.view("a").restarts), (0, 1));
    stage.started("a", 2);
    stage.ready("a", 2);
    assert_eq!(stage.view("a").why.as_deref(), Some("the run before was unhealthy: GET /health: 503"));
    assert_eq!(stage.said(), [""; 0], "the new run is current");
}

#[test]
fn health_is_a_level_and_a_hold_waits_for_it_to_be_mended() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.hold("a");
    stage.health("a", 1, Some("timeout"));
    stage.health("a", 1, Some("connection refused"));
    stage.pass(MIN);
    assert_eq!(stage.said(), [""; 0]);
    let view = stage.view("a");
    assert_eq!((view.ready, view.status.as_str()), (false, "running (unhealthy, held by alice 1m)"));
    assert_eq!(view.why.as_deref(), Some("to be replaced once released: unhealthy: connection refused"));
    assert_eq!(view.next.as_deref(), Some("not replaced until `devsup release a`"));
    stage.health("a", 1, None);
    assert_eq!(stage.happened("a", &Happening::Healthy), 1);
    stage.release("a");
    assert_eq!(stage.said(), [""; 0], "it is well again");
    stage.hold("a");
    stage.health("a", 1, Some("timeout"));
    stage.release("a");
    assert_eq!(stage.said(), ["replace a#1"]);
    stage.health("a", 1, None);
    assert_eq!(stage.happened("a", &Happening::Healthy), 0, "the replacement has begun");
}

#[test]
fn an_unhealthy_run_is_not_replaced_under_a_debugger() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.debugger = Some("gdb (pid 812)".into());
    stage.health("a", 1, Some("timeout"));
    stage.pass(MIN);
    assert_eq!(stage.said(), [""; 0]);
    let why = stage.view("a").why;
    assert_eq!(why.as_deref(), Some("not replaced while gdb (pid 812) is attached: unhealthy: timeout"));
    stage.debugger = None;
    stage.until_said("replace a#1");
}

#[test]
fn an_unhealthy_run_waits_for_no_lane_but_for_a_lease_that_its_successor_needs() {
    let mut stage = Stage::new(vec![with_role("a")]);
    stage.bring_up(&["a"]);
    stage.until_asked(&["a"]);
    stage.pass(20 * MIN);
    stage.said();
    stage.health("a", 1, Some("timeout"));
    assert_eq!(stage.said(), [""; 0], "nothing a new run could start on");
    stage.grant("a", 60 * MIN);
    stage.until_said("replace a#1");
    stage.over("a", 1, 0);
    assert!(stage.said().contains(&"spawn a#2 on 2 (unhealthy, credentials)".to_owned()));
}

#[test]
fn unhealthy_again_and_again_is_counted_and_a_long_good_life_begins_anew() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    let mut unwell = |lived: u64, number: u32| {
        stage.pass(lived);
        stage.health("a", number, Some("timeout"));
        stage.over("a", number, 0);
        stage.started("a", number + 1);
        stage.pass(1_000);
        stage.view("a").why.unwrap_or_default()
    };
    assert_eq!(unwell(1_000, 1), "the run before was unhealthy: timeout");
    assert_eq!(unwell(1_000, 2), "the last 2 runs were unhealthy: timeout");
    assert_eq!(unwell(1_000, 3), "the last 3 runs were unhealthy: timeout");
    assert_eq!(unwell(MIN, 4), "the run before was unhealthy: timeout");
}

#[test]
fn an_unhealthy_run_gets_a_successor_beside_it_where_runs_overlap() {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.health("a", 1, Some("timeout"));
    assert_eq!(stage.said(), ["spawn a#2 on 1 (unhealthy)"]);
    stage.started("a", 2);
    stage.pass(20_000);
    stage.over("a", 2, 0);
    stage.health("a", 1, None);
    stage.said();
    stage.pass(10 * MIN);
    assert_eq!(stage.said(), [""; 0], "the old one is well again: no second try");
    stage.restart("a");
    stage.pass(10_000);
    assert!(stage.said().contains(&"spawn a#3 on 1 (restart (alice))".to_owned()), "and no stale reason");
}

#[test]
fn an_overlap_that_went_well_forgets_the_one_that_did_not() {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.health("a", 1, Some("timeout"));
    stage.started("a", 2);
    stage.pass(20_000);
    stage.over("a", 2, 0);
    assert_eq!(stage.view("a").why.as_deref(), Some("new run not ready: not ready in time"));
    assert!(stage.view("a").next.is_some_and(|next| next.starts_with("tried again in ")));
    stage.until_said("spawn a#3 on 1 (unhealthy)");
    stage.started("a", 3);
    stage.ready("a", 3);
    stage.over("a", 1, 0);
    assert_eq!(stage.view("a").why.as_deref(), Some("the run before was unhealthy: timeout"));
    stage.said();
    // Over half of the lease is gone: a second try for credentials alone would wait for a fresh one.
    stage.pass(35 * MIN);
    stage.health("a", 3, Some("timeout"));
    assert_eq!(stage.said(), ["spawn a#4 on 1 (unhealthy)"]);
}

#[test]
fn after_a_failed_overlap_only_credentials_wait_for_a_lease_worth_the_trouble() {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.pass(35 * MIN);
    stage.health("a", 1, Some("timeout"));
    stage.over("a", 2, 1);
    stage.said();
    stage.pass(2_000);
    assert_eq!(stage.said(), ["spawn a#3 on 1 (unhealthy)"]);
}

#[test]
fn a_late_run_is_replaced_for_its_own_reasons() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.pass(20_000);
    stage.said();
    stage.changed("a", "src/x.py");
    stage.over("a", 2, 0);
    assert_eq!(stage.said(), ["replace a#2", "spawn a#3 (file changed: src/x.py)"]);
}

#[test]
fn a_crash_ends_a_replacement_and_its_reasons() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.over("a", 2, 1);
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), ["spawn a#3"]);
}

#[test]
fn a_failed_overlap_is_of_no_meaning_once_a_later_run_is_ready() {
    let mut stage = Stage::new(vec![overlapping("a")]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.grant("a", 60 * MIN);
    stage.until_said("spawn a#2");
    stage.over("a", 2, 1);
    assert_eq!(stage.view("a").why.as_deref(), Some("new run not ready: exit 1"));
    stage.over("a", 1, 1);
    stage.until_said("spawn a#3");
    stage.started("a", 3);
    stage.ready("a", 3);
    assert_eq!((stage.view("a").state, stage.view("a").why), (State::Running, None));
}

#[test]
fn nobody_builds_on_an_unhealthy_service() {
    let mut stage = Stage::new(vec![needs(service("a"), "b", Condition::Ready), service("b")]);
    stage.started("b", 1);
    stage.hold("b");
    stage.pass(999);
    stage.event(Event::Health { run: run("b", 1), trouble: Some("timeout".into()) });
    stage.said();
    stage.pass(1_000);
    assert_eq!(stage.said(), [""; 0]);
    let why = stage.view("a").why.expect("it waits");
    assert!(why.starts_with("b is running (unhealthy, held by alice"), "{why}");
    stage.health("b", 1, None);
    assert_eq!(stage.said(), ["spawn a#1"]);
}

#[test]
fn what_a_run_says_of_itself_is_shown_while_it_lives() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.bring_up(&["a"]);
    stage.event(Event::Said { run: run("a", 1), status: "loading 40 %".into() });
    assert_eq!(stage.view("a").said.as_deref(), Some("loading 40 %"));
    stage.event(Event::Said { run: run("a", 1), status: String::new() });
    assert_eq!(stage.view("a").said, None);
    stage.event(Event::Said { run: run("a", 1), status: "bye".into() });
    stage.over("a", 1, 1);
    assert_eq!(stage.view("a").said, None);
}

#[test]
fn reports_of_a_run_that_is_over_change_nothing() {
    let mut stage = Stage::new(vec![checked(service("a"))]);
    stage.bring_up(&["a"]);
    stage.restart("a");
    stage.over("a", 1, 0);
    stage.started("a", 2);
    stage.restart("a");
    stage.happened("a", &Happening::Ready);
    stage.ready("a", 2);
    stage.health("a", 2, Some("late"));
    assert_eq!(stage.happened("a", &Happening::Ready), 0, "it is on its way out");
    assert_eq!(stage.happened("a", &Happening::Unhealthy { what: "late".into() }), 0);
    stage.over("a", 2, 0);
    stage.started("a", 3);
    stage.said();
    let before = stage.view("a");
    stage.not_ready("a", 1, "late");
    stage.health("a", 1, Some("late"));
    stage.ready("a", 1);
    assert_eq!((stage.view("a"), stage.said()), (before, Vec::new()));
}

#[test]
fn the_last_exits_are_remembered_with_what_they_were() {
    let mut stage = Stage::new(vec![Service { max_restarts: Some(9), ..service("a") }]);
    let what = |stage: &Stage| -> Vec<(u32, Option<Exit>, String)> {
        stage.view("a").exits.into_iter().map(|past| (past.run, past.exit, past.what)).collect()
    };
    stage.event(Event::StartFailed { run: run("a", 1), what: "command \"x\": no such file".into() });
    stage.event(Event::Gone { run: run("a", 1) });
    stage.pass(1_000);
    stage.started("a", 2);
    stage.pass(3_000);
    stage.over("a", 2, 1);
    stage.pass(5_000);
    stage.started("a", 3);
    stage.restart("a");
    stage.over("a", 3, 0);
    stage.started("a", 4);
    stage.stop("a");
    stage.event(Event::Exited { run: run("a", 4), exit: Exit::Signal(15) });
    stage.event(Event::Gone { run: run("a", 4) });
    let code = |code| Some(Exit::Code(code));
    assert_eq!(
        what(&stage),
        [
            (1, None, "command \"x\": no such file".into()),
            (2, code(1), "crashed".into()),
            (3, code(0), "replaced (restart (alice))".into()),
            (4, Some(Exit::Signal(15)), "stopped".into()),
        ]
    );
    let uptimes: Vec<_> = stage.view("a").exits.iter().map(|past| past.uptime.map(|up| up.as_secs())).collect();
    assert_eq!(uptimes, [None, Some(3), Some(0), Some(0)]);
    for number in 5..8 {
        stage.start("a");
        stage.started("a", number);
        stage.over("a", number, 0);
    }
    assert_eq!(what(&stage).iter().map(|past| past.0).collect::<Vec<_>>(), [3, 4, 5, 6, 7], "five of them");
    assert_eq!(what(&stage).last().map(|past| past.2.as_str()), Some("ended"));
}

#[test]
fn an_old_trouble_is_not_the_reason_of_a_new_crash() {
    let mut stage = Stage::new(vec![service("a")]);
    stage.event(Event::StartFailed { run: run("a", 1), what: "no such file".into() });
    stage.event(Event::Gone { run: run("a", 1) });
    assert_eq!(stage.view("a").why.as_deref(), Some("no such file"));
    stage.pass(1_000);
    stage.started("a", 2);
    stage.over("a", 2, 7);
    assert_eq!(stage.view("a").why.as_deref(), Some("the last run ended with exit 7"));
}

#[test]
fn every_state_says_why_and_what_comes_next() {
    let mut stage = Stage::new(vec![Service { max_restarts: Some(1), ..service("a") }]);
    let mut seen = Vec::new();
    let mut look = |stage: &Stage| {
        let view = stage.view("a");
        let (why, next) = (view.why.unwrap_or_default(), view.next.unwrap_or_default());
        seen.push(format!("{} | {why} | {next}", view.status));
    };
    look(&stage);
    stage.started("a", 1);
    stage.exited("a", 1, 1);
    look(&stage);
    stage.event(Event::Gone { run: run("a", 1) });
    look(&stage);
    stage.pass(1_000);
    stage.started("a", 2);
    stage.pass(1_000);
    look(&stage);
    stage.over("a", 2, 1);
    look(&stage);
    stage.start("a");
    stage.started("a", 3);
    stage.over("a", 3, 0);
    look(&stage);
    stage.command(Command::Start { services: vec![Name::new("a")], no_deps: false });
    stage.started("a", 4);
    stage.restart("a");
    look(&stage);
    stage.stop("a");
    stage.over("a", 4, 0);
    look(&stage);
    assert_eq!(
        seen,
        [
            "starting 0s |  | ready when it has lived for 1s",
            "stopping (what it left behind) |  | starts when the tree is empty",
            "backoff, again in 1s (crash 1) | the last run ended with exit 1 | starts again in 1s, or `devsup restart a`",
            "running (ready) |  | ",
            "failed: exit 1 | gave up after 2 crashes (max_restarts = 1) | `devsup restart a` tries again",
            "done |  | `devsup restart a` runs it again",
            "stopping 0s | to be replaced: restart (alice) | starts when the tree is empty",
            "stopped |  | `devsup start a`",
        ]
    );
}
