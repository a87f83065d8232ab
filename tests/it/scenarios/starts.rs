//! Beginnings: no process can be had, it ends at once, very many, the daemon is killed meanwhile, a `down` is under way.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use devsup::control::api::ExitJson;
use devsup::supervisor::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{limit, many, one_after_the_other, sleepers, told};
use crate::faults::{STUBBORN, badly, daemon, send};
use crate::means::{is_root, skipped};
use crate::project::{DEADLINE, Project, wait_until};

/// The kernel counts no processes of root, so root proves nothing here.
#[test]
fn while_no_process_can_be_started_it_says_so_and_recovers_by_itself() {
    if is_root() {
        return skipped("root may start as many processes as it likes; it runs as an ordinary user");
    }
    let project = Project::new(
        "name = \"short\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\nbackoff = { first = \"100ms\", max = \"200ms\" }\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let (daemon, first) = (daemon(&project), project.service("a").pid.expect("it runs"));
    let limits = fs::read_to_string(format!("/proc/{daemon}/limits")).expect("it lives");
    let line = limits.lines().find(|line| line.starts_with("Max processes")).expect("a limit");
    let before = line.split_whitespace().nth(2).expect("a soft one").to_owned();
    limit(&project, daemon, &["--nproc=1:"]);
    send(first, Signal::SIGKILL);
    let short =
        project.until_one("a", |a| a.why.as_ref().is_some_and(|why| why.contains("os error 11")), "it says why");
    assert!(short.pid.is_none() && short.state == State::Backoff, "{short:#?}");
    limit(&project, daemon, &[&format!("--nproc={before}:")]);
    let again = project.until_one("a", |a| a.state == State::Running, "it starts when it can");
    assert_ne!(again.pid, Some(first));
}

#[test]
fn one_that_ends_at_once_is_neither_missed_nor_counted_twice() {
    let services = many(10, |n| {
        format!("[services.w{n}]\ncommand = [\"true\"]\n[services.f{n}]\ncommand = [\"false\"]\nrestart = \"never\"\n")
    });
    let project = Project::new(&format!("name = \"brief\"\n{services}"));
    project.devsup(&["up", "-d", "--wait"]).ends(1);
    for one in project.ps() {
        let code = i32::from(one.name.starts_with('f'));
        assert_eq!((one.exit.as_ref(), one.run, one.pid), (Some(&ExitJson::Code(code)), Some(1), None), "{one:#?}");
    }
    let events = project.events();
    for one in project.ps() {
        assert_eq!(
            told(&events, &one.name, &["started", "exited", "start-failed"]).len(),
            2,
            "{}: {events:#?}",
            one.name
        );
    }
}

#[test]
fn a_hundred_at_once_are_all_up() {
    let services = sleepers(100);
    let project = Project::new(&format!("name = \"hundred\"\n{services}"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let all = project.ps();
    let pids: BTreeSet<u32> = all.iter().filter_map(|one| one.pid).collect();
    assert!(pids.len() == 100 && all.iter().all(|one| one.run == Some(1) && one.crashes == 0), "{all:#?}");
    project.devsup(&["down"]).ok();
    project.until_gone();
}

/// Between fork and exec, before a pid is written down, with only some of them born: whenever it is.
#[test]
fn a_daemon_killed_while_it_starts_services_leaves_none() {
    let tree = badly("fork setsid [ sleep 600 ] daemon [ sleep 600 ] sleep 600");
    let services = many(4, |n| format!("[services.s{n}]\ncommand = {tree}\n"));
    let project = Project::new(&format!("name = \"early\"\n{services}"));
    for instant in 0..10 {
        let mut up = project.spawn(&["up", "-d"]);
        wait_until("there is a daemon", || alive(&project).is_some());
        std::thread::sleep(Duration::from_millis(instant * 4));
        let daemon = alive(&project).expect("just seen");
        kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL).expect("ours");
        assert!(up.ended(DEADLINE).is_some(), "the command does not wait for the dead: {:#?}", up.so_far());
        project.until_gone();
    }
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(project.ps().iter().all(|one| one.state == State::Running && one.crashes == 0), "{:#?}", project.ps());
}

/// The daemon that the lock names, if it lives.
fn alive(project: &Project) -> Option<u32> {
    let text = fs::read_to_string(project.state()?.join("lock")).ok()?;
    let lock: serde_json::Value = serde_json::from_str(&text).ok()?;
    let pid = u32::try_from(lock["pid"].as_u64()?).ok()?;
    crate::faults::lives(pid).then_some(pid)
}

#[test]
fn an_up_while_a_down_runs_is_refused_with_the_mend_or_is_the_next_one() {
    let project =
        Project::new(&format!("name = \"busy\"\n[services.a]\ncommand = {}\nstop_timeout = \"2s\"\n", badly(STUBBORN)));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let first = daemon(&project);
    let down = project.spawn(&["down"]);
    project.until_one("a", |a| a.state == State::Stopping, "it is being stopped");
    let up = project.devsup(&["up", "-d", "--wait"]);
    assert!(up.status == 0 || up.stderr.contains("shutting down") && up.stderr.contains("devsup up"), "{up:#?}");
    down.finish().ok();
    crate::faults::until_gone(&[first]);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let a = project.service("a");
    assert!(a.state == State::Running && a.run == Some(2), "{a:#?}");
    one_after_the_other(&project.events(), "a");
}
