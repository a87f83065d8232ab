//! How runs end: asked, by themselves, by force, and when the daemon or the keeper dies.

use std::time::Duration;

use devsup::keeper::protocol::{Order, Report};
use devsup::manifest::StopMode;
use devsup::supervisor::Exit;
use devsup::sys::clock::monotonic;
use devsup::sys::signal;

use super::kept::{Setup, misbehave, wait_until};
use super::{LONG, stop};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn an_exit_is_reported_with_its_code() {
    let setup = Setup::new();
    let mut kept = setup.start(&["exit", "7"]);
    assert_eq!(kept.exited(), Exit::Code(7));
    kept.until_gone();
    assert_eq!(kept.reaped(), Exit::Code(0));
}

#[test]
fn death_by_a_signal_is_reported_as_such() {
    let setup = Setup::new();
    let mut kept = setup.start(&["die", "SEGV"]);
    assert_eq!(kept.exited(), Exit::Signal(11));
    kept.until_gone();
}

#[test]
fn who_ignores_term_is_killed_when_the_time_is_over() {
    let setup = Setup::new();
    let mut kept = setup.start(&["ignore", "TERM", "touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    let begun = monotonic();
    kept.order(&stop(SHORT));
    kept.until_gone();
    assert!(monotonic() >= begun + SHORT);
    assert_eq!(kept.exit(), Some(Exit::Signal(9)));
    kept.nothing_is_left();
}

#[test]
fn a_second_stop_shortens_and_never_lengthens() {
    let setup = Setup::new();
    let mut kept = setup.start(&["ignore", "TERM", "touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    kept.order(&stop(SHORT));
    kept.order(&stop(LONG * 10));
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Signal(9)));
}

#[test]
fn kill_comes_through_a_long_stop() {
    let setup = Setup::new();
    let mut kept = setup.start(&["ignore", "TERM", "touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    kept.order(&Order::Kill);
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Signal(9)));
}

#[test]
fn the_exit_is_told_at_once_and_what_is_left_is_ended() {
    let mut setup = Setup::new();
    setup.spec.stop.timeout = SHORT;
    let mut kept = setup.start(&[
        "fork", "[", "on", "TERM", "touch", "told", "touch", "child", "sleep", "60", "]", "wait-for", "child", "exit",
        "3",
    ]);
    // The child holds both pipes.
    assert_eq!(kept.exited(), Exit::Code(3));
    kept.until_gone();
    assert!(setup.has("told"));
    kept.nothing_is_left();
}

#[test]
fn the_main_process_alone_is_told_if_that_is_the_mode() {
    let mut setup = Setup::new();
    setup.spec.stop.mode = StopMode::Main;
    let mut kept = setup.start(&[
        "fork",
        "[",
        "on",
        "TERM",
        "touch",
        "child-told",
        "touch",
        "child",
        "wait-for",
        "leave",
        "]", //
        "wait-for",
        "child",
        "on",
        "TERM",
        "touch",
        "told",
        "touch",
        "ready",
        "wait-for",
        "leave",
    ]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    setup.wait_for("told");
    assert!(!setup.has("child-told"));
    std::fs::write(setup.path("leave"), "").unwrap();
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Code(0)));
}

#[test]
fn another_stop_signal_is_sent_as_asked() {
    let mut setup = Setup::new();
    setup.spec.stop.signal = 2;
    let mut kept = setup.start(&["ignore", "TERM", "on", "INT", "exit", "5", "touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Code(5)));
}

#[test]
fn a_signal_reaches_all_or_the_main_process() {
    let setup = Setup::new();
    let mut kept = setup.start(&[
        "fork",
        "setsid",
        "[",
        "on",
        "USR1",
        "touch",
        "child-usr1",
        "on",
        "USR2",
        "touch",
        "child-usr2", //
        "touch",
        "child",
        "sleep",
        "60",
        "]", //
        "on",
        "USR1",
        "touch",
        "usr1",
        "on",
        "USR2",
        "touch",
        "usr2",
        "wait-for",
        "child",
        "touch",
        "ready",
        "sleep",
        "60",
    ]);
    setup.wait_for("ready");
    kept.order(&Order::Signal { signal: 10, main: true });
    setup.wait_for("usr1");
    kept.order(&Order::Signal { signal: 12, main: false });
    setup.wait_for("usr2");
    setup.wait_for("child-usr2");
    assert!(!setup.has("child-usr1"));
    assert_eq!(kept.exit(), None);
}

#[test]
fn when_the_keeper_is_killed_the_main_process_dies() {
    let setup = Setup::new();
    let mut kept = setup.start(&["ignore", "TERM", "touch", "ready", "sleep", "60"]);
    kept.started();
    setup.wait_for("ready");
    signal::send(kept.keeper(), signal::KILL).unwrap();
    assert_eq!(kept.reaped(), Exit::Signal(9));
    kept.nothing_is_left();
    assert!(!kept.is_gone(), "nobody was left to say so");
}

#[test]
fn only_the_daemons_end_ends_a_keeper() {
    let setup = Setup::new();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    kept.started();
    setup.wait_for("ready");
    for harmless in [signal::INT, signal::HUP, signal::QUIT, signal::TERM, signal::TSTP] {
        signal::send(kept.keeper(), harmless).unwrap();
    }
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!((kept.exit(), kept.reaped()), (Some(Exit::Signal(15)), Exit::Code(0)));
}

#[test]
fn a_flood_of_output_hinders_no_stop() {
    let setup = Setup::new();
    let mut kept = setup.start(&["pour"]);
    kept.started();
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Signal(15)));
}

#[test]
fn a_daemon_that_does_not_read_hinders_nobody() {
    let setup = Setup::new();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    setup.wait_for("ready");
    for _ in 0..5000 {
        kept.order(&Order::LookForDebugger);
    }
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!(kept.reaped(), Exit::Code(0));
}

#[test]
fn the_stop_command_comes_first_in_the_services_place() {
    let mut setup = Setup::new();
    let drain = ["to", "order", "say", "drained", "cwd", "env", "exit", "0"];
    setup.spec.stop.command =
        Some([&[misbehave().as_str()], &drain[..]].concat().into_iter().map(Into::into).collect());
    let mut kept = setup.start(&["to", "order", "on", "TERM", "say", "told", "touch", "ready", "wait-for", "leave"]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    wait_until("both have spoken", || setup.read("order").ends_with("told\n"));
    let order = setup.read("order");
    assert!(order.starts_with(&format!("drained\n{}\n", setup.folder.path().display())), "{order}");
    assert!(order.contains("\nDEVSUP_RUN\n"), "{order}");
    std::fs::write(setup.path("leave"), "").unwrap();
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Code(0)));
    assert_eq!(stop_command_failure(&kept.said()), None);
}

