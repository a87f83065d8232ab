//! The table of rights: look, operate, own, by the caller's unix groups.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use devsup::control::api::{Event, Handed, ServicesRequest};
use nix::sys::signal::Signal;

use super::{Person, Unit, ends, open_folder, open_to_all};
use crate::means::root_for;
use crate::project::wait_until;

const LOOK: u32 = 54_321;
const OPERATE: u32 = 54_322;
const AT: &str = "DEVSUP_TEST_SOCKET";

/// Counts without end, so that a lost line is seen.
const SHARED: &str = r#"
name = "shared"
[services.count]
command = 'n=0; while :; do n=$((n+1)); echo "run $DEVSUP_RUN line $n $MOOD"; sleep 0.01; done'
stop_timeout = "2s"
[services.b]
command = ["sleep", "600"]
[access]
look = "54321"
operate = "54322"
"#;

#[test]
fn who_may_what_is_said_by_groups() {
    if !root_for("rights by group") {
        return;
    }
    let (unit, daemon) = Unit::up(SHARED);
    let binary = open_folder(&unit.project);
    let person = |uid, group| Person { project: &unit.project, binary: binary.clone(), uid, group };
    let (looker, operator, stranger) = (person(65_531, LOOK), person(65_532, OPERATE), person(65_533, 54_399));
    for may in [&looker, &operator] {
        for verb in [
            &["ps"][..],
            &["ps", "b"],
            &["logs", "-n", "1", "count"],
            &["events"],
            &["creds"],
            &["wait", "--for", "ready"],
        ] {
            may.devsup(verb).ok();
        }
        for verb in [&["env", "b"][..], &["creds", "--refresh"], &["reload"], &["kill", "b"], &["down"]] {
            let refused = may.devsup(verb).ends(6);
            assert!(refused.stderr.contains("root"), "whose it is: {verb:?} {refused:#?}");
        }
        may.devsup(&["exec", "b", "true"]).ends(125);
    }
    let pid = || unit.project.service("b").pid;
    let before = pid();
    for verb in [&["stop", "b"][..], &["restart", "b"], &["hold", "b"], &["release", "b"], &["start", "b"]] {
        looker.devsup(verb).ends(6);
    }
    assert_eq!(pid(), before, "who may look has changed nothing");
    for verb in [&["restart", "b"][..], &["stop", "b"], &["start", "b"], &["hold", "b"], &["release", "b"]] {
        operator.devsup(verb).ok();
    }
    for verb in [&["ps"][..], &["logs", "b"], &["restart", "b"], &["down"]] {
        let refused = stranger.devsup(verb).ends(6);
        assert!(refused.stderr.contains("hint: the group in `[access] look`"), "{refused:#?}");
    }
    let words = |verb: &[&str]| looker.devsup(verb).stderr;
    assert!(words(&["restart", "b"]).contains("`[access] operate`"), "a group that would help is named");
    assert!(!words(&["reload"]).contains("`[access] operate`"), "none would help");
    assert!(stranger.devsup(&["ls"]).ok().stdout.contains("you may not look"));
    let events: Vec<Event> = unit.project.events();
    let by = |uid: u32| events.iter().filter(|event| event.by.as_ref().is_some_and(|by| by.uid == uid)).count();
    assert!(by(65_532) >= 5, "who did what: {events:#?}");
    assert_eq!((by(65_531), by(65_533)), (0, 0));
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

#[test]
fn an_operators_environment_is_never_adopted() {
    if let Ok(at) = std::env::var(AT) {
        return speak(&at);
    }
    if !root_for("an operator") {
        return;
    }
    let (unit, daemon) = Unit::up(SHARED);
    let binary = open_folder(&unit.project);
    let operator = Person { project: &unit.project, binary, uid: 65_532, group: OPERATE };
    let mut restart = operator.command(&["restart", "count"]);
    restart.env("MOOD", "of-the-operator");
    crate::project::Foreground::start(restart).finish().ok();
    // Nor is it when the socket is spoken to by hand: by this very test, as another user.
    let this = std::env::current_exe().expect("a test binary");
    let mut hand = Person { binary: open_to_all(&unit.project, &this, "tests"), ..operator }.command(&[
        "system::rights::an_operators_environment_is_never_adopted",
        "--exact",
        "--nocapture",
    ]);
    hand.env(AT, unit.project.path("run/shared/control.sock"));
    let spoken = crate::project::Foreground::start(hand).finish();
    assert!(spoken.stdout.contains("HTTP/1.1 200"), "it may restart: {spoken:#?}");
    unit.project.until_one("count", |count| count.run >= Some(3) && count.ready, "it has restarted twice");
    let logs = unit.project.devsup(&["logs", "-n", "all", "count"]).ok().stdout;
    assert!(
        logs.contains("#3 line 1 \n") && !logs.contains("of-the-operator"),
        "{}",
        &logs[logs.len().saturating_sub(500)..]
    );
    unit.project.devsup(&["restart", "count"]).ok();
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
}

#[expect(clippy::print_stdout, reason = "the one who started us reads it")]
fn speak(at: &str) {
    let env = [("MOOD", "of-the-operator"), ("PATH", "/usr/bin:/bin")];
    let request = ServicesRequest {
        request: "x".into(),
        services: vec!["count".into()],
        all: false,
        timeout_ms: None,
        no_deps: false,
        force: false,
        environment: Some(Handed { env: env.map(|(name, value)| (name.into(), value.into())).to_vec() }),
    };
    let body = serde_json::to_string(&request).expect("serializes");
    let mut stream = UnixStream::connect(at).expect("everybody may connect");
    let length = body.len();
    write!(
        stream,
        "POST /v1/restart HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    println!("{answer}");
}

/// Who cannot read the files reads through the socket; a restart in between costs no line, and the daemon is not held up.
#[test]
fn lookers_follow_the_logs_over_a_restart_without_losing_a_line() {
    if !root_for("a looker") {
        return;
    }
    let (unit, daemon) = Unit::up(SHARED);
    let binary = open_folder(&unit.project);
    let looker = Person { project: &unit.project, binary, uid: 65_531, group: LOOK };
    let files = fs::read_dir(unit.project.path("var/logs/count")).expect("ours").flatten();
    for file in files.filter(|file| file.file_type().is_ok_and(|kind| kind.is_file())) {
        assert_eq!(super::mode(&file.path()), 0o600, "{file:?}");
    }
    let mut follows = looker.spawn(&["logs", "-f", "-n", "all", "--no-log-prefix", "count"]);
    follows.until_says("line 20");
    unit.project.devsup(&["restart", "count"]).ok();
    unit.project.devsup(&["restart", "count"]).ok();
    wait_until("the third run is followed", || follows.so_far().stdout.lines().any(|line| line.contains("#3 line 20")));
    daemon.signal(Signal::SIGTERM);
    ends(daemon, 0);
    let said = follows.finish().ok().stdout;
    let said: Vec<&str> = said.lines().filter(|line| line.starts_with("run ")).collect();
    let mut files: Vec<_> = fs::read_dir(unit.project.path("var/logs/count")).expect("ours").flatten().collect();
    files.retain(|file| file.path().extension().is_some_and(|end| end == "log"));
    files.sort_by_key(fs::DirEntry::file_name);
    let stored: String = files.iter().map(|file| fs::read_to_string(file.path()).expect("ours")).collect();
    let stored: Vec<&str> = stored.lines().collect();
    // What is written while devsup ends may not be heard any more.
    assert!(said.len() <= stored.len() && said == stored[..said.len()], "{said:#?}\n{stored:#?}");
    assert!([1, 2, 3].iter().all(|run| said.iter().any(|line| line.contains(&format!("#{run} line 1 ")))));
}
