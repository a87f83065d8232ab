//! Who speaks at the control socket: services that want what is not theirs, and clients that speak nonsense, too much, or
//! not at all. Invariant 9, and that the daemon stays well.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use devsup::control::api::OwnState;
use devsup::supervisor::State;

use super::{ask, connect, socket};
use crate::means::root_for;
use crate::project::Project;

/// One service tries everything the command line offers, also through an orphan of its own; the other has a secret.
const NOSY: &str = r#"
name = "nosy"
[aws]
region = "ap-southeast-2"
role_prefix = "arn:aws:iam::033145145979:role/"
[services.a]
role = "service-a"
command = '''
tell() { "$DEVSUP" "$@" > /dev/null 2> why; echo "$1 $2: $? $(grep -c 'may not' why)"; }
tell stop b; tell restart b; tell kill b; tell hold b; tell start b
tell env b --reveal --force; tell creds b; tell exec b true; tell up -d --sandbox; tell creds b --refresh
"$DEVSUP" ps > /dev/null 2>&1; echo "ps: $?"
"$DEVSUP" env a --reveal --force > /dev/null 2>&1; echo "own: $?"
( ( sleep 0.2; tell down; echo tried ) & )
wait; exec sleep 600
'''
[services.b]
role = "service-b"
command = ["sleep", "600"]
[sandbox]
lease = "10m"
"#;

#[test]
fn a_service_can_neither_command_devsup_nor_see_its_neighbours_secrets() {
    let project = Project::new(NOSY);
    project.up_sandbox();
    project.until_log("a", "tried");
    let log = project.log("a");
    for verb in ["stop", "restart", "kill", "hold", "start", "env"] {
        assert!(log.contains(&format!("{verb} b: 6 1\n")), "{verb} is not permitted: {log}");
    }
    assert!(log.contains("exec b: 125 1\n"), "what fails before the command has its own code: {log}");
    assert_eq!(log.matches("creds b: 6 1\n").count(), 2, "{log}");
    assert!(log.contains("up -d: 6 1\n") && log.contains("down : 6 1\n"), "{log}");
    assert!(log.contains("ps: 0\n") && log.contains("own: 0\n"), "status and its own are allowed: {log}");
    let b = project.service("b");
    assert!(b.state == State::Running && b.restarts == 0 && b.held.is_none(), "{b:#?}");
    let refused: Vec<_> = project.events().into_iter().filter(|event| event.event == "refused").collect();
    assert!(refused.len() >= 11, "{refused:#?}");
    assert!(refused.iter().all(|event| event.service.as_deref() == Some("a")), "{refused:#?}");
}

const AT: &str = "DEVSUP_TEST_SOCKET";

