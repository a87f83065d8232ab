//! What goes wrong, against the real binary: AWS that is down or refuses, services that misbehave, a daemon and keepers that
//! are killed, secrets that are searched for, and callers at the control socket who mean no good.

mod attacker;
pub(crate) mod callers;
mod disk;
mod idle;
mod killed;
mod logs;
mod processes;
mod secrets;
mod shutdown;
mod stopped;
mod sts;
mod trees;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use devsup::sandbox::Calls;
use devsup::sys::tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::project::{DEADLINE, Project, misbehave, wait_until};

/// As a list of words for a manifest: `["…/misbehave", "say", "x"]`.
pub(crate) fn badly(words: &str) -> String {
    let all: Vec<String> =
        [misbehave().as_str()].into_iter().chain(words.split(' ')).map(|w| format!("{w:?}")).collect();
    format!("[{}]", all.join(", "))
}

/// A main process, a child in a session of its own and a daemon of nobody; all ignore TERM.
pub(crate) const STUBBORN: &str =
    "ignore TERM fork setsid [ ignore TERM sleep 600 ] daemon [ ignore TERM sleep 600 ] sleep 600";

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("it is there");
}

pub(crate) fn lives(pid: u32) -> bool {
    tree::look(pid).is_some_and(|process| process.state != 'Z')
}

pub(crate) fn until_gone(pids: &[u32]) {
    wait_until(&format!("{pids:?} are gone"), || !pids.iter().any(|&pid| lives(pid)));
}

/// The daemon itself ends a moment after it has said that it does.
fn until_nothing_is_left(project: &Project) {
    wait_until("nothing of the project is left", || project.alive().is_empty());
}

pub(crate) fn keeper_of(project: &Project, service: &str) -> u32 {
    let one = project.until_one(service, |one| one.pid.is_some(), "it runs");
    tree::look(one.pid.expect("just seen")).expect("it is there").parent
}

/// All processes of a run, once there are so many.
pub(crate) fn tree_of(keeper: u32, size: usize) -> Vec<u32> {
    wait_until("the whole tree is there", || tree::descendants(keeper, &[]).len() == size);
    tree::descendants(keeper, &[])
}

/// The content of the project's lock.
pub(crate) fn lock(project: &Project) -> serde_json::Value {
    let text = fs::read_to_string(project.state().expect("a state folder").join("lock")).expect("a lock");
    serde_json::from_str(&text).expect("who holds it")
}

pub(crate) fn daemon(project: &Project) -> u32 {
    u32::try_from(lock(project)["pid"].as_u64().expect("a pid")).expect("a pid")
}

pub(crate) fn socket(project: &Project) -> PathBuf {
    lock(project)["socket"].as_str().expect("a path").into()
}

fn connect(project: &Project) -> UnixStream {
    let stream = UnixStream::connect(socket(project)).expect("the daemon listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}

/// One request, the whole answer with its head.
pub(crate) fn ask(project: &Project, method: &str, path: &str, body: &str) -> String {
    let mut stream = connect(project);
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: devsup\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("the daemon reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the daemon answers");
    answer
}

/// Puts faults in force at the embedded AWS.
pub(crate) fn faults(project: &Project, service: &str, faults: &str) {
    sandbox(project, service, "POST /_sandbox/faults", faults);
}

/// What the embedded AWS was asked so far.
pub(crate) fn calls(project: &Project, service: &str) -> Calls {
    let answer = sandbox(project, service, "GET /_sandbox/calls", "");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).expect("counts")
}

fn sandbox(project: &Project, service: &str, request: &str, faults: &str) -> String {
    let url = project.sandbox_url(service);
    let at = url.strip_prefix("http://").expect("plain http on loopback").trim_end_matches('/');
    let mut stream = TcpStream::connect(at).expect("the sandbox listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let length = faults.len();
    write!(stream, "{request} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{faults}")
        .expect("the sandbox reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the sandbox answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}
