//! devsup's own misfortunes: killed while it reads the manifest, out of descriptors, torn files, odd parents, another version.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use devsup::control::api::Service;
use devsup::supervisor::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{limit, sleepers};
use crate::faults::{ask, badly, daemon, keeper_of, send, until_gone};
use crate::project::{Foreground, Project, wait_until};

#[test]
fn a_daemon_killed_while_it_reads_a_changed_manifest_leaves_the_next_up_to_apply_it() {
    let manifest = |size: u32| {
        let of =
            |name: &str| format!("[services.{name}]\ncommand = [\"sleep\", \"600\"]\nenv = {{ SIZE = \"{size}\" }}\n");
        format!("name = \"edited\"\n{}{}", of("a"), of("b"))
    };
    let project = Project::new(&manifest(0));
    project.devsup(&["up", "-d", "--wait"]).ok();
    for instant in 1..=5 {
        let daemon = daemon(&project);
        project.write("services.toml", &manifest(instant));
        let mut up = project.spawn(&["up", "-d"]);
        thread::sleep(Duration::from_millis(u64::from(instant) * 5));
        kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL).ok();
        assert!(up.ended(crate::project::DEADLINE).is_some(), "{:#?}", up.so_far());
        project.devsup(&["up", "-d", "--wait"]).ok();
        for one in project.ps() {
            assert!(one.state == State::Running && one.crashes == 0, "{one:#?}");
            let environ = fs::read(format!("/proc/{}/environ", one.pid.expect("it runs"))).expect("ours");
            let wanted = format!("SIZE={instant}\0");
            assert!(String::from_utf8_lossy(&environ).contains(&wanted), "{} has an older manifest", one.name);
        }
    }
}

#[test]
fn a_daemon_without_descriptors_loses_no_child_and_recovers_by_itself() {
    let services = sleepers(15);
    let project = Project::new(&format!(
        "name = \"poor\"\n[defaults]\nbackoff = {{ first = \"100ms\", max = \"500ms\" }}\n[services.z]\ncommand = [\"sleep\", \"600\"]\n{services}"
    ));
    project.devsup(&["up", "-d", "z"]).ok();
    let daemon = daemon(&project);
    limit(&project, daemon, &["--nofile=64:"]);
    project.devsup(&["up", "-d"]).ends(1);
    let short = |one: &Service| one.why.as_ref().is_some_and(|why| why.contains("os error 24"));
    let runs = |one: &&Service| one.pid.is_some();
    // Each tries again and again, so that those who have no place are not always the same.
    let all = project.until(
        |all| all.iter().any(short) && all.iter().filter(runs).count() > 1,
        "there are not enough for all, and those that fit run",
    );
    let alive: Vec<&Service> = all.iter().filter(runs).collect();
    // One of those that run dies: that is seen although nothing can be opened.
    let one = alive.iter().find(|one| one.name != "z").expect("another");
    send(one.pid.expect("it runs"), Signal::SIGKILL);
    let name = one.name.clone();
    project.until_one(&name, |now| now.pid != one.pid, "its death is seen");
    limit(&project, daemon, &["--nofile=512:"]);
    let all = project
        .until(|all| all.iter().all(|one| one.state == State::Running), "all run when there are descriptors again");
    assert_eq!(all.len(), 16);
    let keepers = project.alive().into_iter().filter(|(_, words)| words.contains("__keep")).count();
    // An ordinary user sees no words of who hides its memory from him.
    assert!(keepers == 16 || keepers == 0, "each has one keeper: {keepers}");
    project.devsup(&["down"]).ok();
    project.until_gone();
}

