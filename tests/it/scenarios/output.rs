//! What services write, and who does not read it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use devsup::supervisor::State;
use devsup::sys::clock::monotonic;
use nix::sys::signal::Signal;

use crate::faults::{badly, keeper_of, send, until_gone};
use crate::log_soak::disk;
use crate::means::counted;
use crate::project::{DEADLINE, Foreground, Project, binary, wait_until};

fn alone(command: &str, more: &str) -> Project {
    Project::new(&format!("name = \"alone\"\n[services.a]\ncommand = {command}\n{more}\n"))
}

/// The bytes of all its runs.
fn written(project: &Project) -> Vec<fs::DirEntry> {
    let folder = project.state().map(|state| state.join("logs/a"));
    let all = folder.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    all.filter(|entry| entry.path().extension().is_some_and(|end| end == "log")).collect()
}

fn size(project: &Project) -> u64 {
    written(project).iter().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

#[test]
fn who_closes_its_output_lives_on() {
    let project = alone(&badly("say first close-stdout close-stderr touch closed sleep 600"), "");
    project.devsup(&["up", "-d", "--wait"]).ok();
    wait_until("both are closed", || project.path("closed").exists());
    let a = project.service("a");
    assert!(a.state == State::Running && a.crashes == 0 && project.log("a").contains("first"), "{a:#?}");
    project.devsup(&["restart", "a"]).ok();
    project.devsup(&["stop", "a"]).ok();
    assert_eq!(project.service("a").crashes, 0);
}

/// 64 MB; `DEVSUP_LOG_LINE=1GB` is the long form, which takes as much of the disk.
#[test]
fn a_line_without_end_costs_its_keeper_no_memory() {
    let bytes = crate::log_soak::bytes_of("DEVSUP_LOG_LINE").unwrap_or(64_000_000);
    // Piece by piece: the service itself is to stay small as well.
    let command = format!("'yes xxxxxxx | tr -d \"\\n\" | head -c {bytes}; touch done; exec sleep 600'");
    let project = alone(&command, "logs = { total = \"8GiB\", file = \"8MiB\" }\n[logs]\nmax_total = \"16GiB\"\n");
    let begun = monotonic();
    project.devsup(&["up", "-d"]).ok();
    let keeper = keeper_of(&project, "a");
    // At a megabyte a second, and no slower than any other test.
    let until = begun + DEADLINE.max(Duration::from_secs(bytes / 1_000_000));
    while !project.path("done").exists() || size(&project) < bytes {
        assert!(monotonic() < until, "{} bytes of {bytes} are in the log", size(&project));
        std::thread::sleep(Duration::from_millis(50));
    }
    let wrote = monotonic().saturating_sub(begun);
    let status = fs::read_to_string(format!("/proc/{keeper}/status")).expect("it lives");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its most");
    let most: u64 = most.trim_end_matches("kB").trim().parse().expect("a number");
    assert!(most < 24 * 1024, "{most} KiB at its most");
    // And who reads it has all of it, at no greater cost.
    let mut logs = project.command(&binary(), &["logs", "a", "--no-log-prefix"]);
    let mut child = logs.stderr(std::process::Stdio::null()).spawn().expect("it starts");
    let mut out = child.stdout.take().expect("piped");
    let (mut buffer, mut read, mut ends, mut most) = (vec![0; 1 << 20], 0_u64, 0, String::new());
    loop {
        let got = out.read(&mut buffer).expect("read");
        if got == 0 {
            break;
        }
        for byte in &buffer[..got] {
            read += u64::from(*byte == b'x');
            ends += u32::from(*byte == b'\n');
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or(most, str::to_owned);
    }
    assert!(child.wait().expect("our child").success());
    assert_eq!((read, ends), (bytes, 1), "every byte of one line, and the mark before it");
    let kib: u64 = most.trim_end_matches("kB").trim().parse().expect("a number");
    assert!(kib < 48 * 1024, "{kib} KiB to read it");
    let megabytes = bytes / 1_000_000;
    counted(&format!("{megabytes} MB in one line, in the log after {wrote:.1?}; {kib} KiB at most to read it"));
}

/// Bytes that are no text, characters that a write cuts in two, empty lines, spaces at the end, writes of one byte.
#[test]
fn every_byte_is_in_the_log_as_it_was_written() {
    let command = r"'''
printf '\n\n  two spaces at the end  \n\ttabs\t\n\377\376\000binary\n'
printf '\342\202'; sleep 0.05; printf '\254\n'
for n in 1 2 3 4 5 6 7 8 9; do printf '.'; done
printf '\ngo on 10%%\rgo on 20%%\r\n\033[2J\033]0;title\007\n'
exit 0
'''";
    let project = alone(command, "restart = \"never\"");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let [file] = &written(&project)[..] else { panic!("one run, one file") };
    let expected = b"\n\n  two spaces at the end  \n\ttabs\t\n\xff\xfe\x00binary\n\xe2\x82\xac\n.........\n\
                     go on 10%\rgo on 20%\r\n\x1b[2J\x1b]0;title\x07\n";
    let found = fs::read(file.path()).expect("a log");
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected));
    assert_eq!(found, expected);
    let shown = project.devsup(&["logs", "--no-log-prefix", "a"]).ok().stdout;
    assert!(shown.contains("  two spaces at the end  \n\ttabs\t\n") && shown.contains("\n€\n"), "{shown:?}");
}

/// Lines of one stream between the halves of another's: each keeps its own, and they are shown in the order they came.
#[test]
fn stdout_and_stderr_mixed_keep_their_own_lines() {
    // A half goes out as it is after two seconds.
    let command = r"'''
printf 'out half '; sleep 3; echo 'err one' >&2; sleep 0.1; echo 'of a line'
for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done
printf 'err last' >&2; printf 'out last'
'''";
    let project = alone(command, "restart = \"never\"");
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_one("a", |a| a.status == "done", "it has written it all");
    let of = |stream: &str| {
        let said = project.devsup(&["logs", "a", "--no-log-prefix", stream]).ok().stdout;
        said.lines().filter(|line| !line.contains("──")).map(str::to_owned).collect::<Vec<_>>().join("|")
    };
    assert_eq!(of("--stdout"), "out half of a line|out 1|out 2|out 3|out 4|out 5|out last");
    assert_eq!(of("--stderr"), "err one|err 1|err 2|err 3|err 4|err 5|err last");
    let both = project.devsup(&["logs", "a", "--no-log-prefix"]).ok().stdout;
    assert!(both.contains("out half \nerr one\nof a line\n"), "in the order they came: {both}");
}

#[test]
fn the_last_words_of_a_killed_service_are_kept() {
    let project = alone(&badly("mutter half-a-wor touch said sleep 600"), "restart = \"never\"");
    project.devsup(&["up", "-d", "--wait"]).ok();
    wait_until("it has spoken", || project.path("said").exists());
    send(project.service("a").pid.expect("it runs"), Signal::SIGKILL);
    project.until_one("a", |a| a.pid.is_none(), "it is dead");
    project.until_log("a", "half-a-wor");
}

/// Who is left of a run when its leader has gone holds its pipes, and still has something to say.
#[test]
fn a_grandchild_is_heard_after_its_leader_has_gone() {
    let words =
        "fork setsid [ on TERM say farewell on TERM exit 0 touch child sleep 600 ] wait-for child say leaving exit 0";
    let project = alone(&badly(words), "restart = \"never\"");
    project.devsup(&["up", "-d"]).ok();
    project.until_one("a", |a| a.status == "done", "it ended");
    let log = project.devsup(&["logs", "a", "--no-log-prefix"]).ok().stdout;
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no `{words}`: {log}"));
    assert!(at("leaving") < at("exit 0") && at("exit 0") < at("farewell"), "{log}");
}

/// He was given the pipe by the service, or took it: he may speak while it runs, and then nobody waits for him.
#[test]
fn a_stranger_who_holds_the_pipe_holds_up_nobody() {
    let project = alone(&badly("say first sleep 600"), "");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let pid = project.service("a").pid.expect("it runs");
    let mut pipe = fs::File::options().write(true).open(format!("/proc/{pid}/fd/1")).expect("ours");
    pipe.write_all(b"from outside\n").expect("it is read");
    project.until_log("a", "from outside\n");
    project.devsup(&["restart", "a"]).ok();
    pipe.write_all(b"too late\n").expect_err("nobody reads it any more");
    let a = project.service("a");
    assert!(a.run == Some(2) && a.crashes == 0 && !project.log("a").contains("too late"), "{a:#?}");
}

/// The oldest of all, whoever wrote them: also of one that is silent by now.
#[test]
fn all_services_together_stay_within_their_bound() {
    let project = Project::new(&format!(
        "name = \"together\"\nlogs.max_total = \"2MiB\"\n[defaults]\nlogs.file = \"128KiB\"\n\
         [services.first]\ncommand = {}\n[services.then]\ncommand = {}\n",
        badly("lines 150000 touch written sleep 600"),
        badly("wait-for written pour")
    ));
    project.devsup(&["up", "-d", "--wait"]).ok();
    wait_until("the first has written", || project.path("written").exists());
    let logs = project.state().expect("it is up").join("logs");
    let of_first = || fs::read_dir(logs.join("first")).expect("listed").flatten();
    // The newest of a live run is never removed.
    let is_log = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "log");
    wait_until("its older files are removed", || of_first().filter(is_log).count() == 1);
    project.devsup(&["stop", "then"]).ok();
    wait_until("all are within the bound", || disk(&logs).values().sum::<u64>() <= 2 << 20);
}

/// Neither nobody, nor one who stopped reading, holds a service up.
#[test]
fn a_flood_waits_for_no_reader() {
    const MUCH: u64 = 12 << 20;
    let project = alone(&badly("pour"), "");
    project.devsup(&["up", "-d"]).ok();
    wait_until("it pours with no reader", || size(&project) > MUCH);
    let mut stopped = project.spawn(&["logs", "-f", "a"]);
    stopped.until_says("one of very many lines");
    stopped.signal(Signal::SIGSTOP);
    // Its pipe is full after its first words, and stays so until there is a file.
    let line = format!(
        "'{}' logs -f a | {{ read first; echo heard; until [ -e over ]; do sleep 0.1; done; }}",
        binary().display()
    );
    let mut slow = Foreground::start(project.command("sh".as_ref(), &["-c", &line]));
    slow.until_says("heard");
    let (part, then) = (parts(&project), project.service("a"));
    wait_until("it pours on", || parts(&project) > part + 1);
    let now = project.service("a");
    assert_eq!((now.pid, now.crashes, now.log_dropped), (then.pid, 0, 0), "{now:#?}");
    stopped.signal(Signal::SIGCONT);
    project.devsup(&["stop", "a"]).ok();
    project.write("over", "");
    slow.finish();
}

/// The number of the newest part: they only grow, though the oldest are removed.
fn parts(project: &Project) -> u32 {
    let number = |entry: &fs::DirEntry| entry.path().file_stem()?.to_str()?.split('.').nth(1)?.parse::<u32>().ok();
    written(project).iter().filter_map(number).max().unwrap_or_default()
}

#[test]
fn a_service_that_reads_stdin_finds_its_end_and_not_the_terminal() {
    let project = Project::new(
        "name = \"reads\"\n[services.a]\ncommand = [\"cat\"]\n[services.b]\ncommand = [\"sleep\", \"600\"]\n",
    );
    let mut command = project.command(&binary(), &["up", "--sandbox"]);
    command.stdin(std::process::Stdio::piped());
    let mut up = Foreground::start(command);
    project.until_one("a", |a| a.status == "done", "it read to the end");
    up.types(b"for nobody\n");
    assert!(up.lives());
    up.signal(Signal::SIGINT);
    up.finish().ends(130);
    assert!(!project.log("a").contains("for nobody"));
}

/// A reader of the terminal that is killed, not asked: nothing is left of it, and nothing of the service is.
#[test]
fn a_follower_that_is_killed_costs_nothing() {
    let project = alone(&badly("say hello sleep 600"), "");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut follow = project.spawn(&["logs", "-f", "a"]);
    follow.until_says("hello");
    let pid = follow.pid();
    follow.signal(Signal::SIGKILL);
    assert!(follow.ended(Duration::from_secs(30)).is_some());
    until_gone(&[pid]);
    assert_eq!(project.service("a").crashes, 0);
}
