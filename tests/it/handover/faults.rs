//! New runs that come to nothing, old ones that do not go, callers that stay or come in thousands: who is served is served
//! on.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use devsup::supervisor::State;
use devsup::sys::clock::monotonic;
use nix::sys::signal::Signal;

use super::{Callers, SERVES, call, one, overlap, runs, said, served_by, until_runs, up};
use crate::faults::{badly, keeper_of, lives, send, until_gone};
use crate::project::{Project, wait_until};
use crate::ready::address;

/// The old one serves on and says why; the new one is tried again, until it is what it should be.
fn comes_to_nothing(handover: &str, more: &str, file: &str, why: &str) {
    let at = address();
    let project = up(&overlap(&at, handover, more));
    let callers = Callers::begin(&at);
    let old = project.service("a").pid.expect("it runs");
    project.write(file, "");
    let typed = project.spawn(&["restart", "a"]);
    let so = |a: &devsup::control::api::Service| a.why.as_ref().is_some_and(|text| text.contains(why));
    let a = project.until_one("a", |a| so(a) && a.run > Some(0), why);
    assert_eq!(a.crashes, 0, "{a:#?}");
    let most = std::cell::Cell::new(0);
    wait_until("it is tried again and again", || {
        most.set(most.get().max(runs(&project).len()));
        assert!(most.get() < 3, "never three");
        said(&project, "deferred").iter().filter(|text| text.contains(why)).count() >= 3
    });
    assert!(lives(old), "the old one is left alone");
    callers.until_served_by(1);
    let starts = project.events().iter().filter(|event| event.event == "starting").count();
    assert!(starts < 60, "not without a pause: {starts}");
    std::fs::remove_file(project.path(file)).expect("ours");
    wait_until("a new one serves", || served_by(&at).is_ok_and(|run| run > 1));
    typed.finish();
    until_gone(&[old]);
    let served = callers.end_well().served;
    assert!(served.len() == 2, "nothing came of those between: {served:?}");
    wait_until("one is left", || runs(&project).len() == 1);
}

#[test]
fn a_new_run_that_crashes_changes_nothing() {
    for handover in ["socket", "forward"] {
        comes_to_nothing(handover, "", "crash", "exit 3");
    }
}

#[test]
fn a_new_run_that_is_never_ready_is_given_up() {
    for (handover, check) in [("socket", "log = '^ready'"), ("forward", "tcp = 'http', interval = '50ms'")] {
        let at = address();
        let manifest = overlap(&at, handover, "").replace(check, &format!("{check}, timeout = '1s'"));
        assert!(manifest.contains("1s"));
        let project = up(&manifest);
        let callers = Callers::begin(&at);
        project.write("hang", "");
        let typed = project.spawn(&["restart", "a"]);
        wait_until("it was tried twice", || {
            assert!(runs(&project).len() < 3, "never three");
            said(&project, "deferred").iter().filter(|text| text.contains("not ready in time")).count() >= 2
        });
        let a = project.service("a");
        assert!(a.why.as_ref().is_some_and(|why| why.contains("not ready in time")), "{a:#?}");
        assert!(!callers.so_far().served.keys().any(|run| *run != 1));
        std::fs::remove_file(project.path("hang")).expect("ours");
        wait_until("a new one serves", || served_by(&at).is_ok_and(|run| run > 1));
        typed.finish();
        wait_until("one is left", || runs(&project).len() == 1);
        callers.end_well();
    }
}