fn stop_command_failure(said: &[Report]) -> Option<&str> {
    said.iter().find_map(|report| match report {
        Report::StopCommandFailed { what } => Some(what.as_str()),
        _ => None,
    })
}

#[test]
fn a_stop_command_that_fails_is_named_and_the_stop_goes_on() {
    for (command, words) in [
        (vec!["./no-such-drain".to_owned()], "stop_command `./no-such-drain`: no such file"),
        (vec![misbehave(), "exit".into(), "3".into()], "`stop_command` ended with exit 3; the stop goes on"),
    ] {
        let mut setup = Setup::new();
        setup.spec.stop.command = Some(command);
        let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
        setup.wait_for("ready");
        kept.order(&stop(LONG));
        kept.until_gone();
        let said = kept.said();
        let what = stop_command_failure(&said).expect("a failure");
        assert!(what.starts_with(words), "{what}");
        assert_eq!(kept.exit(), Some(Exit::Signal(15)));
    }
}

#[test]
fn a_stop_command_that_hangs_is_killed_with_the_tree() {
    let mut setup = Setup::new();
    let hang = ["daemon", "[", "touch", "hidden", "sleep", "60", "]", "fork", "[", "sleep", "60", "]", "sleep", "60"];
    setup.spec.stop.command = Some([&[misbehave().as_str()], &hang[..]].concat().into_iter().map(Into::into).collect());
    let mut kept = setup.start(&["on", "TERM", "touch", "told", "touch", "ready", "sleep", "60"]);
    kept.started();
    setup.wait_for("ready");
    kept.order(&stop(Duration::from_secs(2)));
    setup.wait_for("hidden");
    kept.tree();
    kept.until_gone();
    assert!(!setup.has("told"));
    assert_eq!(kept.exit(), Some(Exit::Signal(9)));
    kept.nothing_is_left();
}

#[test]
fn a_stop_command_is_not_waited_for_when_nobody_is_left() {
    let mut setup = Setup::new();
    let hang = ["touch", "draining", "sleep", "60"];
    setup.spec.stop.command = Some([&[misbehave().as_str()], &hang[..]].concat().into_iter().map(Into::into).collect());
    let mut kept = setup.start(&["touch", "ready", "wait-for", "draining", "exit", "0"]);
    setup.wait_for("ready");
    kept.order(&stop(LONG));
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Code(0)));
}

#[test]
fn the_last_words_are_in_the_log_before_the_run_is_gone() {
    let setup = Setup::new();
    let mut kept = setup.start(&[
        "lines",
        "50000",
        "fork",
        "[",
        "wait-for",
        "parent-left",
        "mutter",
        "unfinished",
        "]",
        "touch",
        "parent-left",
        "exit",
        "0",
    ]);
    kept.until_gone();
    let log = setup.read("logs/000004.log");
    let last = log.lines().rev().find(|line| line.starts_with("line "));
    assert_eq!((log.lines().filter(|line| line.starts_with("line ")).count(), last), (50_000, Some("line 49999")));
}
