//! Whole trees: whoever a run started is told, ended and waited for, with a cgroup and without.

use std::time::Duration;

use devsup::keeper::protocol::Order;
use devsup::supervisor::Exit;
use devsup::sys::process::{self, Stdio3, Waited};
use devsup::sys::{pipe, signal, tree};

use super::kept::{Setup, misbehave, wait_until};
use super::{LONG, stop};
use crate::means::skipped;

const SHORT: Duration = Duration::from_millis(200);

/// Many of a block of words.
fn times(count: usize, block: &'static [&'static str]) -> Vec<&'static str> {
    std::iter::repeat_n(block, count).flatten().copied().collect()
}

#[test]
fn a_setsid_grandchild_and_a_daemon_are_told_and_gone() {
    let child = ["fork", "setsid", "[", "on", "TERM", "touch", "child-told", "touch", "child", "sleep", "60", "]"];
    let daemon = ["daemon", "[", "on", "TERM", "touch", "daemon-told", "touch", "daemon", "sleep", "60", "]"];
    let main = ["touch", "ready", "sleep", "60"];
    Setup::both(|setup| {
        let mut kept = setup.start(&[&child[..], &daemon, &main].concat());
        kept.started();
        for file in ["child", "daemon", "ready"] {
            setup.wait_for(file);
        }
        assert_eq!(kept.tree().len(), 3);
        assert_eq!(setup.group.as_ref().map_or(3, |group| group.cgroup.processes().len()), 3, "all three are in it");
        kept.order(&stop(Duration::from_secs(1)));
        kept.until_gone();
        // They go on after being told, so it is SIGKILL that ends them.
        assert!(setup.has("child-told") && setup.has("daemon-told"));
        kept.nothing_is_left();
        assert!(!setup.group.as_ref().is_some_and(crate::groups::Group::is_populated));
    });
}

#[test]
fn a_stopped_service_can_die() {
    Setup::both(|setup| {
        let mut kept = setup.start(&["fork", "[", "touch", "child", "stop", "]", "wait-for", "child", "stop"]);
        let pid = kept.started();
        wait_until("both are stopped", || {
            let tree = kept.tree();
            tree.len() == 2 && tree.iter().all(|pid| tree::look(*pid).is_some_and(|process| process.state == 'T'))
        });
        kept.order(&stop(LONG));
        kept.until_gone();
        assert_eq!(kept.exit(), Some(Exit::Signal(15)), "pid {pid}");
        kept.nothing_is_left();
    });
}

#[test]
fn a_fork_bomb_loses() {
    Setup::both(|setup| {
        let mut kept = setup.start(&["bomb", "64"]);
        kept.tree_has(30);
        kept.order(&Order::Kill);
        kept.until_gone();
        kept.nothing_is_left();
    });
}

/// Forty lines of descent, each always about to be another process in another session: they fork while they are killed.
/// By themselves they end after 40 × 300 processes.
#[test]
fn a_bomb_that_races_the_kill_loses() {
    let hoppers = times(40, &["fork", "[", "ignore", "TERM", "hop", "300", "]"]);
    let main = ["ignore", "TERM", "touch", "ready", "sleep", "60"];
    Setup::both(|setup| {
        let mut kept = setup.start(&[&hoppers[..], &main].concat());
        setup.wait_for("ready");
        kept.tree_has(40);
        kept.order(&stop(Duration::ZERO));
        kept.until_gone();
        assert_eq!(kept.exit(), Some(Exit::Signal(9)));
        kept.nothing_is_left();
    });
}

#[test]
fn who_hops_from_session_to_session_is_caught() {
    Setup::both(|mut setup| {
        setup.spec.stop.timeout = SHORT;
        let mut kept = setup.start(&["hop", "10000"]);
        assert_eq!(kept.exited(), Exit::Code(0));
        kept.until_gone();
        kept.nothing_is_left();
    });
}

#[test]
fn a_stop_before_exec_leaves_nothing() {
    for _ in 0..10 {
        Setup::both(|setup| {
            let mut kept = setup.start(&["sleep", "60"]);
            kept.order(&stop(LONG));
            kept.until_gone();
            assert!(matches!(kept.exit(), Some(Exit::Signal(9 | 15))));
            assert_eq!(kept.reaped(), Exit::Code(0));
            kept.nothing_is_left();
        });
    }
}

#[test]
fn when_the_daemon_dies_all_is_ended_politely_then_by_force() {
    let daemon = ["daemon", "[", "ignore", "TERM", "touch", "daemon", "sleep", "60", "]"];
    let main = ["on", "TERM", "touch", "told", "wait-for", "daemon", "touch", "ready", "sleep", "60"];
    Setup::both(|mut setup| {
        setup.spec.stop.timeout = SHORT;
        let mut kept = setup.start(&[&daemon[..], &main].concat());
        kept.started();
        setup.wait_for("ready");
        let keeper = kept.hang_up();
        kept.nothing_is_left();
        assert!(setup.has("told"));
        wait_until("the keeper is gone too", || tree::look(keeper).is_none_or(|process| process.is_zombie()));
    });
}