/// A stranger listens at the number that the new run was given, before it does.
#[test]
fn a_new_run_whose_number_is_stolen_gets_another() {
    let at = address();
    let words = "on TERM exit 0 value PORT if slow [ wait-for go ] answer PORT say ready sleep 600";
    let project = up(&one(words, &at, "forward", "replace = 'overlap'"));
    let callers = Callers::begin(&at);
    project.write("slow", "");
    let typed = project.spawn(&["restart", "a"]);
    let numbers = || {
        let log = project.log("a");
        log.lines().filter_map(|line| line.strip_prefix("PORT=")?.parse().ok()).collect::<Vec<u16>>()
    };
    wait_until("it has said its number", || numbers().len() == 2);
    let stolen = numbers()[1];
    let stranger = TcpListener::bind(("127.0.0.1", stolen)).expect("it has not taken it yet");
    let says = format!("127.0.0.1:{stolen} is held by pid {}", std::process::id());
    wait_until("it is not taken for the new run", || {
        let detail = project.devsup(&["ps", "a"]).ok().stdout;
        detail.contains(&says)
    });
    assert_eq!(served_by(&at).expect("the old one serves"), 1);
    // It panics, for it cannot have its number.
    project.write("go", "");
    wait_until("another serves", || served_by(&at).is_ok_and(|run| run > 2));
    typed.finish();
    assert_ne!(*numbers().last().expect("numbers"), stolen);
    // Nobody of ours has called it: what is in its backlog is a question whether it is ready.
    drop(stranger);
    assert!(!callers.end_well().served.contains_key(&2));
}

#[test]
fn an_old_run_that_refuses_to_die_is_killed_and_troubles_no_new_caller() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = Project::new(&overlap(&at, handover, "stop_timeout = '2s'"));
        project.write("stubborn", "");
        project.devsup(&["up", "-d", "--wait"]).ok();
        let old = project.service("a").pid.expect("it runs");
        std::fs::remove_file(project.path("stubborn")).expect("ours");
        let typed = project.spawn(&["restart", "a"]);
        if handover == "forward" {
            let callers = Callers::begin(&at);
            callers.until_served_by(2);
            assert!(lives(old), "it has its time");
            until_gone(&[old]);
            callers.end_well();
        } else {
            // It goes on taking callers of the socket that they share until it is killed.
            wait_until("both are there", || runs(&project) == [1, 2] || runs(&project) == [2]);
            until_gone(&[old]);
        }
        until_runs(&project, &[2]);
        assert_eq!(served_by(&at).expect("served"), 2);
        typed.finish().ok();
        let a = project.service("a");
        assert_eq!((a.crashes, a.state), (0, State::Running), "{a:#?}");
    }
}

#[test]
fn when_the_old_run_dies_in_the_middle_callers_wait_for_the_new_one() {
    for handover in ["socket", "forward"] {
        for by_keeper in [false, true] {
            let at = address();
            let project = up(&overlap(&at, handover, ""));
            let (old, keeper) = (project.service("a").pid.expect("it runs"), keeper_of(&project, "a"));
            project.write("slow", "");
            let typed = project.spawn(&["restart", "a"]);
            until_runs(&project, &[1, 2]);
            send(if by_keeper { keeper } else { old }, Signal::SIGKILL);
            until_gone(&[old]);
            until_runs(&project, &[2]);
            let mut waiting: Vec<_> = (0..20).map(|_| call(&at).expect("devsup listens")).collect();
            project.write("go", "");
            for caller in &mut waiting {
                assert_eq!(caller.run().expect("nobody is lost"), 2);
            }
            typed.finish().ok();
            let a = project.until_one("a", |a| a.ready, "it is an ordinary start");
            assert_eq!((a.run, a.crashes), (Some(2), 0), "{handover}, keeper {by_keeper}: {a:#?}");
        }
    }
}

#[test]
fn when_the_keeper_of_the_new_run_is_killed_the_old_one_serves_on() {
    let at = address();
    let project = up(&overlap(&at, "forward", ""));
    let callers = Callers::begin(&at);
    project.write("slow", "");
    let typed = project.spawn(&["restart", "a"]);
    until_runs(&project, &[1, 2]);
    let keeper = super::own_state(&project).keepers.into_iter().find(|keeper| keeper.run.ends_with("#2"));
    send(keeper.expect("just seen").pid, Signal::SIGKILL);
    wait_until("it is told", || said(&project, "deferred").iter().any(|why| why.contains("new run not ready")));
    callers.until_served_by(1);
    project.write("go", "");
    callers.until_served_by(3);
    typed.finish();
    until_runs(&project, &[3]);
    callers.end_well();
}