/// Only root can become somebody else, so an ordinary user proves nothing here.
#[test]
fn another_user_is_refused_even_where_the_folders_are_open() {
    if let Ok(at) = std::env::var(AT) {
        return as_nobody(&at);
    }
    if !root_for("another user") {
        return;
    }
    let project = calm();
    let state = project.state().expect("a state folder");
    let closed = try_as_nobody(&project);
    assert!(closed.contains("no way in"), "the folder is private: {closed}");
    for (path, mode) in [
        (project.path("."), 0o711),
        (project.path("state"), 0o711),
        (project.path("state/devsup"), 0o711),
        (state, 0o711),
        (socket(&project), 0o666),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let opened = try_as_nobody(&project);
    assert_eq!(opened.matches("HTTP/1.1 403").count(), 3, "{opened}");
    assert!(!opened.contains("HTTP/1.1 200") && !opened.contains("\"pid\""), "{opened}");
    assert_eq!(project.service("a").state, State::Running);
}

/// This very test, in a process of another user.
#[expect(clippy::disallowed_methods, reason = "another user needs another process")]
fn try_as_nobody(project: &Project) -> String {
    const NOBODY: u32 = 65534;
    let test = "faults::callers::another_user_is_refused_even_where_the_folders_are_open";
    let output = Command::new("/proc/self/exe")
        .args([test, "--exact", "--nocapture"])
        .env(AT, socket(project))
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("another user may run this");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(clippy::print_stdout, reason = "the one who started us reads it")]
fn as_nobody(at: &str) {
    for request in ["GET /v1/services", "GET /v1/environment/a?reveal=true", "POST /v1/stop"] {
        let Ok(mut stream) = UnixStream::connect(at) else {
            println!("no way in");
            continue;
        };
        write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        println!("{answer}");
    }
}

/// Nobody can keep the owner out by sitting on the socket.
#[test]
fn a_service_that_opens_very_many_connections_does_not_take_the_owners_place() {
    // A shell has no unix sockets: each of these is a client that follows for ever.
    let project = Project::new(
        "name = \"crowd\"\n[services.a]\nstop_timeout = \"2s\"\n\
         command = 'for n in $(seq 150); do \"$DEVSUP\" events -f > /dev/null 2>&1 & done; sleep 1; echo crowded; exec sleep 600'\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "crowded");
    let crowded = own_state(&project);
    assert!(crowded.fds < 110, "only so many are let in: {crowded:?}");
    project.devsup(&["restart", "a"]).ok();
}

pub(crate) fn own_state(project: &Project) -> OwnState {
    let answer = ask(project, "GET", "/v1/self", "");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).expect("its own state")
}

fn calm() -> Project {
    let project = Project::new("name = \"calm\"\n[services.a]\ncommand = [\"sleep\", \"600\"]\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project
}

/// Sends it all, as far as it is taken, and answers what comes back.
fn throw(project: &Project, bytes: &[u8]) -> String {
    let mut stream = connect(project);
    // It may be closed before all is said.
    stream.write_all(bytes).ok();
    stream.shutdown(std::net::Shutdown::Write).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nonsense_ends_its_own_connection_only() {
    let project = calm();
    let noise: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1_000_000));
    let many = format!("GET /v1/project HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    for bad in [&noise[..], b"\0\0\0\0\r\n\r\n", b"GET", b"", long.as_bytes(), many.as_bytes()] {
        let answer = throw(&project, bad);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    for (path, body) in [("/v1/stop", "{"), ("/v1/stop", "[]"), ("/v1/hold", "null"), ("/v1/up", "{\"request\": 1}")] {
        let answer = ask(&project, "POST", path, body);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("not understood"), "{path} {body}: {answer}");
    }
    assert!(ask(&project, "DELETE", "/v1/services", "").starts_with("HTTP/1.1 405"));
    assert!(ask(&project, "GET", "/v1/../etc/passwd", "").starts_with("HTTP/1.1 404"));
    assert_eq!((project.service("a").state, project.service("a").restarts), (State::Running, 0));
}

#[test]
fn a_body_without_end_is_cut_off() {
    let project = calm();
    let before = own_state(&project);
    for head in ["content-length: 1073741824", "transfer-encoding: chunked"] {
        let mut stream = connect(&project);
        write!(stream, "POST /v1/stop HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n").expect("it listens");
        let piece = [b"10000\r\n".as_slice(), &vec![b'a'; 0x10000], b"\r\n"].concat();
        // Until it has heard enough: the connection is closed long before the end.
        let sent = (0..16_384).take_while(|_| stream.write_all(&piece).is_ok()).count();
        assert!(sent < 1024, "it went on listening: {sent} pieces");
    }
    let after = own_state(&project);
    assert!(after.rss_kib < before.rss_kib + 16 * 1024, "{before:?} {after:?}");
}

#[test]
fn idle_clients_and_slow_readers_hold_nobody_up() {
    let project = calm();
    let before = own_state(&project);
    let idle: Vec<_> = (0..100).map(|_| connect(&project)).collect();
    let half: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = connect(&project);
            stream
                .write_all(b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"req")
                .expect("it listens");
            stream
        })
        .collect();
    let mut slow = connect(&project);
    slow.write_all(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n").expect("it listens");
    let mut follows = connect(&project);
    follows.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").expect("it listens");
    for round in 0..600 {
        // Each is a change that those who watch are told of.
        let verb = if round % 2 == 0 { "hold" } else { "release" };
        let body = format!("{{\"request\": \"{round}\", \"service\": \"a\", \"lasts_ms\": null}}");
        let answer = ask(&project, "POST", &format!("/v1/{verb}"), &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let during = own_state(&project);
    assert!(during.fds >= before.fds + 200, "they are all still there: {before:?} {during:?}");
    assert!(during.rss_kib < before.rss_kib + 24 * 1024, "{before:?} {during:?}");
    drop((idle, half, slow, follows));
    crate::project::wait_until("all are forgotten", || own_state(&project).fds <= before.fds + 2);
}
