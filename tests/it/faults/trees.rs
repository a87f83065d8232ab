//! Whole trees under a daemon, with a cgroup for each run and without: what a run started is ended with it, and who cannot be
//! ended is named.

use std::path::PathBuf;
use std::time::Duration;

use devsup::control::api::{Service, Tree};
use devsup::supervisor::State;
use devsup::sys::clock::monotonic;
use nix::sys::signal::Signal;

use super::{STUBBORN, badly, daemon, keeper_of, lives, send, tree_of, until_gone};
use crate::groups::{Group, Ice, can_be_made};
use crate::means::{is_root, skipped};
use crate::project::{Project, binary, wait_until};

/// Once without cgroups, once with, if there are any here.
pub(super) fn both(manifest: &str, test: impl Fn(Project)) {
    for mode in ["session", "auto"] {
        if mode == "auto" && !can_be_made() {
            skipped("the half with cgroups: none can be made here");
            continue;
        }
        let mut project = Project::new(manifest);
        project.env.insert("DEVSUP_TREE".into(), mode.into());
        test(project);
    }
}

/// `s0`, `s1` … of a manifest, all the same.
pub(super) fn services(count: usize, command: &str) -> String {
    (0..count).fold(String::new(), |all, n| format!("{all}[services.s{n}]\ncommand = {command}\n"))
}

/// What `ps` is to say.
fn tree(project: &Project) -> Tree {
    if project.env["DEVSUP_TREE"] == "session" { Tree::Session } else { Tree::Cgroup }
}

fn swarm() -> String {
    let words = "fork [ ignore TERM hop 300 ] ".repeat(20);
    badly(&format!("{words}{STUBBORN}"))
}

#[test]
fn stop_restart_and_down_end_what_forks_while_it_is_killed() {
    let swarm = swarm();
    both(&format!("name = \"swarm\"\n[services.a]\ncommand = {swarm}\nstop_timeout = \"100ms\"\n"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        assert_eq!(project.service("a").tree, tree(&project));
        for verb in [&["restart", "a"][..], &["stop", "a"], &["start", "a"], &["down"]] {
            let before = devsup::sys::tree::descendants(keeper_or_nobody(&project), &[]);
            project.devsup(verb).ok();
            let left: Vec<u32> = before.into_iter().filter(|&pid| lives(pid)).collect();
            assert!(left.is_empty(), "{verb:?} was done, and {left:?} live");
        }
    });
}

fn keeper_or_nobody(project: &Project) -> u32 {
    if project.service("a").pid.is_some() { keeper_of(project, "a") } else { u32::MAX }
}

