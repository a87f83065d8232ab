//! `watch`: a file that changes replaces the run, and nothing else does.

use std::fs;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::means::skipped;
use crate::project::{Project, wait_until};

const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = "sleep 600"
watch = ["src/**/*.py"]
[services.b]
command = "sleep 600"
watch = ["b.conf"]
"#;

fn up(manifest: &str) -> Project {
    let project = Project::new(manifest);
    fs::create_dir_all(project.path("src/deep")).expect("a folder");
    project.write("src/deep/x.py", "1");
    project.write("b.conf", "1");
    project.up_sandbox();
    project
}

/// The daemon looks once it has replaced; a change before that it may not have seen.
fn until_run(project: &Project, name: &str, run: u32, change: impl Fn()) {
    let before = project.service(name).run;
    project.until(
        |all| {
            let now = all.iter().find(|service| service.name == name).expect("a service");
            if now.run == before && now.ready {
                change();
            }
            now.run >= Some(run) && now.ready
        },
        "a change replaces it",
    );
}

#[test]
fn a_changed_file_replaces_the_run_and_says_which() {
    let project = up(MANIFEST);
    let b = project.service("b");
    until_run(&project, "a", 2, || project.write("src/deep/x.py", "2"));
    let events = project.events();
    let why = events.iter().filter_map(|event| event.reason.as_deref()).find(|why| why.contains("file changed"));
    assert!(why.is_some_and(|why| why.contains("file changed: src/deep/x.py")), "{events:#?}");
    let a = project.service("a");
    assert_eq!((a.crashes, a.restarts > 0), (0, true), "no crash: {a:#?}");
    assert_eq!(project.service("b").pid, b.pid);
}

#[test]
fn what_nobody_means_replaces_nothing() {
    let project = up(&MANIFEST.replace("src/**/*.py", "**/*.py"));
    until_run(&project, "a", 2, || project.write("src/deep/x.py", "2"));
    let a = project.until_one("a", |service| service.ready, "it settles");
    for folder in [".git", "node_modules/m", "src/__pycache__"] {
        fs::create_dir_all(project.path(folder)).expect("a folder");
        project.write(&format!("{folder}/x.py"), "1");
    }
    project.write("src/.#x.py", "1");
    project.write("src/x.txt", "1");
    // Whatever was seen before this was seen in this order.
    until_run(&project, "b", 2, || project.write("b.conf", "2"));
    assert_eq!(project.service("a").pid, a.pid);
}

#[test]
fn a_reload_changes_what_is_watched_and_a_stopped_service_stays_stopped() {
    let project = up(MANIFEST);
    until_run(&project, "b", 2, || project.write("b.conf", "2"));
    project.write("services.toml", &MANIFEST.replace("b.conf", "b.json"));
    project.devsup(&["up", "-d", "--wait", "--sandbox"]).ok();
    let run = project.service("b").run.expect("a run");
    until_run(&project, "b", run + 1, || project.write("b.json", "1"));
    let b = project.until_one("b", |service| service.ready, "it settles");
    project.write("b.conf", "3");
    until_run(&project, "a", 2, || project.write("src/deep/x.py", "2"));
    assert_eq!(project.service("b").pid, b.pid);
    project.devsup(&["stop", "a"]).ok();
    let a = project.service("a");
    project.write("src/deep/x.py", "3");
    let run = b.run.expect("a run");
    until_run(&project, "b", run + 1, || project.write("b.json", "2"));
    let after = project.service("a");
    assert_eq!((after.run, after.pid), (a.run, None));
}

/// Not even by a file that a debugger's user has just changed; and when the debugger leaves, what was put off happens.
#[test]
fn nothing_is_replaced_under_a_debugger() {
    let project = up(MANIFEST);
    until_run(&project, "a", 2, || project.write("src/deep/x.py", "2"));
    let a = project.until_one("a", |a| a.ready, "it settles");
    let traced = Pid::from_raw(a.pid.expect("it runs").cast_signed());
    if let Err(error) = ptrace::seize(traced, ptrace::Options::empty()) {
        return skipped(&format!("nothing may be traced here: {error}"));
    }
    project.write("src/deep/x.py", "3");
    wait_until("it is said who is attached", || {
        let ours = format!("(pid {})", std::process::id());
        project.events().iter().any(|event| {
            event.event == "deferred" && event.reason.as_ref().is_some_and(|reason| reason.contains(&ours))
        })
    });
    let held = project.service("a");
    assert_eq!((held.run, held.pid), (a.run, a.pid), "{held:#?}");
    assert!(held.next.as_ref().is_some_and(|next| next.contains("when the debugger is gone")), "{held:#?}");
    ptrace::interrupt(traced).expect("it is ours");
    waitpid(traced, Some(WaitPidFlag::__WALL)).expect("it stops");
    ptrace::detach(traced, None).expect("it is stopped");
    project.until_one("a", |now| now.run > a.run && now.ready, "it is replaced when nobody looks any more");
}
