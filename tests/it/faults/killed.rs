//! `kill -9` of the daemon, of a keeper, of both; and a keeper that is stopped. Invariants 5 and 6.

use devsup::control::api::Service;
use devsup::supervisor::State;
use devsup::sys::clock::monotonic;
use nix::sys::signal::Signal;

use super::trees::{both, services};
use super::{STUBBORN, badly, daemon, keeper_of, lives, send, tree_of, until_gone, until_nothing_is_left};
use crate::project::{Project, wait_until};

fn two(stop_timeout: &str) -> Project {
    Project::new(&two_of(stop_timeout))
}

fn two_of(stop_timeout: &str) -> String {
    let stubborn = badly(STUBBORN);
    format!(
        "name = \"two\"\n[services.polite]\ncommand = [\"sleep\", \"600\"]\n[services.stubborn]\ncommand = {stubborn}\n\
         stop_timeout = \"{stop_timeout}\"\n[defaults]\nbackoff = {{ first = \"100ms\" }}\n"
    )
}

#[test]
fn when_the_daemon_is_killed_its_keepers_end_everything() {
    both(&two_of("2s"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        let mut all = tree_of(keeper_of(&project, "stubborn"), 3);
        all.extend([keeper_of(&project, "stubborn"), keeper_of(&project, "polite")]);
        all.extend(project.service("polite").pid);
        send(daemon(&project), Signal::SIGKILL);
        until_gone(&all);
        until_nothing_is_left(&project);
        project.devsup(&["ps"]).ends(5);
        let up = project.devsup(&["up", "-d", "--wait"]).ok();
        assert!(!up.stderr.contains("stale") && !up.stderr.contains("error"), "{up:#?}");
        for one in project.ps() {
            assert!(one.state == State::Running && one.crashes == 0 && one.run == Some(2), "{one:#?}");
        }
    });
}

