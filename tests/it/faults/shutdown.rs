//! A daemon that is told by a signal to end.

use nix::sys::signal::Signal;

use super::{STUBBORN, badly, daemon, keeper_of, lives, send, tree_of, until_gone};
use crate::project::{Project, wait_until};

#[test]
fn term_and_hup_end_everything_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let project = Project::new(
            "name = \"ordered\"\n[services.web]\ncommand = [\"sleep\", \"600\"]\ndepends_on = [\"db\"]\n\
             [services.db]\ncommand = [\"sleep\", \"600\"]\n",
        );
        project.devsup(&["up", "-d", "--wait"]).ok();
        let daemon = daemon(&project);
        let services: Vec<u32> = project.ps().into_iter().filter_map(|one| one.pid).collect();
        send(daemon, signal);
        until_gone(&[daemon]);
        assert!(!services.iter().any(|&pid| lives(pid)), "the daemon ends last");
        project.devsup(&["ps"]).ends(5);
        let journal = project.state().expect("a state folder").join("events.jsonl");
        let journal = std::fs::read_to_string(journal).expect("a journal");
        let ended = |name: &str| {
            let of = format!("\"service\":\"{name}\"");
            journal.lines().position(|line| line.contains(&of) && line.contains("\"event\":\"stopped\""))
        };
        let (web, db) = (ended("web").expect("web was stopped"), ended("db").expect("db was stopped"));
        assert!(web < db, "who depends is stopped first: {journal}");
        assert!(journal.contains("by a signal"), "{journal}");
    }
}

#[test]
fn a_second_term_kills() {
    let stubborn = badly(STUBBORN);
    let project =
        Project::new(&format!("name = \"twice\"\n[services.a]\ncommand = {stubborn}\nstop_timeout = \"10m\"\n"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let tree = tree_of(keeper_of(&project, "a"), 3);
    let daemon = daemon(&project);
    send(daemon, Signal::SIGTERM);
    wait_until("it is stopping", || project.service("a").status.starts_with("stopping"));
    assert!(tree.iter().all(|&pid| lives(pid)));
    send(daemon, Signal::SIGTERM);
    until_gone(&tree);
    until_gone(&[daemon]);
}
