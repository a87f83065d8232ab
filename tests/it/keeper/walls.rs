//! Isolation: what two services of one user can do to each other, and what is theirs behind the wall all the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use devsup::keeper::protocol::{Identity, Report};
use devsup::sys::identity;
use devsup::sys::isolation::{self, Holds, Means, Wall};

use super::kept::{Kept, Setup, isolates_freely, misbehave};
use super::{LONG, stop};
use crate::means::{skipped, walls};

/// What reads another process, and what stops at the wall whatever the kernel's age.
const READS: [&str; 10] = ["environ", "maps", "mem", "cwd", "exe", "fd-link", "fd-open", "fd-get", "vm-read", "ptrace"];

fn how(means: Means) -> &'static str {
    match means {
        Means::Signals => "landlock",
        Means::Files => "landlock, but signals to others pass",
    }
}

fn setup(isolate: bool) -> Setup {
    let mut setup = Setup::new();
    setup.spec.birth.isolate = isolate;
    setup.spec.env.push(("SECRET".into(), "s3cret-of-a-test".into()));
    setup
}

/// A service to be attacked.
fn victim(setup: &Setup) -> (Kept, u32) {
    let mut kept = setup.start(&["touch", "ready", "sleep", "600"]);
    let pid = kept.started();
    setup.wait_for("ready");
    (kept, pid)
}

fn isolation(kept: &mut Kept) -> String {
    kept.until("isolation", |report| match report {
        Report::Isolation { how } => Some(how.clone()),
        _ => None,
    })
}

/// What an attacker in a run of its own says.
fn attack(setup: &Setup, who: &str) -> String {
    fs::remove_file(setup.path("out")).ok();
    let mut kept = setup.start(&["to", "out", "attack", who, "exit", "0"]);
    kept.until_gone();
    setup.read("out")
}

fn got(said: &str, way: &str, pid: u32) -> bool {
    let begins = format!("attack {way} of {pid}: ");
    let line = said.lines().find_map(|line| line.strip_prefix(begins.as_str()));
    line.unwrap_or_else(|| panic!("`{begins}` in {said}")).starts_with("got")
}

#[track_caller]
fn stopped(said: &str, pid: u32, means: Means) {
    for way in READS {
        assert!(!got(said, way, pid), "{way}: {said}");
    }
    assert_eq!(got(said, "signal", pid), means == Means::Files, "{said}");
}

