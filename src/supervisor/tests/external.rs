//! What somebody else runs: watched, waited for, never touched.

use super::stage::{MIN, Stage, external, needs, overlapping, service, with_role};
use crate::manifest::{Condition, Name, Service};
use crate::supervisor::{By, Command, Happening, State, Want};

fn two(condition: Condition) -> Vec<Service> {
    vec![needs(service("a"), "db", condition), external("db")]
}

#[test]
fn it_is_never_started_and_what_needs_it_waits_until_it_is_there() {
    for condition in [Condition::Started, Condition::Ready] {
        let mut stage = Stage::new(two(condition));
        assert_eq!(stage.said(), [""; 0]);
        let view = stage.view("db");
        assert_eq!(
            (view.state, view.status.as_str(), view.external),
            (State::Waiting, "waiting for the first answer", true)
        );
        stage.outside("db", Some("connection refused"));
        let view = stage.view("db");
        assert_eq!((view.status.as_str(), view.ready), ("not there: connection refused", false));
        assert!(view.next.is_some_and(|next| next.contains("asked again")));
        let a = stage.view("a");
        assert_eq!(a.status, "waiting for db");
        assert_eq!(a.why.as_deref(), Some("db is not there: connection refused"));
        assert_eq!(a.next.as_deref(), Some("starts when db is there"));
        stage.outside("db", None);
        assert_eq!(stage.said(), ["spawn a#1"]);
        assert_eq!(stage.happened("db", &Happening::Ready), 1);
        let view = stage.view("db");
        assert_eq!((view.state, view.ready, view.status.as_str()), (State::Running, true, "there (external)"));
    }
}

#[test]
fn when_it_goes_that_is_said_and_what_runs_is_left_alone() {
    let mut stage = Stage::new(two(Condition::Ready));
    stage.outside("db", None);
    stage.started("a", 1);
    stage.pass(1_000);
    stage.said();
    stage.outside("db", Some("timeout"));
    stage.outside("db", Some("connection refused"));
    stage.outside("db", None);
    stage.outside("db", None);
    assert_eq!(stage.happened("db", &Happening::Away { what: "timeout".into() }), 1);
    assert_eq!(stage.happened("db", &Happening::Ready), 2);
    stage.pass(10 * MIN);
    assert_eq!(stage.said(), [""; 0]);
    assert_eq!(stage.view("a").state, State::Running);
}

#[test]
fn not_there_in_time_is_said_once_for_each_wait() {
    let late = Happening::NotReadyInTime { what: "connection refused".into() };
    let mut stage = Stage::new(two(Condition::Ready));
    stage.outside("db", Some("connection refused"));
    stage.pass(19_999);
    assert_eq!((stage.happened("db", &late), stage.view("db").overdue), (0, false));
    stage.pass(1);
    assert_eq!((stage.happened("db", &late), stage.view("db").overdue), (1, true));
    stage.pass(MIN);
    assert_eq!(stage.happened("db", &late), 0);
    assert_eq!(stage.view("db").why.as_deref(), Some("not there after 20s: connection refused"));
    stage.outside("db", None);
    assert!(!stage.view("db").overdue);
    stage.outside("db", Some("connection refused"));
    assert!(!stage.view("db").overdue, "it is counted anew");
    stage.pass(20_000);
    assert_eq!(stage.happened("db", &late), 1);
}

#[test]
fn what_a_person_cannot_ask_of_it_is_refused_with_a_sentence() {
    let mut stage = Stage::new(two(Condition::Ready));
    let by = By { uid: 1000, user: "alice".into() };
    let db = || vec![Name::new("db")];
    let commands = [
        Command::Stop { services: db(), timeout: None },
        Command::Restart { services: db(), timeout: None, no_deps: false, force: true },
        Command::Hold { service: Name::new("db"), lasts: None },
        Command::Refresh { services: db() },
    ];
    for command in commands {
        let refused = stage.supervisor.refuses(&by, &command);
        assert_eq!(refused.as_deref(), Some("service `db`: devsup does not run it, it only watches it"));
        stage.command(command);
        assert_eq!(stage.view("db").want, Want::Up);
    }
    assert_eq!(stage.supervisor.refuses(&by, &Command::Start { services: db(), no_deps: false }), None);
}

