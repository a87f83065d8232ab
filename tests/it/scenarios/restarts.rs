//! What a run died of, and what its death means for others.

use std::fs;

use devsup::control::api::ExitJson;
use devsup::supervisor::State;

use crate::faults::{badly, daemon, lives, lock, send, until_gone};
use crate::project::{Foreground, Project};

#[test]
fn an_exit_code_over_128_is_no_signal_and_a_signal_is_no_exit_code() {
    let project = Project::new(&format!(
        "name = \"deaths\"\n[defaults]\nrestart = \"never\"\n[services.code]\ncommand = {}\n\
         [services.term]\ncommand = {}\n[services.abort]\ncommand = {}\n[services.killed]\ncommand = {}\n",
        badly("exit 143"),
        badly("die TERM"),
        badly("die ABRT"),
        badly("die KILL"),
    ));
    project.devsup(&["up", "-d", "--wait"]).ends(1);
    let exit = |name: &str| project.service(name).exit;
    assert_eq!(exit("code"), Some(ExitJson::Code(143)));
    assert_eq!(exit("term"), Some(ExitJson::Signal(15)));
    // SIGKILL from nowhere is how the kernel ends who takes too much memory.
    assert_eq!(exit("killed"), Some(ExitJson::Signal(9)));
    assert_eq!(exit("abort"), Some(ExitJson::Signal(6)));
    let table = project.devsup(&["ps", "-a"]).ok().stdout;
    assert!(table.contains("exit 143") && table.contains("signal 15") && table.contains("signal 9"), "{table}");
    // It was born with devsup's own limit: its memory holds credentials, and a core is a file.
    let names = fs::read_dir(project.path(".")).expect("a folder").flatten().map(|entry| entry.file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("core")), "a core was left");
}

#[test]
fn a_restart_of_a_dependency_takes_along_only_who_asked_for_it() {
    let project = Project::new(
        "name = \"edges\"\n[defaults]\ncommand = [\"sleep\", \"600\"]\n[services.db]\n[services.on]\n\
         depends_on.db = { condition = \"started\", restart = true }\n[services.off]\ndepends_on = [\"db\"]\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let (on, off) = (project.service("on"), project.service("off"));
    project.devsup(&["restart", "db"]).ok();
    let after = project.until_one("on", |one| one.run == Some(2) && one.ready, "who asked for it is replaced");
    assert!(after.pid != on.pid && after.crashes == 0, "{after:#?}");
    let same = project.service("off");
    assert_eq!((same.pid, same.run), (off.pid, Some(1)));
}

/// A pid alone names nobody: what an earlier devsup wrote down may be somebody else's by now.
#[test]
fn who_got_the_pid_of_an_earlier_devsup_or_keeper_is_left_alone() {
    let project = Project::new(
        "name = \"reused\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\nstop_timeout = \"0s\"\n\
         [services.b]\ncommand = [\"sleep\", \"600\"]\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    let killed = daemon(&project);
    let mut bystander = Foreground::start(project.command("sleep".as_ref(), &["600"]));
    let mut info = lock(&project);
    send(killed, nix::sys::signal::Signal::SIGKILL);
    until_gone(&[killed]);
    let state = project.state().expect("a state folder");
    info["pid"] = bystander.pid().into();
    fs::write(state.join("lock"), info.to_string()).expect("ours");
    project.devsup(&["ps"]).ends(5);
    project.devsup(&["down"]).ends(5);

    // Somebody holds the lock, and the one it names is not the one who was meant.
    let path = state.join("services/a.lock");
    let held = fs::File::options().write(true).open(&path).expect("a lock");
    crate::project::wait_until("the keeper of the killed one has ended", || held.try_lock().is_ok());
    let pid = bystander.pid();
    let line = format!(r#"[{{"pid": {pid}, "start_time": 1, "run": 1, "protocol": 1}}]"#);
    fs::write(&path, line).expect("ours");
    let up = project.spawn(&["up", "-d"]);
    // Longer than an earlier keeper would have been given: it is the time that is waited for, and another service tells it.
    project.until(|all| all.iter().any(|one| one.name == "b" && one.uptime_s > Some(3)), "its time is over");
    let a = project.service("a");
    assert!(a.pid.is_none() && a.status.contains("earlier devsup"), "{a:#?}");
    drop(held);
    project.until_one("a", |a| a.state == State::Running, "the lock is free");
    assert!(lives(pid) && bystander.lives());
    drop(bystander);
    up.finish();
}
