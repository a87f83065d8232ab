//! SIGSTOP where nobody is left to say CONT, and an end that is not the one that was asked for.

use devsup::supervisor::State;
use devsup::sys::tree;
use nix::sys::signal::Signal;

use super::{STUBBORN, badly, daemon, keeper_of, send, until_gone, until_nothing_is_left};
use crate::project::{Project, wait_until};

fn until_stopped(pid: u32) {
    wait_until("it is stopped", || tree::look(pid).is_some_and(|process| process.state == 'T'));
}

/// Its daemon would wake it, and is dead: the next one does.
#[test]
fn a_stopped_keeper_of_a_killed_daemon_is_woken_and_ends_its_run_politely() {
    let polite = "name = \"woken\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\nstop_timeout = \"10m\"\n";
    let project = Project::new(polite);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let (daemon, keeper) = (daemon(&project), keeper_of(&project, "a"));
    // Nobody is to wake it before.
    send(daemon, Signal::SIGSTOP);
    until_stopped(daemon);
    send(keeper, Signal::SIGSTOP);
    until_stopped(keeper);
    send(daemon, Signal::SIGKILL);
    until_gone(&[daemon]);
    project.devsup(&["up", "-d", "--wait"]).ok();
    until_gone(&[keeper]);
    let log = project.devsup(&["logs", "a"]).ok().stdout;
    assert!(log.contains("exited (signal 15)") && !log.contains("signal 9"), "{log}");
    let a = project.service("a");
    assert_eq!((a.state, a.run, a.crashes), (State::Running, Some(2), 0), "{a:#?}");
}

#[test]
fn a_stopped_daemon_is_named_and_not_waited_for() {
    let project = Project::new("name = \"still\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let daemon = daemon(&project);
    send(daemon, Signal::SIGSTOP);
    until_stopped(daemon);
    for verb in [&["ps"][..], &["up", "-d"], &["down"]] {
        let said = project.devsup(verb).ends(1);
        assert!(
            said.stderr.contains(&format!("the daemon (pid {daemon}) does not answer: it is stopped")),
            "{said:#?}"
        );
        assert!(said.stderr.contains(&format!("kill -CONT {daemon}")), "{said:#?}");
    }
    send(daemon, Signal::SIGCONT);
    project.devsup(&["ps"]).ok();
}

/// Its keepers are still at work then.
#[test]
fn a_down_whose_daemon_is_killed_does_not_say_that_all_is_down() {
    let stubborn = badly(STUBBORN);
    let project =
        Project::new(&format!("name = \"amid\"\n[services.a]\ncommand = {stubborn}\nstop_timeout = \"3s\"\n"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let daemon = daemon(&project);
    let down = project.spawn(&["down"]);
    project.until_one("a", |one| one.state == State::Stopping, "it is being stopped");
    send(daemon, Signal::SIGKILL);
    let said = down.finish().ends(1);
    assert!(said.stderr.contains("ended unexpectedly") && !said.stderr.contains("is down"), "{said:#?}");
    until_nothing_is_left(&project);
}