/// It asks now and then, so it is never at rest.
#[test]
fn a_caller_who_never_leaves_holds_up_nobody_beyond_the_stop_timeout() {
    let at = address();
    let project = up(&overlap(&at, "forward", "stop_timeout = '3s'"));
    let mut stays = call(&at).expect("up");
    assert_eq!(stays.run().expect("served"), 1);
    let old = project.service("a").pid.expect("it runs");
    let begun = monotonic();
    let typed = project.spawn(&["restart", "a"]);
    let mut answered = 0;
    while stays.says("hi").is_ok_and(|said| said == "run 1: hi") {
        answered += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(monotonic().saturating_sub(begun) >= Duration::from_millis(2900) && answered > 10, "it had its time");
    until_gone(&[old]);
    assert_eq!(served_by(&at).expect("served"), 2);
    typed.finish().ok();
    // Those who say nothing are told the end, in order.
    let mut silent = call(&at).expect("up");
    assert_eq!(silent.run().expect("served"), 2);
    project.devsup(&["restart", "a"]).ok();
    assert_eq!(silent.hears().expect_err("the end").kind(), std::io::ErrorKind::UnexpectedEof);
    wait_until("one is left", || runs(&project) == [3]);
}

const FLOOD: usize = 2_000;

#[test]
fn a_flood_at_a_service_that_takes_nobody_troubles_no_other() {
    let (slow, quick) = (address(), address());
    let project = up(&format!(
        "name = 'shop'\n[services.slow]\ncommand = {}\nready = {{ log = '^ready' }}\n\
         ports.http = {{ listen = '{slow}', handover = 'forward' }}\n\
         [services.quick]\ncommand = {}\nready = {{ tcp = 'http', interval = '50ms' }}\n\
         ports.http = {{ listen = '{quick}', handover = 'forward' }}\n",
        badly("deaf PORT say ready sleep 600"),
        badly("answer PORT sleep 600"),
    ));
    let daemon = crate::faults::daemon(&project);
    // As far as descriptors go: an ordinary user may have fewer.
    let mut flood: Vec<TcpStream> = Vec::new();
    while flood.len() < FLOOD {
        match TcpStream::connect(&slow) {
            Ok(stream) => flood.push(stream),
            Err(error) => {
                assert!(flood.len() > 400, "{} came in: {error}", flood.len());
                break;
            }
        }
        if flood.len().is_multiple_of(500) {
            assert_eq!(served_by(&quick).expect("another's port works"), 1);
        }
    }
    let all = project.ps();
    assert!(all.iter().all(|one| one.crashes == 0 && one.state == State::Running), "{all:#?}");
    let port = &all.iter().find(|one| one.name == "slow").expect("a service").ports[0];
    assert!(port.open.unwrap_or_default() + port.waiting.unwrap_or_default() > 100, "{port:?}");
    for _ in 0..20 {
        assert_eq!(served_by(&quick).expect("another's port works"), 1);
    }
    project.devsup(&["restart", "quick"]).ok();
    assert_eq!(served_by(&quick).expect("another's port works"), 2);
    // Whoever was let through may still be answered; with the run they are all gone.
    drop(flood);
    project.devsup(&["stop", "-t", "1s", "slow"]).ok();
    assert!(super::refused(&slow));
    project.devsup(&["start", "slow"]).ok();
    let calm = |port: &devsup::control::api::Port| port.open == Some(0) && port.waiting == Some(0);
    project.until_one("slow", |slow| slow.ready && slow.ports.iter().all(calm), "they are forgotten");
    assert_eq!(crate::faults::daemon(&project), daemon);
}

/// What is stopped before it was ready had no callers; the next waits for its place.
#[test]
fn a_run_that_ends_by_itself_lets_its_callers_wait() {
    for handover in ["socket", "forward"] {
        let at = address();
        let project = up(&one(SERVES, &at, handover, ""));
        let old = project.service("a").pid.expect("it runs");
        project.write("slow", "");
        send(old, Signal::SIGKILL);
        until_gone(&[old]);
        let mut waiting: Vec<_> = (0..20).map(|_| call(&at).expect("devsup listens")).collect();
        project.until_one("a", |a| a.run == Some(2) && a.crashes == 1, "it has crashed");
        project.write("go", "");
        for caller in &mut waiting {
            assert_eq!(caller.run().expect("nobody is lost"), 2, "{handover}");
        }
    }
}
