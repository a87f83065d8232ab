//! The state folder is taken away under a project that is up: its services do not notice.

use nix::sys::signal::Signal;

use super::{daemon, lives, send, until_gone, until_nothing_is_left};
use crate::project::{Project, wait_until};

#[test]
fn a_service_outlives_its_logs_folder() {
    let project = Project::new(
        "name = \"gone\"\n[services.a]\n\
         command = 'while :; do echo tick; echo tick >> ticks; sleep 0.05; done'\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let pid = project.service("a").pid.expect("it runs");
    let daemon = daemon(&project);
    let ticks = || std::fs::read(project.path("ticks")).map(|ticks| ticks.len() / 5).unwrap_or_default();
    wait_until("it writes", || ticks() > 5);
    std::fs::remove_dir_all(project.path("state")).expect("it was there");
    let then = ticks();
    wait_until("it writes on", || ticks() > then + 40);
    assert!(lives(pid) && lives(daemon));
    let second = project.devsup(&["up", "-d"]).ends(1);
    assert!(second.stderr.contains(&format!("another devsup (pid {daemon}) runs this project")), "{second:#?}");
    // Nobody can reach it by its socket any more, but a signal still ends it in order.
    send(daemon, Signal::SIGTERM);
    until_gone(&[daemon, pid]);
    until_nothing_is_left(&project);
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(project.service("a").ready || project.service("a").pid.is_some());
}