#[test]
fn an_isolated_service_gets_at_nobody_of_its_own_user() {
    let Some(means) = walls() else { return };
    let (theirs, own) = (setup(true), setup(true));
    let (mut neighbour, pid) = victim(&theirs);
    assert_eq!(isolation(&mut neighbour), how(means));
    stopped(&attack(&own, &pid.to_string()), pid, means);
    stopped(&attack(&own, &neighbour.keeper().to_string()), neighbour.keeper(), means);
    // Whoever runs these tests: a bystander, in no domain at all.
    let me = std::process::id();
    stopped(&attack(&own, &me.to_string()), me, means);
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

#[test]
fn an_isolated_service_gets_not_at_its_own_keeper() {
    let Some(means) = walls() else { return };
    let own = setup(true);
    let mut kept = own.start(&["to", "out", "attack", "parent", "exit", "0"]);
    let keeper = kept.keeper();
    kept.until_gone();
    stopped(&own.read("out"), keeper, means);
}

/// So that the tests above can fail: this is what the wall keeps out.
#[test]
fn without_isolation_all_of_one_user_is_open() {
    let (theirs, own) = (setup(false), setup(false));
    let (mut neighbour, pid) = victim(&theirs);
    assert_eq!(isolation(&mut neighbour), "off");
    let said = attack(&own, &pid.to_string());
    // Tracing may be closed by other means (Yama).
    for way in ["environ", "maps", "cwd", "exe", "fd-link", "fd-open", "signal"] {
        assert!(got(&said, way, pid), "{way}: {said}");
    }
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

/// What is not isolated is not walled in by others' walls: it sees those who are.
#[test]
fn who_is_not_isolated_sees_even_those_who_are() {
    let (theirs, own) = (setup(true), setup(false));
    let (mut neighbour, pid) = victim(&theirs);
    let said = attack(&own, &pid.to_string());
    assert!(got(&said, "environ", pid) && got(&said, "signal", pid), "{said}");
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

#[test]
fn a_service_of_roots_with_a_user_of_its_own_is_behind_the_same_wall() {
    let Some(means) = walls() else { return };
    if identity::own().0 != 0 {
        return;
    }
    let somebody = |isolate| {
        let mut setup = Setup::of(Identity { uid: 65534, gid: 65534, groups: vec![65534] });
        setup.spec.birth.isolate = isolate;
        setup
    };
    let (theirs, own, bare) = (somebody(true), somebody(true), somebody(false));
    let (mut neighbour, pid) = victim(&theirs);
    stopped(&attack(&own, &pid.to_string()), pid, means);
    assert!(got(&attack(&bare, &pid.to_string()), "environ", pid), "one user, no wall");
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

/// In some containers not even that is all.
fn all_that_is_got_of_a_child() -> usize {
    let said = attack(&setup(false), "child");
    assert!(
        ["environ", "maps", "cwd", "signal"].iter().all(|way| said.contains(&format!("attack {way} of"))),
        "{said}"
    );
    let got = said.matches(": got").count();
    assert!(got > READS.len() / 2, "{said}");
    got
}

#[test]
fn a_service_may_do_all_that_to_its_own_children() {
    let said = attack(&setup(true), "child");
    assert_eq!(said.matches(": got").count(), all_that_is_got_of_a_child(), "{said}");
}

#[test]
fn who_has_no_right_to_isolate_otherwise_gives_up_new_privileges() {
    if walls().is_none() {
        return;
    }
    let own = setup(true);
    own.start(&["to", "out", "show", "/proc/self/status", "exit", "0"]).until_gone();
    let status = own.read("out");
    let freely = isolates_freely();
    assert_eq!(status.contains("NoNewPrivs:\t1"), !freely, "{status}");
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a set");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    // CAP_SYS_ADMIN and CAP_PERFMON, which look past every wall; a root that execs would get them back from the bounding set.
    let past = 1 << 21 | 1 << 38;
    assert_eq!(set("CapEff:") & past, 0);
    assert_eq!(set("CapPrm:") & past, 0);
    assert!(!freely || set("CapBnd:") & past == 0, "{status}");
}

#[test]
fn the_keeper_still_stops_signals_and_looks_at_an_isolated_run() {
    let own = setup(true);
    let mut kept = own.start(&["on", "USR1", "touch", "told", "touch", "ready", "sleep", "600"]);
    kept.started();
    own.wait_for("ready");
    kept.order(&devsup::keeper::protocol::Order::Signal { signal: 10, main: false });
    own.wait_for("told");
    kept.order(&devsup::keeper::protocol::Order::LookForDebugger);
    let by = kept.until("a look", |report| match report {
        Report::Traced { by } => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by, None);
    kept.order(&stop(LONG));
    kept.until_gone();
    kept.nothing_is_left();
}

/// `nginx -s quit`, `kill $(cat pid)`: it is in no position to read the service, and must be able to tell it to end.
#[test]
fn a_stop_command_of_an_isolated_service_may_signal_it_and_reads_nobody() {
    let Some(_) = walls() else { return };
    let (theirs, mut own) = (setup(true), setup(true));
    let (mut neighbour, pid) = victim(&theirs);
    let program = misbehave();
    own.spec.stop.signal = 12;
    let script = format!("kill -USR1 $(cat pid); exec {program} to out attack {pid} exit 0");
    own.spec.stop.command = Some(vec!["/bin/sh".into(), "-c".into(), script]);
    let service = format!("echo $$ > pid; exec {program} on USR1 touch told on USR2 exit 3 touch ready sleep 600");
    let mut kept = own.start_argv(&["/bin/sh", "-c", &service]);
    kept.started();
    own.wait_for("ready");
    kept.order(&stop(LONG));
    kept.until_gone();
    assert!(own.has("told"), "its signal came");
    let said = own.read("out");
    for way in READS {
        assert!(!got(&said, way, pid), "{way}: {said}");
    }
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

/// git, npm, pip and half of the world do this.
const RENAMES: &str = "mkdir -p from to && echo x > from/file && mv from/file to/file && mkdir from/folder && \
                       ln to/file from/link && mv from/folder to/ && test -e to/folder && test -e from/link";

#[test]
fn files_are_moved_across_folders_behind_the_wall() {
    let own = setup(true);
    let git = "if command -v git > /dev/null; then export HOME=$PWD GIT_CONFIG_NOSYSTEM=1; git init -q repo && cd repo && \
               echo x > x && git add x && git -c user.name=x -c user.email=x@x commit -qm x && git gc -q && git log -1; fi";
    let mut kept = own.start_argv(&["/bin/sh", "-c", &format!("({RENAMES} && {git}) > out 2>&1")]);
    assert_eq!(kept.exited(), devsup::supervisor::Exit::Code(0), "{}", own.read("out"));
    kept.until_gone();
}

#[test]
fn a_debugger_that_a_service_starts_itself_works() {
    let trace = |isolate| {
        let own = setup(isolate);
        let strace = "(strace -f -o trace /bin/true && test -s trace) > out 2>&1";
        let mut kept = own.start_argv(&["/bin/sh", "-c", strace]);
        let exit = kept.exited();
        kept.until_gone();
        (exit, own.read("out"))
    };
    let (without, said) = trace(false);
    if without != devsup::supervisor::Exit::Code(0) {
        return skipped(&format!("strace does not work here: {said}"));
    }
    let (behind, said) = trace(true);
    assert_eq!(behind, without, "{said}");
}

/// A domain is a thread's and its children's, so each of these kernels can be played in a thread of its own.
#[expect(clippy::disallowed_methods, reason = "a child of this very thread is behind its wall")]
fn behind(means: Means, wall: Wall, script: &str, folder: &Path) -> (Holds, bool, String) {
    thread::scope(|scope| {
        let aside = scope.spawn(|| {
            let holds = isolation::enter(means, wall).expect("a wall");
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", script]).current_dir(folder).stdin(Stdio::null());
            let output = shell.output().expect("a shell");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (holds, output.status.success(), said)
        });
        aside.join().expect("it does not panic")
    })
}

#[test]
fn the_wall_of_older_kernels_keeps_readers_out_and_lets_renames_and_signals_pass() {
    if walls().is_none() {
        return;
    }
    let theirs = setup(false);
    let (mut neighbour, pid) = victim(&theirs);
    let children = all_that_is_got_of_a_child();
    for (means, wall) in [(Means::Files, Wall::Whole), (Means::Files, Wall::SignalsPass)] {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("({RENAMES}) && exec {} attack {pid} attack child", misbehave());
        let (holds, well, said) = behind(means, wall, &script, folder.path());
        assert_eq!((holds, well), (Holds::NotSignals, true), "{said}");
        for way in READS {
            assert!(!got(&said, way, pid), "{way}: {said}");
        }
        assert!(got(&said, "signal", pid), "{said}");
        assert_eq!(said.matches(": got").count(), 1 + children, "its own child is open to it: {said}");
    }
    neighbour.order(&stop(LONG));
    neighbour.until_gone();
}

#[test]
fn without_a_wall_left_to_build_a_run_starts_and_says_so() {
    let Some(means) = walls() else { return };
    let own = setup(true);
    let program = misbehave();
    let said = thread::scope(|scope| {
        let deep = scope.spawn(|| {
            while isolation::enter(means, Wall::SignalsPass).is_ok() {}
            // The keeper is a child of this thread, and is as deep.
            let mut kept = own.start_argv(&[&program, "touch", "ready", "exit", "0"]);
            let said = isolation(&mut kept);
            kept.until_gone();
            said
        });
        deep.join().expect("it does not panic")
    });
    assert!(said.starts_with("none: 16 Landlock domains"), "{said}");
    assert!(own.has("ready"));
}