#[test]
fn it_keeps_nobody_from_ending() {
    let mut stage = Stage::new(two(Condition::Ready));
    stage.outside("db", Some("connection refused"));
    assert!(stage.view("db").settled() && !stage.view("a").settled());
    stage.command(Command::Shutdown { timeout: None });
    assert_eq!(stage.said(), ["finished"]);
    assert_eq!((stage.view("db").state, stage.view("db").status.as_str()), (State::Stopped, "not needed"));
}

#[test]
fn one_that_nothing_needs_is_not_waited_for() {
    let mut stage = Stage::new(vec![]);
    stage.load(vec![external("db"), service("a")]);
    stage.start("a");
    stage.outside("db", Some("connection refused"));
    stage.pass(MIN);
    let view = stage.view("db");
    assert_eq!((view.state, view.overdue, view.want), (State::Stopped, false, Want::Down));
    assert_eq!(stage.supervisor.next_wake(stage.now).mono, None);
}

#[test]
fn a_run_of_what_is_external_from_now_on_is_stopped_and_has_no_successor() {
    for ours in [service("db"), overlapping("db")] {
        let mut stage = Stage::new(vec![ours]);
        stage.bring_up(&["db"]);
        stage.load(vec![external("db")]);
        assert!(stage.said().contains(&"stop db#1".to_owned()));
        assert_eq!(stage.view("db").state, State::Stopping);
        stage.over("db", 1, 1);
        stage.pass(MIN);
        assert!(!stage.said().iter().any(|said| said.starts_with("spawn")));
        let view = stage.view("db");
        assert_eq!((view.state, view.crashes), (State::Waiting, 0));
    }
}

#[test]
fn a_crash_of_what_has_just_become_external_is_nobodys() {
    let mut stage = Stage::new(vec![service("db")]);
    stage.bring_up(&["db"]);
    stage.hold("db");
    stage.load(vec![external("db")]);
    assert_eq!(stage.said(), [""; 0], "a hold holds an edit");
    stage.over("db", 1, 1);
    stage.pass(MIN);
    assert_eq!(stage.said(), [""; 0]);
    assert_eq!((stage.view("db").state, stage.view("db").crashes), (State::Waiting, 0));
}

#[test]
fn what_became_external_while_it_was_replaced_keeps_no_lane() {
    let mut stage = Stage::new(vec![needs(with_role("a"), "db", Condition::Started), service("db")]);
    stage.bring_up(&["db"]);
    stage.bring_up(&["a"]);
    stage.restart("db");
    stage.load(vec![needs(with_role("a"), "db", Condition::Started), external("db")]);
    stage.over("db", 1, 0);
    stage.until_asked(&["a"]);
    stage.grant("a", 60 * MIN);
    stage.until_said("replace a#1");
    let left = stage.view("a").lease.map(|lease| lease.left_ms);
    assert!(left > Some(5 * 60_000), "not only when its deadline presses: {left:?}");
}

#[test]
fn what_was_known_is_forgotten_only_with_the_check_it_came_from() {
    let mut stage = Stage::new(vec![external("db")]);
    stage.outside("db", None);
    stage.load(vec![Service { autostart: false, ..external("db") }]);
    assert_eq!(stage.view("db").state, State::Running);
    let mut other = external("db");
    other.ready.as_mut().expect("checked").interval *= 2;
    stage.load(vec![other]);
    assert_eq!(stage.view("db").status, "waiting for the first answer");
}

#[test]
fn what_was_external_is_started_once_it_is_ours() {
    let mut stage = Stage::new(vec![external("db")]);
    stage.outside("db", Some("connection refused"));
    stage.load(vec![service("db")]);
    assert_eq!(stage.said(), ["spawn db#1"]);
    stage.outside("db", None);
    assert_eq!(stage.view("db").state, State::Starting, "a late answer is of no meaning");
}
