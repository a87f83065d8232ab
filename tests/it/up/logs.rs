//! `devsup logs` of real services: over restarts, several together, from the end, into a pipe that closes.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::faults::{badly, daemon, keeper_of, send, until_gone};
use crate::project::{DEADLINE, Foreground, Project, binary, wait_until};

pub(super) const MANIFEST: &str = r#"
name = "shop"
[services.a]
command = 'i=0; while :; do i=$((i+1)); echo "a says $i"; sleep 0.1; done'
[services.billing]
command = "echo one; echo two; echo three; echo wrong >&2; exec sleep 600"
"#;

#[test]
fn follow_goes_on_over_a_restart() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let mut follow = project.spawn(&["logs", "-f", "a"]);
    follow.until_says("a says 2\n");
    project.devsup(&["restart", "a"]).ok();
    follow.until_says("a restarted (restart");
    let said = follow.so_far().stdout;
    let (_, since) = said.split_once("a restarted (restart").expect("just seen");
    assert!(since.contains("run 2"), "{said}");
    project.devsup(&["stop", "a"]).ok();
    project.devsup(&["start", "a"]).ok();
    follow.until_says("run 3");
    project.devsup(&["stop", "a"]).ok();
    let all = project.devsup(&["logs", "a", "--no-log-prefix"]).ok().stdout;
    let last = all.lines().rfind(|line| line.starts_with("a says ")).expect("it said something").to_owned();
    follow.until_says(&last);
    let ones = all.lines().filter(|line| *line == "a says 1").count();
    assert_eq!(ones, 3, "three runs, no line lost or doubled: {all}");
}

#[test]
fn several_together_have_prefixes_and_can_be_cut() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("billing", "wrong");
    project.until_log("a", "a says 3");
    let both = project.devsup(&["logs"]).ok();
    assert!(both.stdout.contains("\na       | a says 1\n") && both.stdout.contains("\nbilling | two\n"), "{both:#?}");
    let last = project.devsup(&["logs", "-n", "2", "--no-log-prefix", "billing"]).ok().stdout;
    assert_eq!(last, "three\nwrong\n");
    assert_eq!(project.devsup(&["logs", "-n", "0", "billing"]).ok().stdout, "");
    let timed = project.devsup(&["logs", "-t", "-n", "1", "billing"]).ok().stdout;
    let (time, rest) = timed.split_once("billing").expect("its name");
    let shape: String = time.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    assert_eq!((shape.as_str(), rest), ("0000-00-00 00:00:00.000 ", " | wrong\n"));
    let json = project.devsup(&["logs", "billing", "--format", "json"]).ok().stdout;
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(lines.iter().any(|line| line["line"] == "wrong" && line["stream"] == "stderr" && line["run"] == 1));
    let path = project.devsup(&["logs", "--path", "billing"]).ok().stdout;
    assert!(std::fs::read_to_string(path.trim_end()).expect("a log").contains("three\n"));
    project.devsup(&["down"]).ok();
    assert!(project.devsup(&["logs", "billing"]).ok().stdout.contains("three"), "the logs stay");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("a", "a says 1");
    for verb in ["logs -f", "logs", "up --sandbox", "events -f", "ps --watch"] {
        let line = format!("{{ '{}' {verb}; echo \"code $?\" >&2; }} | head -n 1", binary().display());
        // What ends when its reader has gone must write once more to notice.
        let piped = Foreground::start(project.command(Path::new("sh"), &["-c", &line]));
        if verb.starts_with("events") || verb.starts_with("ps") {
            project.devsup(&["restart", "billing"]).ok();
        }
        let said = piped.finish().ok();
        assert_eq!(said.stdout.lines().count(), 1, "{verb}: {said:#?}");
        assert!(said.stderr.ends_with("code 0\n") && !said.stderr.contains("error"), "{verb}: {said:#?}");
    }
    project.until(|all| all.iter().any(|one| one.name == "a" && one.ready), "a goes on");
}