#[test]
fn a_service_that_an_earlier_keeper_still_ends_says_so_and_the_others_start() {
    let project = two("15s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "stubborn");
    let old = tree_of(keeper, 3);
    send(daemon(&project), Signal::SIGKILL);
    let up = project.spawn(&["up", "-d"]);
    let seen = project.until(
        |all| all.iter().any(|one| one.name == "polite" && one.state == State::Running),
        "the polite one runs again",
    );
    let stubborn = seen.into_iter().find(|one| one.name == "stubborn").expect("it is in the manifest");
    assert_eq!((stubborn.state, stubborn.pid), (State::Stopping, None), "{stubborn:#?}");
    assert!(stubborn.status.contains(&format!("run 1 of an earlier devsup, keeper {keeper}")), "{stubborn:#?}");
    up.finish().ok();
    let stubborn = project.until_one("stubborn", |one| one.state == State::Running, "it starts in its turn");
    assert!(!old.iter().any(|&pid| lives(pid)), "nothing of the old run is left when the new one starts");
    assert_eq!((stubborn.run, stubborn.crashes, stubborn.restarts), (Some(2), 0, 0), "{stubborn:#?}");
    project.devsup(&["down", "-t", "1s"]).ok();
}

/// What an earlier devsup left is a service, not the owner, though no keeper of the new one is above it.
#[test]
fn a_service_of_an_earlier_devsup_may_not_command_the_next() {
    let project = Project::new(
        r#"
name = "earlier"
[services.polite]
command = ["sleep", "600"]
[services.nosy]
stop_timeout = "20s"
command = """
trap '' TERM
until [ -e go ]; do sleep 0.1; done
"$DEVSUP" stop polite; echo "stop: $?"
exec sleep 600
"""
"#,
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    send(daemon(&project), Signal::SIGKILL);
    let up = project.spawn(&["up", "-d"]);
    let is = |all: &[Service], name: &str, state| all.iter().any(|one| one.name == name && one.state == state);
    project.until(|all| is(all, "polite", State::Running) && is(all, "nosy", State::Stopping), "the next is up");
    project.write("go", "");
    project.until_log("nosy", "stop: ");
    assert!(project.log("nosy").contains("stop: 6\n"), "{}", project.log("nosy"));
    assert_eq!(project.service("polite").state, State::Running);
    up.finish();
}

#[test]
fn a_keeper_that_is_killed_is_a_crash_with_that_reason_and_leaves_nothing() {
    both(&two_of("2s"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        let polite = project.service("polite").pid;
        let keeper = keeper_of(&project, "stubborn");
        let old = tree_of(keeper, 3);
        send(keeper, Signal::SIGKILL);
        until_gone(&old);
        let again =
            project.until_one("stubborn", |one| one.run == Some(2) && one.state == State::Running, "it runs again");
        assert_eq!(again.crashes, 1, "{again:#?}");
        let lost = project.events().into_iter().find(|event| event.event == "keeper-lost").expect("it is told");
        assert!(
            lost.reason.as_deref().is_some_and(|why| why.contains("its keeper was killed (signal 9)")),
            "{lost:#?}"
        );
        assert_eq!(project.service("polite").pid, polite);
    });
}

#[test]
fn what_is_left_when_both_are_killed_is_ended_and_named_by_the_next_up() {
    both(&two_of("2s"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        let keeper = keeper_of(&project, "stubborn");
        let old = tree_of(keeper, 3);
        let daemon = daemon(&project);
        // Not running, it cannot take care of what the keeper leaves.
        send(daemon, Signal::SIGSTOP);
        send(keeper, Signal::SIGKILL);
        send(daemon, Signal::SIGKILL);
        until_gone(&[daemon, keeper]);
        // It was told by the kernel to, and takes a moment.
        wait_until("only the main process dies with its keeper", || old.iter().filter(|&&pid| lives(pid)).count() == 2);
        let up = project.devsup(&["up", "-d", "--wait"]).ok();
        assert!(up.stderr.contains("`stubborn`: run 1 of an earlier devsup had left misbehave (pid "), "{up:#?}");
        until_gone(&old);
        let swept: Vec<String> = project
            .events()
            .into_iter()
            .filter(|event| event.event == "swept")
            .filter_map(|event| event.reason)
            .collect();
        assert!(
            swept.len() == 2 && swept.iter().all(|why| why.contains("run 1 of an earlier devsup left")),
            "{swept:#?}"
        );
    });
}

#[test]
fn a_keeper_that_is_stopped_does_not_keep_its_service_from_being_stopped() {
    let project = two("2s");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "stubborn");
    let tree = tree_of(keeper, 3);
    send(keeper, Signal::SIGSTOP);
    project.devsup(&["stop", "stubborn"]).ok();
    until_gone(&tree);
    let stopped = project.service("stubborn");
    assert_eq!((stopped.state, stopped.crashes), (State::Stopped, 0), "{stopped:#?}");
}

/// Three that end when they are told: a child of a session of its own, a daemon, and the main process.
const POLITE: &str = "fork setsid [ sleep 600 ] daemon [ sleep 600 ] sleep 600";

#[test]
#[expect(clippy::print_stderr, reason = "measured, and not judged: the machine may be busy")]
fn polite_ones_go_at_once_when_the_daemon_is_killed() {
    let polite = badly(POLITE);
    let many = services(10, &polite);
    both(&format!("name = \"polite\"\n{many}"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        let trees: Vec<u32> = (0..10).flat_map(|n| tree_of(keeper_of(&project, &format!("s{n}")), 3)).collect();
        let begun = monotonic();
        send(daemon(&project), Signal::SIGKILL);
        while trees.iter().any(|&pid| lives(pid)) {
            assert!(monotonic().saturating_sub(begun) < crate::project::DEADLINE, "they live on");
        }
        let took = monotonic().saturating_sub(begun);
        eprintln!("{}: 30 processes gone {took:?} after the daemon", project.env["DEVSUP_TREE"]);
        until_nothing_is_left(&project);
    });
}

/// Neither mark nor keeper nor daemon: only the cgroup still says whose it was.
#[test]
fn who_threw_its_mark_away_is_found_by_its_cgroup() {
    let hide = "name = \"hide\"\n[services.a]\ncommand = \"setsid env -i sleep 600 & echo $! >pid; exec sleep 600\"\n";
    let project = Project::new(hide);
    project.devsup(&["up", "-d", "--wait"]).ok();
    if project.cgroups().is_empty() {
        return crate::means::skipped("no cgroup can be made here");
    }
    let pid = || std::fs::read_to_string(project.path("pid")).ok()?.trim().parse::<u32>().ok();
    wait_until("its number is known", || pid().is_some());
    let hidden = pid().expect("just seen");
    let is = |name: &str| devsup::sys::tree::look(hidden).is_some_and(|process| process.comm == name);
    wait_until("it has forgotten", || is("sleep"));
    let (keeper, daemon) = (keeper_of(&project, "a"), daemon(&project));
    for (pid, signal) in [(daemon, Signal::SIGSTOP), (keeper, Signal::SIGKILL), (daemon, Signal::SIGKILL)] {
        send(pid, signal);
    }
    until_gone(&[daemon, keeper]);
    assert!(lives(hidden));
    let up = project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(
        up.stderr.contains(&format!("`a`: run 1 of an earlier devsup had left sleep (pid {hidden}); ended now")),
        "{up:#?}"
    );
    assert!(!lives(hidden));
    let runs = std::fs::read_dir(project.cgroups().remove(0)).expect("its place").flatten();
    let names: Vec<String> =
        runs.filter(|one| one.path().is_dir()).map(|one| one.file_name().display().to_string()).collect();
    assert!(!names.contains(&"a.1".to_owned()) && names.contains(&"a.2".to_owned()), "{names:?}");
}

/// The daemon's children now; nobody's when there is no daemon yet.
fn keepers(project: &Project) -> Vec<u32> {
    let text = project.state().and_then(|state| std::fs::read_to_string(state.join("lock")).ok());
    let info = text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let pid = info.and_then(|info| u32::try_from(info["pid"].as_u64()?).ok());
    pid.filter(|&pid| lives(pid)).map(devsup::sys::tree::children).unwrap_or_default()
}

/// At instants that are told apart by what is there, and a few more after each.
#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_start_leaves_nothing() {
    let polite = badly(POLITE);
    let many = services(4, &polite);
    both(&format!("name = \"early\"\n{many}"), |project| {
        for (started, deep) in [(0, false), (1, false), (2, true), (4, false), (4, true)] {
            let mut up = project.spawn(&["up", "-d"]);
            wait_until("it has come so far", || {
                let keepers = keepers(&project);
                let shims = keepers.iter().filter(|&&pid| !devsup::sys::tree::children(pid).is_empty()).count();
                let there = project.state().is_some_and(|state| state.join("lock").exists());
                let so_far = if deep { shims >= started } else { keepers.len() >= started };
                there && so_far || !up.lives()
            });
            let daemon = std::fs::read_to_string(project.state().expect("its state").join("lock")).unwrap_or_default();
            let daemon = serde_json::from_str::<serde_json::Value>(&daemon).ok().and_then(|info| info["pid"].as_u64());
            if let Some(daemon) = daemon.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| lives(pid)) {
                send(daemon, Signal::SIGKILL);
            }
            up.finish();
            // One that was not written down yet, or has just begun.
            project.devsup(&["down"]);
            until_nothing_is_left(&project);
        }
        let up = project.devsup(&["up", "-d", "--wait"]).ok();
        assert!(!up.stderr.contains("error") && project.ps().iter().all(|one| one.crashes == 0), "{up:#?}");
    });
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_stop_or_a_replacement_leaves_nothing() {
    let told = badly("daemon [ ignore TERM sleep 600 ] on TERM touch told sleep 600");
    let manifest = format!("name = \"late\"\n[services.a]\ncommand = {told}\nstop_timeout = \"300ms\"\n");
    both(&manifest, |project| {
        for verb in [&["stop", "a"][..], &["restart", "a"], &["down"]] {
            project.devsup(&["up", "-d", "--wait"]).ok();
            let tree = tree_of(keeper_of(&project, "a"), 2);
            let typed = project.spawn(verb);
            wait_until("it was told to stop", || project.path("told").exists());
            send(daemon(&project), Signal::SIGKILL);
            typed.finish();
            until_gone(&tree);
            until_nothing_is_left(&project);
            std::fs::remove_file(project.path("told")).expect("just seen");
        }
        let up = project.devsup(&["up", "-d", "--wait"]).ok();
        let warned =
            up.stderr.lines().any(|line| line.contains("warning") && !line.contains("as root, as devsup does"));
        assert!(!warned && project.service("a").crashes == 0, "{up:#?}");
    });
}
