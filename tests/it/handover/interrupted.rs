//! What people do, and what happens to the daemon, in the middle of an overlap and of a drain.

use nix::sys::signal::Signal;

use devsup::supervisor::State;

use super::{Call, Callers, call, overlap, refused, runs, served_by, until_runs, up};
use crate::faults::{daemon, send};
use crate::project::{Foreground, Project, wait_until};
use crate::ready::address;

/// Two runs, and the new one is not ready before it is let by `go`.
struct Middle {
    project: Project,
    at: String,
    typed: Option<Foreground>,
}

fn in_overlap(handover: &str, more: &str) -> Middle {
    let at = address();
    let project = up(&overlap(&at, handover, more));
    project.write("slow", "");
    let typed = project.spawn(&["restart", "a"]);
    until_runs(&project, &[1, 2]);
    Middle { project, at, typed: Some(typed) }
}

/// The new run serves, and the old one has a caller who waits for an answer.
fn in_drain(more: &str) -> (Middle, Call<std::net::TcpStream>) {
    let at = address();
    let project = up(&overlap(&at, "forward", &format!("stop_timeout = '1m'\n{more}")));
    let mut stays = call(&at).expect("up");
    assert_eq!(stays.run().expect("served"), 1);
    std::io::Write::write_all(stays.0.get_mut(), b"hush\n").expect("connected");
    let typed = project.spawn(&["restart", "a"]);
    wait_until("the new one serves", || served_by(&at).is_ok_and(|run| run == 2));
    assert_eq!(runs(&project), [1, 2]);
    (Middle { project, at, typed: Some(typed) }, stays)
}

impl Middle {
    fn over(&self) {
        assert!(refused(&self.at), "nobody listens");
        let a = self.project.service("a");
        assert_eq!((a.state, a.crashes, runs(&self.project)), (State::Stopped, 0, Vec::new()), "{a:#?}");
    }
}

#[test]
fn stop_ends_both_runs_and_start_makes_one() {
    for handover in ["socket", "forward"] {
        let mut middle = in_overlap(handover, "");
        middle.project.devsup(&["stop", "a"]).ok();
        middle.over();
        drop(middle.typed.take());
        middle.project.write("go", "");
        middle.project.devsup(&["start", "a"]).ok();
        wait_until("one serves", || served_by(&middle.at).is_ok_and(|run| run == 3));
        assert_eq!(runs(&middle.project), [3]);
    }
}

#[test]
fn down_ends_both_runs() {
    for (handover, args) in [("socket", &["down"][..]), ("forward", &["down", "-t", "1s"])] {
        let middle = in_overlap(handover, "");
        middle.project.devsup(args).ok();
        middle.project.until_gone();
        assert!(refused(&middle.at));
    }
}

#[test]
fn a_second_restart_and_a_reload_make_a_third_run_only_when_the_second_is_gone() {
    for verb in ["restart", "reload"] {
        let middle = in_overlap("forward", "");
        let callers = Callers::begin(&middle.at);
        if verb == "reload" {
            middle.project.write("services.toml", &overlap(&middle.at, "forward", "env = { WORD = 'new' }"));
        }
        let again = middle.project.spawn(if verb == "reload" { &["reload"] } else { &["restart", "a"] });
        wait_until("the second makes room", || {
            let runs = runs(&middle.project);
            assert!(runs.len() < 3 && runs.first() == Some(&1), "{runs:?}");
            runs == [1, 3]
        });
        callers.until_served_by(1);
        middle.project.write("go", "");
        callers.until_served_by(3);
        again.finish().ok();
        until_runs(&middle.project, &[3]);
        let served = callers.end_well().served;
        assert!(!served.contains_key(&2), "{served:?}");
    }
}