#[test]
fn files_torn_by_a_crash_are_no_obstacle() {
    let project = Project::new("name = \"torn\"\n[services.a]\ncommand = \"echo hello; exec sleep 600\"\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let daemon = daemon(&project);
    send(daemon, Signal::SIGKILL);
    until_gone(&[daemon]);
    project.until_gone();
    let state = project.state().expect("a state folder");
    fs::write(state.join("lock"), "{\"pid\": 12").expect("ours");
    fs::write(state.join("services/a.lock"), "[{\"pid\": 99999999, \"of\": \"another version\"}]").expect("ours");
    fs::remove_file(state.join("control.sock")).ok();
    fs::write(state.join("control.sock"), "no socket").expect("ours");
    let half = "{\"time\":\"2026-01-01T00:00:00Z\",\"event\":\"sta";
    let events = fs::read_to_string(state.join("events.jsonl")).expect("a journal");
    fs::write(state.join("events.jsonl"), events.clone() + half).expect("ours");
    fs::write(state.join("logs/a/000001.idx"), "rubbish").expect("ours");
    project.devsup(&["ps"]).ends(5);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let a = project.service("a");
    assert!(a.state == State::Running && a.run == Some(2), "{a:#?}");
    assert!(project.events().len() > events.lines().count(), "the journal goes on");
    let logs = project.devsup(&["logs", "a"]).ok().stdout;
    assert!(logs.contains("run 2") && logs.contains("hello"), "{logs}");
}

/// Whoever types `up` may ignore or block anything and hold any files: a service is born as from a login.
#[test]
fn what_the_typing_shell_ignores_or_holds_open_reaches_no_service() {
    let project = Project::new(&format!(
        "name = \"odd\"\n[services.a]\ncommand = {}\n",
        badly("to born signals fds touch written sleep 600")
    ));
    let up = format!(
        "trap '' HUP INT QUIT TERM PIPE USR1 USR2 CHLD TSTP; exec 7</dev/null 8<services.toml 9>left; exec {} up -d",
        crate::project::binary().display()
    );
    Foreground::start(project.command(Path::new("sh"), &["-c", &up])).finish().ok();
    wait_until("it has looked at itself", || project.path("written").exists());
    let born = fs::read_to_string(project.path("born")).expect("it wrote");
    let of = |what: &str| {
        let line = born.lines().find_map(|line| line.strip_prefix(what)).expect("a mask");
        // Those between belong to libc, and SIGPIPE is what the runtime of this very program ignores.
        u64::from_str_radix(line.trim(), 16).expect("a mask") & !(3 << 31) & !(1 << 12)
    };
    assert_eq!((of("SigIgn:"), of("SigBlk:")), (0, 0), "{born}");
    let fds: Vec<&str> = born.lines().filter(|line| line.starts_with("fd ")).collect();
    assert_eq!(fds.len(), 3, "{born}");
}

/// One signal may stand for many deaths.
#[test]
fn fifty_that_die_at_once_are_each_seen_once() {
    let services = sleepers(50);
    let project = Project::new(&format!("name = \"fifty\"\n[defaults]\nbackoff = {{ first = \"100ms\" }}\n{services}"));
    project.devsup(&["up", "-d"]).ok();
    for one in project.ps() {
        send(one.pid.expect("it runs"), Signal::SIGKILL);
    }
    let all = project.until(
        |all| all.len() == 50 && all.iter().all(|one| one.run == Some(2) && one.state == State::Running),
        "each runs again",
    );
    assert!(all.iter().all(|one| one.crashes == 1 && one.restarts == 1), "{all:#?}");
}

#[test]
fn fifty_children_of_one_service_that_die_at_once_are_all_reaped() {
    let children = "daemon [ wait-for go ] ".repeat(50);
    let project = Project::new(&format!(
        "name = \"orphans\"\n[services.a]\ncommand = {}\n",
        badly(&format!("{children}sleep 600"))
    ));
    project.devsup(&["up", "-d"]).ok();
    let keeper = keeper_of(&project, "a");
    // Zombies count: a child that was not waited for is still a child.
    let children = || devsup::sys::tree::children(keeper).len();
    wait_until("all are the keeper's", || children() == 51);
    project.write("go", "");
    wait_until("only the main process is left", || children() == 1);
    assert_eq!(project.service("a").crashes, 0);
}

/// After an upgrade the old daemon is still there: what goes wrong then says whose age it is.
#[test]
fn a_daemon_of_another_version_is_named_when_something_fails() {
    let project = Project::new("name = \"older\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let real = crate::faults::lock(&project);
    let answer = ask(&project, "GET", "/v1/project", "");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let mut it: serde_json::Value = serde_json::from_str(body).expect("a project");
    it["version"] = "0.0.1".into();
    let path = real["socket"].as_str().expect("a path").to_owned();
    // In its place stands one that knows little.
    let aside = format!("{path}.aside");
    fs::rename(&path, &aside).expect("ours");
    let listener = UnixListener::bind(&path).expect("a socket");
    let old = thread::spawn(move || old_daemon(&listener, &it.to_string()));
    let said = project.devsup(&["restart", "a"]);
    fs::rename(&aside, &path).expect("ours");
    assert!(said.status != 0 && said.stderr.contains("0.0.1") && said.stderr.contains("devsup down"), "{said:#?}");
    old.join().expect("it answered");
}

/// Answers who it is, and refuses the first thing that is asked of it.
fn old_daemon(listener: &UnixListener, project: &str) {
    loop {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut request = vec![0_u8; 65536];
        let read = stream.read(&mut request).expect("a request");
        let about = String::from_utf8_lossy(&request[..read]).into_owned();
        let known = about.starts_with("GET /v1/project ");
        let (status, body) = if known { ("200 OK", project) } else { ("404 Not Found", "{}") };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").ok();
        if !known {
            return;
        }
    }
}
