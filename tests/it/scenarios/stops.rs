//! Ends: during the wait after a crash, twice, with starts and restarts in between, and by impatient fingers.

use devsup::supervisor::State;
use nix::sys::signal::Signal;

use super::one_after_the_other;
use crate::faults::{STUBBORN, badly};
use crate::project::Project;

#[test]
fn a_stop_in_the_wait_after_a_crash_is_done_at_once_and_a_start_does_not_wait() {
    let project = Project::new(&format!(
        "name = \"waits\"\n[services.a]\ncommand = {}\nbackoff = {{ first = \"10m\", max = \"10m\" }}\n",
        badly("exit 3")
    ));
    let up = project.spawn(&["up", "-d"]);
    project.until_one("a", |a| a.state == State::Backoff, "it has crashed");
    project.devsup(&["stop", "a"]).ok();
    let a = project.service("a");
    assert_eq!((a.state, a.pid, a.run), (State::Stopped, None, Some(1)), "{a:#?}");
    let start = project.spawn(&["start", "a"]);
    project.until_one("a", |a| a.run == Some(2) && a.crashes == 1, "it was started anew, and its crash is a first one");
    drop((up, start));
}

/// All that a person may type while a run ends, all at once: never two runs side by side, and the last word counts.
#[test]
fn stops_starts_and_restarts_on_top_of_each_other_are_one_run_at_a_time() {
    let project = Project::new(&format!(
        "name = \"many\"\n[services.a]\ncommand = {}\nstop_timeout = \"400ms\"\n",
        badly(STUBBORN)
    ));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let rounds: [&[&str]; 5] = [
        &["stop", "stop"],
        &["stop", "start"],
        &["restart", "stop"],
        &["stop", "restart"],
        &["restart", "restart", "restart"],
    ];
    for round in rounds {
        let typed: Vec<_> = round.iter().map(|verb| project.spawn(&[verb, "a"])).collect();
        for (one, verb) in typed.into_iter().zip(round) {
            // Who was overruled by another says so, and does not wait for what will not come.
            let said = one.finish();
            let overruled = said.status == 1 && said.stderr.contains("another command has");
            assert!(said.status == 0 || overruled, "{verb}: {said:#?}");
        }
        project.devsup(&["start", "--wait", "a"]).ok();
        let a = project.service("a");
        assert!(a.state == State::Running && a.crashes == 0, "{round:?}: {a:#?}");
        one_after_the_other(&project.events(), "a");
        let processes = project.alive().into_iter().filter(|(_, words)| words.contains("misbehave")).count();
        assert_eq!(processes, 3, "{round:?}: one tree: {:#?}", project.alive());
    }
}

#[test]
fn three_interrupts_end_it_while_it_starts_and_when_it_is_up() {
    for phase in ["a | begun", "devsup ps"] {
        let project = Project::new(&format!(
            "name = \"three\"\n[services.a]\ncommand = {}\nstop_timeout = \"10m\"\n",
            badly("fork setsid [ ignore TERM sleep 600 ] ignore TERM say begun sleep 600")
        ));
        let mut up = project.spawn(&["up", "--sandbox"]);
        up.until_says(phase);
        up.signal(Signal::SIGINT);
        up.until_says("Ctrl-C again");
        // The third finds a kill under way.
        up.signal(Signal::SIGINT);
        up.signal(Signal::SIGINT);
        up.finish().ends(130);
        project.until_gone();
    }
}