/// Nothing is written any more, and nobody would notice by a write.
#[test]
fn a_follower_of_a_silent_service_ends_when_its_reader_leaves() {
    let project = Project::new("name = \"quiet\"\n[services.a]\ncommand = \"echo only; exec sleep 600\"\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "only");
    // Of `up` nothing is to be seen on stdout.
    for (verb, reader) in [("logs -f --no-log-prefix", "head -n 1"), ("up", "while ! test -e go; do sleep 0.05; done")]
    {
        let line = format!("{{ '{}' {verb}; echo \"code $?\" >&2; }} | {{ {reader}; }}", binary().display());
        let mut piped = Foreground::start(project.command(Path::new("sh"), &["-c", &line]));
        if verb == "up" {
            piped.until_says("is up already");
            project.write("go", "");
        }
        let said = piped.finish().ok();
        assert!(said.stderr.ends_with("code 0\n") && !said.stderr.contains("error"), "{verb}: {said:#?}");
    }
}

/// As a child of Node has it, and of some an ssh.
#[test]
fn a_follower_into_a_socket_ends_when_its_reader_leaves() {
    let project = Project::new("name = \"quiet\"\n[services.a]\ncommand = \"echo only; exec sleep 600\"\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "only");
    let (mut reader, stdout) = UnixStream::pair().expect("a socket");
    reader.set_read_timeout(Some(DEADLINE)).expect("set");
    let mut command = project.command(&binary(), &["logs", "-f", "a", "--no-log-prefix"]);
    command.stdout(OwnedFd::from(stdout));
    let follow = Foreground::start(command);
    let mut shown = Vec::new();
    while !shown.ends_with(b"only\n") {
        let mut buffer = [0; 1024];
        let count = reader.read(&mut buffer).expect("it is shown");
        assert!(count > 0, "only {shown:?}");
        shown.extend_from_slice(&buffer[..count]);
    }
    drop(reader);
    assert_eq!(follow.finish().ok().stderr, "");
}

/// Neither of those who follow wakes while nothing is written.
#[test]
fn who_follows_a_silent_service_sleeps() {
    let project = Project::new("name = \"still\"\n[services.a]\ncommand = \"echo only; exec sleep 600\"\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut follow = project.spawn(&["logs", "-f"]);
    let mut up = project.spawn(&["up"]);
    follow.until_says("a | only");
    up.until_says("is up already");
    let pids = [follow.pid(), up.pid()];
    // Another machine's work may wake somebody once for its own reasons; a timer of ours wakes each time.
    let idle = (0..6).any(|_| {
        let before = pids.map(switches);
        std::thread::sleep(Duration::from_secs(3));
        pids.map(switches) == before
    });
    assert!(idle, "they wake up while nothing happens");
    assert!(follow.lives() && up.lives());
}

pub(super) const RELOADED: &str = "[services.added]\ncommand = \"echo here I am; exec sleep 600\"\n";

#[test]
fn a_service_that_a_reload_adds_is_followed_when_all_are() {
    let project = Project::new(LATE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut all = project.spawn(&["logs", "-f"]);
    let mut one = project.spawn(&["logs", "-f", "a"]);
    all.until_says("a     | early\n");
    one.until_says("a | early\n");
    project.write("services.toml", &format!("{LATE}{RELOADED}"));
    project.devsup(&["up", "-d", "--wait"]).ok();
    all.until_says("added | here I am\n");
    project.devsup(&["down"]).ok();
    assert!(all.finish().ok().stderr.ends_with("late went down\n"));
    assert!(!one.finish().ok().stdout.contains("here I am"));
}

/// Of a keeper that was killed the log says so, when the next run is there and when the project is down.
#[test]
fn the_death_of_a_keeper_is_in_the_log() {
    let project = Project::new(LATE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut follow = project.spawn(&["logs", "-f", "a"]);
    follow.until_says("a | early\n");
    send(keeper_of(&project, "a"), Signal::SIGKILL);
    let words = "── a ended: its keeper was killed · run 1 ──\n";
    follow.until_says(words);
    follow.until_says("· run 2 ──");
    let said = project.devsup(&["logs", "a"]).ok().stdout;
    assert_eq!(said.matches("keeper was killed").count(), 1, "the second lives: {said}");
    assert!(said.contains(words), "{said}");
    project.devsup(&["down"]).ok();
    let said = follow.finish().ok().stdout;
    assert_eq!(said.matches("keeper was killed").count(), 1, "{said}");
    let json = project.devsup(&["logs", "a", "--format", "json"]).ok().stdout;
    assert_eq!(json.matches("\"run\":1,\"mark\":\"keeper-killed\"}").count(), 1, "{json}");
}

/// Though no newer run is there, and however late it is looked for.
#[test]
fn the_death_of_a_last_keeper_is_in_the_log() {
    let project =
        Project::new("name = \"last\"\n[services.a]\ncommand = \"echo early; exec sleep 600\"\nrestart = \"never\"\n");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "early");
    send(keeper_of(&project, "a"), Signal::SIGKILL);
    project.until_one("a", |a| a.pid.is_none() && !a.ready, "it is swept");
    let words = "── a ended: its keeper was killed · run 1 ──\n";
    // The lock is written when nothing is left of it.
    for _ in 0..3 {
        let said = project.devsup(&["logs", "a"]).ok().stdout;
        assert_eq!(said.matches(words).count(), 1, "{said}");
    }
    project.devsup(&["start", "a"]).ok();
    wait_until("it runs again", || project.log("a").matches("early").count() == 2);
    let said = project.devsup(&["logs", "a"]).ok().stdout;
    assert_eq!(said.matches("keeper was killed").count(), 1, "{said}");
}

/// How often a process gave up the processor by itself.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
    let count = |status: String| {
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    tasks.filter_map(|task| count(status(task))).sum()
}

#[test]
fn a_follower_ends_with_its_project_and_outlives_a_daemon_that_is_killed() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    let mut follow = project.spawn(&["logs", "-f"]);
    follow.until_says("a says 2\n");
    let first = daemon(&project);
    send(first, Signal::SIGKILL);
    follow.until_says("devsup's daemon has ended unexpectedly");
    until_gone(&[first]);
    project.up_sandbox();
    follow.until_says("· run 2 ──");
    // It hears of the new daemon within a second of what is written.
    project.devsup(&["restart", "billing"]).ok();
    follow.until_says("billing restarted");
    follow.until_says("a says 22\n");
    project.devsup(&["down"]).ok();
    let said = follow.finish().ok();
    assert!(said.stderr.ends_with("shop went down\n"), "{said:#?}");
    assert!(
        said.stdout.trim_end().lines().last().is_some_and(|line| line.contains("exited")),
        "to the last: {said:#?}"
    );
}

/// Its reader takes nothing for so long that the daemon's words to it find no room any more, the last one neither.
#[test]
fn a_follower_that_is_far_behind_ends_with_its_project_too() {
    let project = Project::new(&format!("name = \"behind\"\n[services.a]\ncommand = {}\n", badly("pour")));
    project.devsup(&["up", "-d", "--wait"]).ok();
    let line = format!(
        "'{}' logs -f a | {{ read first; echo heard; until [ -e over ]; do sleep 0.1; done; cat >all; }}",
        binary().display()
    );
    let mut slow = Foreground::start(project.command("sh".as_ref(), &["-c", &line]));
    slow.until_says("heard");
    for _ in 0..150 {
        project.devsup(&["hold", "a"]).ok();
        project.devsup(&["release", "a"]).ok();
    }
    project.devsup(&["down"]).ok();
    project.write("over", "");
    let said = slow.finish().ok().stderr;
    assert!(said.ends_with("behind went down\n") && !said.contains("unexpectedly"), "{said}");
}

#[test]
fn a_follower_that_was_there_first_ends_with_the_next_project() {
    let project = Project::new(MANIFEST);
    project.up_sandbox();
    project.until_log("a", "a says 1");
    project.devsup(&["down"]).ok();
    let mut follow = project.spawn(&["logs", "-f", "-n", "0", "a"]);
    follow.until_says("shop is not up; this is its history, and what comes once it is");
    project.up_sandbox();
    follow.until_says("a says 22\n");
    project.devsup(&["down"]).ok();
    assert!(follow.finish().ok().stderr.ends_with("shop went down\n"));
}

pub(super) const LATE: &str = r#"
name = "late"
[services.a]
command = "echo early; exec sleep 600"
[services.never]
command = "echo at last; exec sleep 600"
autostart = false
"#;

#[test]
fn one_that_has_not_run_yet_is_followed_too() {
    let project = Project::new(LATE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut follow = project.spawn(&["logs", "-f"]);
    follow.until_says("a     | early\n");
    project.devsup(&["start", "never"]).ok();
    follow.until_says("never | at last\n");
    project.devsup(&["down"]).ok();
    assert!(follow.finish().ok().stderr.ends_with("late went down\n"));
}

#[test]
fn of_a_project_that_is_down_the_manifest_says_what_there_is() {
    let project = Project::new(LATE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "early");
    project.devsup(&["down"]).ok();
    let said = project.devsup(&["logs", "never"]).ok();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "never has no log: devsup has not run it\n"));
    let typo = project.devsup(&["logs", "nevr"]).ends(4);
    assert!(typo.stderr.contains("did you mean `never`"), "{typo:#?}");
    let mut follow = project.spawn(&["logs", "-f", "-n", "0"]);
    follow.until_says("late is not up");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.devsup(&["start", "never"]).ok();
    follow.until_says("never | at last\n");
    project.devsup(&["down"]).ok();
    assert!(follow.finish().ok().stderr.ends_with("late went down\n"));
}

/// However short it was up, and though nothing of it was to be shown.
#[test]
fn a_follower_that_shows_nothing_ends_with_the_next_project() {
    let project = Project::new(LATE);
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.devsup(&["down"]).ok();
    let mut follow = project.spawn(&["logs", "-f", "-g", "nowhere to be found"]);
    follow.until_says("late is not up");
    project.devsup(&["up", "-d"]).ok();
    project.devsup(&["down"]).ok();
    let said = follow.finish().ok();
    assert!(said.stdout.is_empty() && said.stderr.ends_with("late went down\n"), "{said:#?}");
}

#[test]
fn devsups_own_log_is_followed_over_daemons() {
    let mut project = Project::new(MANIFEST);
    project.env.insert("DEVSUP_LOG".into(), "trace".into());
    project.up_sandbox();
    let mut follow = project.spawn(&["logs", "--daemon", "-f", "-n", "1"]);
    let log = project.state().expect("it is up").join("daemon.log");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    let before = text().len();
    project.devsup(&["restart", "a"]).ok();
    wait_until("it writes", || text().len() > before);
    follow.until_says(text()[before..].lines().next().expect("a line"));
    project.devsup(&["down"]).ok();
    // As a new daemon does with one that has grown large.
    std::fs::rename(&log, log.with_extension("log.1")).expect("renamed");
    project.up_sandbox();
    wait_until("it writes", || text().contains('\n'));
    follow.until_says(text().lines().next().expect("a line"));
}

#[test]
fn what_is_wanted_is_found() {
    let project = Project::new(
        "name = \"find\"\n[services.a]\n\
         command = 'echo \"Fine $DEVSUP_RUN\"; echo \"ERROR of it\" >&2; exec sleep 600'\n[services.b]\ncommand = 'echo b; exec sleep 600'\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "ERROR");
    let between = jiff::Timestamp::now().to_string();
    project.devsup(&["restart", "a"]).ok();
    project.until_log("a", "#2\nERROR");
    let logs = |args: &[&str]| {
        let said = project.devsup(&[&["logs", "--no-log-prefix"], args].concat()).ok();
        said.stdout.lines().filter(|line| !line.contains("──")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(logs(&["a", "--stderr"]), ["ERROR of it", "ERROR of it"]);
    assert_eq!(logs(&["a", "-g", "error", "-n", "1"]), ["ERROR of it"]);
    assert_eq!(logs(&["-g", "Error"]), Vec::<String>::new(), "a capital means case");
    let of_two: Vec<String> = logs(&["a", "--run", "2"]);
    assert!(of_two.len() == 2 && of_two[0].ends_with("#2"), "{of_two:?}");
    let before: Vec<String> = logs(&["a", "--previous", "--stdout"]);
    assert!(before.len() == 1 && before[0].ends_with("#1"), "{before:?}");
    assert_eq!(logs(&["a", "--until", &between]), logs(&["a", "--run", "1"]));
    assert_eq!(logs(&["a", "--since", &between, "-g", "fine|error"]), of_two);
    for long_ago in ["1h", "0001-01-01T00:00:00Z", "9999999h"] {
        assert_eq!(logs(&["a", "--since", long_ago]).len(), 4, "{long_ago}");
    }
    assert_eq!(logs(&["a", "a", "--run", "2"]), of_two, "each line once");
    let none = project.devsup(&["logs", "-g", "nowhere to be found"]).ok();
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "nothing in the logs is what was asked for\n"));
    let path = project.devsup(&["logs", "a", "--path", "--run", "1"]).ok().stdout;
    assert!(std::fs::read_to_string(path.trim_end()).expect("a log").contains("#1\n"), "{path}");
    let both = project.devsup(&["logs", "--path", "--run", "1"]).ok().stdout;
    let files: Vec<&str> = both.lines().map(|path| path.rsplit("/logs/").next().unwrap_or_default()).collect();
    assert_eq!(files, ["a/000001.log", "b/000001.log"]);
    let places = project.devsup(&["logs", "--path", "--run", "2", "--format", "json"]).ok().stdout;
    let places: serde_json::Value = serde_json::from_str(&places).expect("one object");
    assert!(places["service"] == "a" && places["run"] == 2, "{places}");
    assert!(places["path"].as_str().is_some_and(|path| path.ends_with("/a/000002.log")), "{places}");
    for args in [&["logs", "--path"][..], &["logs", "--daemon", "--path"], &["logs", "a", "--path"]] {
        let plain = project.devsup(args).ok().stdout;
        let json = project.devsup(&[args, &["--format", "json"]].concat()).ok().stdout;
        let json: serde_json::Value = serde_json::from_str(&json).expect("an object");
        assert_eq!(json["path"].as_str(), Some(plain.trim_end()), "{args:?}");
    }
    let none = project.devsup(&["logs", "b", "--stderr"]).ok();
    assert_eq!((none.stdout.lines().filter(|line| !line.contains("──")).count(), none.stderr.as_str()), (0, ""));
    for (args, words) in [
        (&["logs", "-g", "("][..], "not a regular expression"),
        (&["logs", "--since", "1m", "--until", "1h"], "nothing between"),
        (&["logs", "-f", "--until", "1m"], "cannot be used with"),
        (&["logs", "a", "--run", "9"], "no run 9"),
        (&["logs", "a", "--run", "x"], "expected the number of a run, such as `4`"),
        (&["logs", "a", "--run", "0"], "expected the number of a run, such as `4`"),
        (&["logs", "--daemon", "-g", "x"], "cannot be used with"),
        (&["logs", "--daemon", "--since", "1m"], "cannot be used with"),
        (&["logs", "--daemon", "--stderr"], "cannot be used with"),
    ] {
        let said = project.devsup(args);
        assert!(matches!(said.status, 1 | 2) && said.stderr.contains(words), "{args:?}: {said:#?}");
    }
}