/// The daemon may die before its keeper has read what it was sent, or while the shim becomes the service.
#[test]
fn a_daemon_that_dies_in_the_middle_of_a_start_leaves_nothing() {
    for _ in 0..10 {
        Setup::both(|setup| {
            let mut kept = setup.start(&["touch", "ran", "sleep", "60"]);
            let keeper = kept.hang_up();
            wait_until("the keeper is gone", || tree::look(keeper).is_none_or(|process| process.is_zombie()));
            kept.nothing_is_left();
        });
    }
}

#[test]
fn fifty_adopted_children_that_die_at_once_are_waited_for() {
    let daemons = times(50, &["daemon", "[", "wait-for", "go", "]"]);
    Setup::both(|setup| {
        let mut kept = setup.start(&[&daemons[..], &["touch", "ready", "sleep", "60"]].concat());
        let main = kept.started();
        setup.wait_for("ready");
        kept.tree_has(51);
        std::fs::write(setup.path("go"), "").expect("a file");
        // Zombies would still be children.
        wait_until("only the main process is left", || tree::children(kept.keeper()) == [main]);
        assert_eq!(kept.exit(), None);
        kept.order(&stop(LONG));
        kept.until_gone();
    });
}

#[test]
fn zombies_that_a_main_process_leaves_are_nobody_to_wait_for() {
    let dead = times(5, &["fork", "[", "exit", "0", "]"]);
    Setup::both(|setup| {
        let mut kept = setup.start(&[&dead[..], &["wait-for", "leave", "exit", "4"]].concat());
        let main = kept.started();
        let zombies =
            |all: &[u32]| all.iter().filter_map(|pid| tree::look(*pid)).filter(tree::Process::is_zombie).count();
        wait_until("its children are zombies", || zombies(&tree::children(main)) == 5);
        std::fs::write(setup.path("leave"), "").expect("a file");
        kept.until_gone();
        assert_eq!(kept.exit(), Some(Exit::Code(4)));
        let log = setup.read("logs/000004.log");
        assert!(!log.contains("leftover"), "nobody was left behind: {log}");
    });
}

#[test]
fn who_leaves_the_cgroup_is_ended_all_the_same() {
    let Some(setup) = Setup::in_cgroup() else { return skipped("none can be made here") };
    let own = devsup::sys::cgroup::own().expect("one was made in it");
    let leave = format!("trap '' TERM; echo 0 >{}/cgroup.procs && : >ready; sleep 60 & wait; wait", own.display());
    let mut kept = setup.start_argv(&["sh", "-c", &leave]);
    kept.started();
    setup.wait_for("ready");
    wait_until("both are outside", || {
        kept.tree().len() == 2 && !setup.group.as_ref().is_some_and(crate::groups::Group::is_populated)
    });
    assert!(!kept.is_gone());
    kept.order(&stop(Duration::from_millis(50)));
    kept.until_gone();
    kept.nothing_is_left();
}

/// Its end is nobody's SIGCHLD to the keeper: the cgroup itself says that it is empty.
#[test]
fn who_was_put_in_the_cgroup_from_outside_belongs_to_the_run() {
    let Some(setup) = Setup::in_cgroup() else { return skipped("none can be made here") };
    let group = &setup.group.as_ref().expect("just made").cgroup;
    let (stdin, _) = pipe::pipe().expect("a pipe");
    let stdio = Stdio3 { stdin, stdout: None, stderr: None };
    let guest =
        process::start(misbehave().as_ref(), &["ignore", "TERM", "sleep", "60"], &[], stdio).expect("a process");
    group.admit(guest).expect("root may");
    let mut kept = setup.start(&["touch", "ready", "wait-for", "leave"]);
    kept.started();
    setup.wait_for("ready");
    std::fs::write(setup.path("leave"), "").expect("a file");
    assert_eq!(kept.exited(), Exit::Code(0));
    assert!(!kept.is_gone(), "the guest is still there");
    kept.order(&Order::Kill);
    kept.until_gone();
    wait_until("the guest is dead", || process::wait(Some(guest)) != Waited::Alive);
}

#[test]
fn an_old_kernel_kills_by_freezing() {
    let Some(setup) = Setup::in_cgroup() else { return skipped("none can be made here") };
    let mut kept = setup.start(&["bomb", "32", "touch", "ready", "sleep", "60"]);
    kept.tree_has(20);
    let group = &setup.group.as_ref().expect("just made").cgroup;
    wait_until("all are dead", || {
        group.kill_each().expect("ours");
        group.processes().is_empty()
    });
    kept.until_gone();
    assert_eq!(kept.exit(), Some(Exit::Signal(signal::KILL)));
    kept.nothing_is_left();
}