#[test]
fn a_hold_keeps_what_a_person_began_and_takes_back_what_nobody_did() {
    let middle = in_overlap("forward", "");
    middle.project.devsup(&["hold", "a"]).ok();
    middle.project.write("go", "");
    wait_until("people may replace what they hold", || served_by(&middle.at).is_ok_and(|run| run == 2));
    until_runs(&middle.project, &[2]);

    let at = address();
    let project = Project::new(&overlap(&at, "forward", "watch = ['x.py']"));
    project.write("x.py", "1");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let callers = Callers::begin(&at);
    project.write("slow", "");
    project.write("x.py", "2");
    until_runs(&project, &[1, 2]);
    project.devsup(&["hold", "a"]).ok();
    until_runs(&project, &[1]);
    project.write("go", "");
    callers.until_served_by(1);
    project.devsup(&["release", "a"]).ok();
    callers.until_served_by(3);
    until_runs(&project, &[3]);
    callers.end_well();
}

#[test]
fn a_drain_ends_with_whoever_wants_the_service_down() {
    let (middle, mut stays) = in_drain("");
    middle.project.devsup(&["stop", "a"]).ok();
    middle.over();
    stays.hears().ok();
    let (middle, _stays) = in_drain("");
    middle.project.devsup(&["down"]).ok();
    middle.project.until_gone();
    assert!(refused(&middle.at));
}

#[test]
fn a_restart_in_a_drain_waits_its_turn() {
    let (middle, stays) = in_drain("");
    let callers = Callers::begin(&middle.at);
    let again = middle.project.spawn(&["restart", "a"]);
    callers.until_served_by(2);
    assert!(runs(&middle.project).len() <= 2);
    drop(stays);
    callers.until_served_by(3);
    again.finish().ok();
    until_runs(&middle.project, &[3]);
    callers.end_well();
}

#[test]
fn the_second_interrupt_kills_both_runs() {
    let at = address();
    let project = Project::new(&overlap(&at, "forward", "stop_timeout = '1m'"));
    project.write("stubborn", "");
    let mut up = project.spawn(&["up"]);
    wait_until("it serves", || served_by(&at).is_ok());
    let mut pids = vec![project.service("a").pid.expect("it runs")];
    std::fs::remove_file(project.path("stubborn")).expect("ours");
    let typed = project.spawn(&["restart", "a"]);
    wait_until("the new one serves", || served_by(&at).is_ok_and(|run| run == 2));
    assert_eq!(runs(&project), [1, 2], "the old one does not go");
    pids.extend(project.service("a").pid);
    up.signal(Signal::SIGINT);
    up.until_says("again");
    up.signal(Signal::SIGINT);
    crate::faults::until_gone(&pids);
    assert!(up.ended(crate::project::DEADLINE).is_some());
    project.until_gone();
    drop(typed);
    assert!(refused(&at));
}

#[test]
fn a_daemon_that_is_killed_or_told_to_end_leaves_neither_run_and_the_next_binds_at_once() {
    for handover in ["socket", "forward"] {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let middle = in_overlap(handover, "stop_timeout = '5s'");
            let project = &middle.project;
            let pids: Vec<u32> = super::own_state(project)
                .keepers
                .iter()
                .flat_map(|keeper| devsup::sys::tree::descendants(keeper.pid, &[]).into_iter().chain([keeper.pid]))
                .collect();
            assert!(pids.len() >= 4, "{pids:?}");
            send(daemon(project), signal);
            crate::faults::until_gone(&pids);
            project.until_gone();
            project.write("go", "");
            let up = project.devsup(&["up", "-d", "--wait"]).ok();
            assert!(!up.stderr.contains("held by"), "{up:#?}");
            assert_eq!(served_by(&middle.at).expect("served"), 3, "{handover} {signal}");
            assert_eq!(project.service("a").crashes, 0);
        }
    }
}

#[test]
fn a_daemon_that_is_killed_in_a_drain_leaves_neither_run() {
    let (middle, stays) = in_drain("");
    send(daemon(&middle.project), Signal::SIGKILL);
    middle.project.until_gone();
    drop(stays);
    middle.project.devsup(&["up", "-d", "--wait"]).ok();
    assert_eq!(served_by(&middle.at).expect("served"), 3);
}