#[test]
fn after_down_no_keeper_and_no_cgroup_is_left() {
    let many = services(8, "[\"sleep\", \"600\"]");
    both(&format!("name = \"many\"\n{many}"), |project| {
        project.devsup(&["up", "-d", "--wait"]).ok();
        let keepers: Vec<u32> = devsup::sys::tree::children(daemon(&project));
        assert_eq!(keepers.len(), 8);
        project.devsup(&["down"]).ok();
        let left: Vec<u32> = keepers.into_iter().filter(|pid| devsup::sys::tree::look(*pid).is_some()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(project.cgroups().is_empty(), "{:?}", project.cgroups());
    });
}

#[test]
fn a_cgroup_is_gone_with_its_run() {
    let a = badly("exit 0");
    let project = Project::new(&format!(
        "name = \"tidy\"\n[services.a]\ncommand = {a}\nrestart = \"always\"\nbackoff = {{ first = \"10ms\", max = \"20ms\" }}\n"
    ));
    project.devsup(&["up", "-d"]);
    if project.cgroups().is_empty() {
        return skipped("no cgroup can be made here");
    }
    project.until_one("a", |a| a.run.is_some_and(|run| run > 10), "it has run ten times");
    project.devsup(&["stop", "a"]).ok();
    let base = project.cgroups().remove(0);
    let runs = || std::fs::read_dir(&base).expect("its place").flatten().filter(|one| one.path().is_dir()).count();
    wait_until("only the daemon's own is left", || runs() == 1);
}

/// SIGKILL does nothing to what is frozen the old way: as with state D, or with what became root.
#[test]
fn who_survives_sigkill_is_named_and_nothing_is_called_a_success() {
    let stubborn = badly(STUBBORN);
    both(&format!("name = \"ice\"\n[services.a]\ncommand = {stubborn}\nstop_timeout = \"100ms\"\n"), |project| {
        let Some(ice) = Ice::make() else { return skipped("no freezer of cgroup v1 that we may use") };
        project.devsup(&["up", "-d", "--wait"]).ok();
        let all = tree_of(keeper_of(&project, "a"), 3);
        ice.take(all[2]);
        let stop = project.devsup(&["stop", "a"]).ends(1);
        let name = format!("pid {} (`misbehave`", all[2]);
        assert!(stop.stderr.contains(&name) && stop.stderr.contains("survives SIGKILL"), "{stop:#?}");
        let a = project.service("a");
        assert!(a.state == State::Stopping && a.survivors.iter().any(|who| who.contains(&name)), "{a:#?}");
        let down = project.devsup(&["down"]).ends(1);
        assert!(down.stderr.contains(&name), "{down:#?}");
        ice.set("THAWED");
        until_gone(&all);
        wait_until("the daemon ends, too", || project.devsup(&["ps"]).status == 5);
    });
}

/// As a keeper that hangs in a write to a dead disk: continuing it does nothing.
#[test]
fn a_keeper_that_hangs_harms_its_own_run_only() {
    let stubborn = badly(STUBBORN);
    let manifest = format!(
        "name = \"hung\"\n[services.a]\ncommand = {stubborn}\nstop_timeout = \"100ms\"\n[services.b]\ncommand = [\"sleep\", \"600\"]\n"
    );
    both(&manifest, |project| {
        let Some(freezer) = Group::make("freezer").filter(|_| is_root()) else {
            return skipped("only root may freeze a keeper");
        };
        project.devsup(&["up", "-d", "--wait"]).ok();
        let keeper = keeper_of(&project, "a");
        let all = tree_of(keeper, 3);
        freezer.cgroup.admit(keeper).expect("root may");
        freezer.freeze(true);
        let stop = project.spawn(&["stop", "a"]);
        project.devsup(&["restart", "b"]).ok();
        stop.finish().ok();
        until_gone(&all);
        let killed = |why: &str| why.contains(&format!("keeper {keeper}")) && why.contains("killed");
        assert!(project.events().iter().any(|event| event.reason.as_deref().is_some_and(killed)));
        assert_eq!((project.service("a").state, project.service("b").state), (State::Stopped, State::Running));
    });
}

#[test]
fn a_stopped_keeper_is_continued_at_once_and_it_is_noted() {
    let project = Project::new("name = \"asleep\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let keeper = keeper_of(&project, "a");
    let noted = || project.events().into_iter().filter(|event| event.event == "keeper-stopped").count();
    for times in 1..=3 {
        send(keeper, Signal::SIGSTOP);
        wait_until("it is noted", || noted() == times);
        wait_until("it goes on", || devsup::sys::tree::look(keeper).is_some_and(|process| process.state != 'T'));
    }
    let a = project.service("a");
    assert_eq!((a.state, a.run, a.crashes), (State::Running, Some(1), 0), "{a:#?}");
}

/// An ordinary user in a cgroup that was given to them, as by a unit with `User=` and `Delegate=yes`.
#[test]
fn an_ordinary_user_has_cgroups_in_what_was_delegated() {
    const NOBODY: u32 = 65534;
    let Some(group) = Group::make("delegated").filter(|_| is_root()) else {
        return skipped("only root may delegate a cgroup");
    };
    group.give_to(NOBODY);
    let stubborn = badly(STUBBORN);
    let project = Project::new(&format!(
        "name = \"given\"\n[services.a]\ncommand = {stubborn}\nstop_timeout = \"100ms\"\n[services.b]\ncommand = [\"sleep\", \"600\"]\n"
    ));
    for path in ["", "home", "services.toml"] {
        std::os::unix::fs::chown(project.path(path), Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    let into = group.path.join("cgroup.procs").display().to_string();
    let as_them = |args: &str| {
        let drop = "setpriv --reuid=65534 --regid=65534 --clear-groups --";
        let line = format!("echo 0 >{into} && exec {drop} {} {args}", binary().display());
        crate::project::Foreground::start(project.command("/bin/sh".as_ref(), &["-c", &line])).finish()
    };
    if as_them("--version").status != 0 {
        return skipped("an ordinary user cannot reach the binary, or there is no setpriv");
    }
    as_them("up -d --wait").ok();
    let services: Vec<Service> = as_them("ps --format json")
        .ok()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a service"))
        .collect();
    assert!(services.iter().all(|one| one.tree == Tree::Cgroup), "{services:#?}");
    let main = services.iter().find_map(|one| (one.name == "a").then_some(one.pid?)).expect("it runs");
    let all = tree_of(devsup::sys::tree::look(main).expect("it runs").parent, 3);
    let member = std::fs::read_to_string(format!("/proc/{}/cgroup", all[2])).expect("it lives");
    assert!(member.contains("/a.1"), "{member}");
    as_them("restart a").ok();
    until_gone(&all);
    as_them("down").ok();
    assert!(group.cgroup.groups().is_empty(), "{:?}", group.cgroup.groups());
}

/// The service manager is played by a `busctl` that does what it would: move the daemon to where it may do as it likes.
#[test]
fn a_scope_of_the_service_manager_is_asked_for() {
    let Some(scope) = Group::make("scope").filter(|_| is_root()) else { return skipped("only root may play systemd") };
    let mut project = Project::new("name = \"scoped\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    let bin = project.path("bin");
    std::fs::create_dir_all(project.path("run/systemd/private")).expect("a folder");
    std::fs::create_dir(&bin).expect("a folder");
    let path = format!("{}:{}", bin.display(), project.env["PATH"]);
    let runtime = project.path("run").display().to_string();
    project.env.extend([
        ("PATH".into(), path),
        ("XDG_RUNTIME_DIR".into(), runtime),
        ("DEVSUP_TREE".into(), "scope".into()),
    ]);
    let says = |script: &str| executable(bin.join("busctl"), &format!("#!/bin/sh\n{script}\n"));

    says("echo 'Call failed: Access denied' >&2; exit 1");
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert_eq!(project.service("a").tree, Tree::Session);
    let log = || std::fs::read_to_string(project.state().expect("its state").join("daemon.log")).expect("a log");
    assert!(log().contains("session mode") && log().contains("Call failed: Access denied"), "{}", log());
    project.devsup(&["down"]).ok();

    says("exec sleep 60");
    let begun = monotonic();
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert!(monotonic().saturating_sub(begun) >= Duration::from_secs(2), "it was waited for, and not for ever");
    assert!(log().contains("did not end within 2 s"), "{}", log());
    project.devsup(&["down"]).ok();

    let asked = project.path("asked");
    let into = scope.path.join("cgroup.procs");
    says(&format!("echo \"$@\" >{}; while [ $# -gt 2 ]; do shift; done; echo $1 >{}", asked.display(), into.display()));
    project.devsup(&["up", "-d", "--wait"]).ok();
    assert_eq!(project.service("a").tree, Tree::Cgroup);
    let asked = std::fs::read_to_string(asked).expect("it was asked");
    let pid = daemon(&project);
    assert!(
        asked.starts_with("--user") && asked.contains("StartTransientUnit ssa(sv)a(sa(sv)) devsup-scoped-"),
        "{asked}"
    );
    assert!(asked.contains("Delegate b true") && asked.contains(&format!("PIDs au 1 {pid} 0")), "{asked}");
    assert_eq!(scope.cgroup.groups().len(), 1, "it is in there");
    project.devsup(&["down"]).ok();
    assert!(scope.cgroup.groups().is_empty());
}

fn executable(path: PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn the_choice_of_a_person_is_checked() {
    let mut project = Project::new("name = \"choice\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.env.insert("DEVSUP_TREE".into(), "forest".into());
    let up = project.devsup(&["up", "-d"]).ends(2);
    assert!(up.stderr.contains("DEVSUP_TREE is `forest`: it may be `auto`, `session` or `scope`"), "{up:#?}");
    // Nobody is there to be asked for one.
    project.env.insert("DEVSUP_TREE".into(), "scope".into());
    let path = project.env.insert("PATH".into(), "/nonexistent".into()).expect("it was set");
    project.write(
        "services.toml",
        &format!("name = \"choice\"\n[services.a]\nenv = {{ PATH = {path:?} }}\ncommand = [\"sleep\", \"600\"]\n"),
    );
    let up = project.devsup(&["up", "-d"]).ok();
    assert!(up.stderr.contains("DEVSUP_TREE=scope cannot be had, trees are kept without cgroups: "), "{up:#?}");
    assert_eq!(project.service("a").tree, Tree::Session);
}
