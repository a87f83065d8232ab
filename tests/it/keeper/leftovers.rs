//! What is left when a keeper is killed, and who finds it.

use std::time::Duration;

use devsup::keeper::protocol::{Order, Report};
use devsup::keeper::{Force, end_marked, find_marked, sweep_strays};
use devsup::supervisor::Exit;
use devsup::sys::process::{self, End, Stdio3, Waited};
use devsup::sys::{pipe, signal, tree};

use super::kept::{Kept, Setup, misbehave, wait_until};
use super::{LONG, stop};

/// A service with a daemon of its own that ignores TERM; its keeper is killed.
fn orphaned(setup: &Setup) -> (Kept, u32) {
    let mut kept = setup.start(&[
        "daemon", "[", "ignore", "TERM", "fork", "[", "touch", "deep", "sleep", "60", "]", "touch", "daemon", "sleep",
        "60", "]", "wait-for", "daemon", "wait-for", "deep", "touch", "ready", "sleep", "60",
    ]);
    kept.started();
    setup.wait_for("ready");
    assert_eq!(kept.tree().len(), 3);
    let keeper = kept.keeper();
    let marked = find_marked(&setup.spec.project);
    assert_eq!(marked.len(), 3);
    assert!(marked.iter().all(|one| one.keeper == Some(keeper) && one.run == setup.spec.run), "{marked:?}");
    signal::send(keeper, signal::KILL).expect("the keeper is there");
    assert_eq!(kept.reaped(), Exit::Signal(9));
    (kept, keeper)
}

#[test]
fn leftovers_of_an_earlier_devsup_are_found_by_their_mark_and_ended() {
    let setup = Setup::new();
    let project = &setup.spec.project;
    let (kept, _) = orphaned(&setup);
    wait_until("the main process has died with its keeper", || find_marked(project).len() == 2);
    let marked = find_marked(project);
    assert!(marked.iter().all(|one| one.keeper.is_none() && one.comm == "misbehave"), "{marked:?}");
    assert_eq!(end_marked(&marked, "another", Force::Kill), []);
    assert_eq!(end_marked(&marked, project, Force::Politely).len(), 2);
    wait_until("the polite one is gone", || find_marked(project).len() == 1);
    assert_eq!(end_marked(&marked, project, Force::Kill).len(), 1);
    kept.nothing_is_left();
    assert_eq!(end_marked(&marked, project, Force::Kill), []);
}

const ALONE: &str = "DEVSUP_TEST_ALONE";

/// The sweep takes every child that is no keeper, so it is tried in a process where there are no other tests.
#[test]
fn the_daemon_sweeps_what_a_killed_keeper_left() {
    if std::env::var_os(ALONE).is_some() {
        return sweep();
    }
    let (stdin, _) = pipe::pipe().unwrap();
    let name = "keeper::leftovers::the_daemon_sweeps_what_a_killed_keeper_left";
    let path = std::env::var("PATH").unwrap_or_default();
    let stdio = Stdio3 { stdin, stdout: None, stderr: None };
    let alone =
        process::start(process::own_program(), &["--exact", name], &[(ALONE, "1"), ("PATH", &path)], stdio).unwrap();
    let mut end = None;
    wait_until("the test of its own ends", || match process::wait(Some(alone)) {
        Waited::Ended(_, how) => {
            end = Some(how);
            true
        }
        Waited::Alive | Waited::NoChildren => false,
    });
    assert_eq!(end, Some(End::Code(0)), "run it alone: `{ALONE}=1 cargo test --test it -- --exact {name}`");
}

fn sweep() {
    process::adopt_orphans().expect("this process may");
    let (stdin, _) = pipe::pipe().expect("this process may");
    let stdio = Stdio3 { stdin, stdout: None, stderr: None };
    let helper = process::start(misbehave().as_ref(), &["sleep", "60"], &[], stdio).expect("this process may");
    let other_setup = Setup::new();
    let mut other = other_setup.start(&["touch", "ready", "sleep", "60"]);
    other_setup.wait_for("ready");

    let setup = Setup::new();
    let (kept, _) = orphaned(&setup);
    let mut found = std::collections::BTreeSet::new();
    wait_until("the strays are swept", || {
        let now = sweep_strays(&[other.keeper()]);
        found.extend(now.iter().map(|stray| stray.pid));
        now.is_empty() && find_marked(&setup.spec.project).is_empty()
    });
    kept.nothing_is_left();
    // Waited for, too: none of them is a zombie of ours.
    assert!(!found.is_empty() && found.iter().all(|pid| tree::look(*pid).is_none()), "{found:?}");

    assert!(tree::look(helper).is_some_and(|process| process.state != 'Z'), "the SDK's helpers are not ours to end");
    assert_eq!(other.exit(), None);
    other.order(&stop(LONG));
    other.until_gone();
    assert_eq!(other.exit(), Some(Exit::Signal(15)));
    signal::send(helper, signal::KILL).expect("this process may");
    wait_until("the helper ends", || process::wait(Some(helper)) != Waited::Alive);
}

#[test]
fn a_debugger_is_seen_when_asked_for() {
    fn by(kept: &mut Kept, wanted: impl Fn(Option<&str>) -> bool) {
        kept.order(&Order::LookForDebugger);
        kept.until("an answer about debuggers", |report| match report {
            Report::Traced { by } if wanted(by.as_deref()) => Some(()),
            _ => None,
        });
    }
    let setup = Setup::new();
    let mut kept = setup.start(&["touch", "ready", "sleep", "60"]);
    let pid = kept.started();
    setup.wait_for("ready");
    by(&mut kept, |by| by.is_none());
    let traced = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::ptrace::seize(traced, nix::sys::ptrace::Options::empty()).unwrap();
    let own = format!("(pid {})", std::process::id());
    by(&mut kept, |by| by.is_some_and(|by| by.ends_with(&own)));
    kept.order(&Order::Kill);
    // Whoever traces is told of the death first.
    let mut died = None;
    wait_until("the traced one dies", || {
        died = nix::sys::wait::waitpid(
            traced,
            Some(nix::sys::wait::WaitPidFlag::WNOHANG | nix::sys::wait::WaitPidFlag::__WALL),
        )
        .ok();
        matches!(died, Some(nix::sys::wait::WaitStatus::Signaled(..)))
    });
    kept.until_gone();
}

#[test]
fn an_idle_keeper_never_wakes_and_stays_small() {
    let setup = Setup::new();
    // It has written something, so buffers have come and must have gone.
    let mut kept = setup.start(&["bytes", "1000000", "touch", "ready", "sleep", "60"]);
    kept.started();
    setup.wait_for("ready");
    let keeper = kept.keeper();
    let switches = move || {
        let status = std::fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).map(str::to_owned)
    };
    // Silent once a look at it a while later shows the same: at most the two seconds of an unfinished line.
    let mut before = switches();
    wait_until("it is silent", || {
        std::thread::sleep(Duration::from_millis(2500));
        let now = switches();
        std::mem::replace(&mut before, now.clone()) == now
    });
    // Only root may look into a process that is not dumpable.
    if let Ok(rollup) = std::fs::read_to_string(format!("/proc/{keeper}/smaps_rollup")) {
        let of = |field: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        assert!(of("Private_Dirty:") < 3000, "{rollup}");
    }
}
