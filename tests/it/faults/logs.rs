//! Logs that others take away under a service that writes, and keepers and daemons that are killed while they write: the
//! service goes on, and what is there opens clean.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devsup::logs::{Filter, Mark, Query, Reader, What};
use devsup::manifest::Name;
use devsup::sys::clock::monotonic;
use nix::sys::signal::Signal;

use super::{daemon, disk::remove_all, keeper_of, send, until_gone, until_nothing_is_left};
use crate::project::{DEADLINE, Project, binary, wait_until};

fn folder(project: &Project) -> PathBuf {
    project.state().expect("a state folder").join("logs/a")
}

/// `tick 1`, `tick 2` … some twenty a second.
fn ticking() -> Project {
    let project = Project::new(
        "name = \"ticking\"\n[services.a]\ncommand = 'i=0; while :; do i=$((i+1)); echo \"tick $i\"; echo $i > last; sleep 0.05; done'\n",
    );
    project.devsup(&["up", "-d", "--wait"]).ok();
    project.until_log("a", "tick 3\n");
    project
}

/// The last tick.
fn last(project: &Project) -> u32 {
    let mut found = None;
    wait_until("it ticks", || {
        // It is empty for a moment whenever it is written.
        found = fs::read_to_string(project.path("last")).ok().and_then(|text| text.trim().parse().ok());
        found.is_some()
    });
    found.expect("just seen")
}

/// A tick that was not written yet when this was called is shown, while the service knows of nothing.
#[track_caller]
fn goes_on(project: &Project, pid: Option<u32>) {
    let next = last(project) + 3;
    wait_until("it is logged again", || {
        let shown = project.devsup(&["logs", "a", "--no-log-prefix"]).ok().stdout;
        shown.lines().any(|line| line == format!("tick {next}"))
    });
    let a = project.service("a");
    assert_eq!((a.pid, a.crashes, a.restarts), (pid, 0, 0), "{a:#?}");
}

#[test]
fn files_and_folders_taken_away_cost_what_was_in_them_and_no_more() {
    let project = ticking();
    let pid = project.service("a").pid;
    let mut follow = project.spawn(&["logs", "-f", "a"]);
    follow.until_says("tick 3");
    let current = || folder(&project).join("current");
    File::create(fs::canonicalize(current()).expect("a live one")).expect("cut");
    goes_on(&project, pid);
    fs::remove_file(fs::canonicalize(current()).expect("a live one")).expect("removed");
    goes_on(&project, pid);
    remove_all(&folder(&project));
    goes_on(&project, pid);
    // And the one who follows has missed nothing that was written since.
    follow.until_says(&format!("tick {}\n", last(&project)));
    project.devsup(&["down"]).ok();
    let said = follow.finish().ok();
    assert!(said.stderr.contains("ticking went down"), "{said:#?}");
}

struct Shown {
    lines: Vec<String>,
    recovered: u64,
}

/// All runs' lines, each run's own.
fn runs(folder: &Path) -> std::collections::BTreeMap<u32, Shown> {
    let logs = folder.parent().expect("the project's").to_owned();
    let query = Query {
        logs,
        services: vec![Name::new("a")],
        tail: None,
        follow: false,
        all: false,
        filter: Filter::default(),
    };
    let mut reader = Reader::open(query).expect("opened");
    let mut runs = std::collections::BTreeMap::new();
    while let Some(entry) = reader.next(None).expect("read") {
        let shown = runs.entry(entry.run).or_insert_with(|| Shown { lines: Vec::new(), recovered: 0 });
        match entry.what {
            What::Line { bytes, .. } => shown.lines.push(String::from_utf8_lossy(&bytes).into_owned()),
            What::Mark(Mark::Recovered { bytes }) => shown.recovered += bytes,
            What::Mark(mark) => assert!(!matches!(mark, Mark::Dropped { .. }), "run {}: {mark:?}", entry.run),
        }
    }
    runs
}

/// What a pipe holds, and what a keeper has read of it and not written: 256 KiB each, and the service's own block.
const IN_FLIGHT: u64 = 600 << 10;
/// The shortest line of `numbers`.
const SHORTEST: u64 = 43;

#[test]
fn who_is_killed_while_it_writes_leaves_a_log_that_opens_clean() {
    let numbers = binary().with_file_name("examples").join("numbers");
    let project = Project::new(&format!(
        "name = \"clean\"\n[defaults]\nrestart = \"always\"\nbackoff = {{ first = \"10ms\", max = \"10ms\" }}\n\
         logs = {{ total = \"2GiB\", file = \"1MiB\" }}\n[services.a]\ncommand = [\"{}\", \"counters\"]\n",
        numbers.display()
    ));
    fs::create_dir(project.path("counters")).expect("a folder");
    let counted = |run: u32| {
        let bytes = fs::read(project.path("counters").join(format!("a#{run}"))).unwrap_or_default();
        bytes.try_into().map_or(0, u64::from_le_bytes)
    };
    project.devsup(&["up", "-d", "--wait"]).ok();
    for run in 1..=3 {
        wait_until("it writes", || counted(run) > 50_000);
        if run == 2 {
            send(daemon(&project), Signal::SIGKILL);
            until_nothing_is_left(&project);
            project.devsup(&["up", "-d", "--wait"]).ok();
        } else {
            send(keeper_of(&project, "a"), Signal::SIGKILL);
        }
        project.until_one("a", |a| a.run > Some(run), "the next runs");
    }
    wait_until("it writes", || counted(4) > 50_000);
    project.devsup(&["down"]).ok();
    let runs = runs(&folder(&project));
    assert_eq!(runs.len(), 4);
    for (run, Shown { lines, .. }) in &runs {
        let number = |line: &String| line.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        let whole = |line: &&String| line.ends_with('x') || line.starts_with("end ");
        let torn = lines.iter().position(|line| !whole(&line));
        assert!(torn.is_none_or(|at| at + 1 == lines.len()), "run {run}: a torn line before its last");
        let last = lines.iter().filter(whole).filter_map(number).zip(1..).map(|(number, expected)| {
            assert_eq!(number, expected, "run {run}");
            number
        });
        let (last, counted) = (last.last().unwrap_or_default(), counted(*run));
        let ended_well = lines.last().is_some_and(|line| line.starts_with("end "));
        let lost = counted.saturating_sub(last);
        assert!(lost * SHORTEST <= IN_FLIGHT, "run {run}: {last} lines of {counted}");
        assert!(!ended_well || lost == 0, "run {run}: {last} lines of {counted}");
    }
    assert!(runs[&4].lines.last().is_some_and(|line| line.starts_with("end ")), "the last one ended well");
}

/// Data is written before its record: what a keeper got no further with is shown once nobody can be writing any more.
#[test]
fn what_both_who_were_killed_left_without_a_record_is_shown() {
    let project = ticking();
    let (keeper, daemon) = (keeper_of(&project, "a"), daemon(&project));
    send(daemon, Signal::SIGSTOP);
    send(keeper, Signal::SIGKILL);
    send(daemon, Signal::SIGKILL);
    until_gone(&[daemon, keeper]);
    let live = fs::canonicalize(folder(&project).join("current")).expect("a live one");
    OpenOptions::new().append(true).open(live).expect("opened").write_all(b"the very last\n").expect("written");
    let said = project.devsup(&["logs", "a", "-n", "2"]).ok();
    let end = "recovered, written as its keeper was killed ──\na | the very last\n\
               ── a ended: its keeper was killed · run 1 ──\n";
    assert!(said.stdout.ends_with(end), "{said:#?}");
    // What the dead have left running is ended by the next.
    project.devsup(&["up", "-d", "--wait"]).ok();
}

/// As fast as a service can, with one who follows: each of them has all of it. 150 MB; `DEVSUP_LOG_FLOOD=6GB` is a minute of
/// 100 MB a second and more.
#[test]
fn a_flood_reaches_the_file_and_the_follower_whole() {
    let wanted = crate::log_soak::bytes_of("DEVSUP_LOG_FLOOD").unwrap_or(150_000_000);
    let numbers = binary().with_file_name("examples").join("numbers");
    let project = Project::new(&format!(
        "name = \"flood\"\nlogs.max_total = \"64GiB\"\n[services.a]\ncommand = [\"{}\", \"counters\"]\n\
         logs = {{ total = \"32GiB\", file = \"64MiB\" }}\n",
        numbers.display()
    ));
    fs::create_dir(project.path("counters")).expect("a folder");
    project.devsup(&["up", "-d", "--wait"]).ok();
    let mut follow = project.command(&binary(), &["logs", "-f", "a", "--no-log-prefix"]);
    let mut child = follow.stderr(std::process::Stdio::null()).spawn().expect("it starts");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::with_capacity(1 << 20, child.stdout.take().expect("piped")));
    let begin = monotonic();
    let (mut bytes, mut expected, mut stopping) = (0_u64, 1_u64, None);
    let end = loop {
        let line = lines.next().expect("it goes on until the last line").expect("text");
        if line.starts_with("──") {
            continue;
        }
        if let Some(count) = line.strip_prefix("end ") {
            break count.parse::<u64>().expect("a number");
        }
        let number = line.split(' ').next().and_then(|word| word.parse::<u64>().ok());
        assert!(number == Some(expected) && line.ends_with('x'), "after {}: {line}", expected - 1);
        expected += 1;
        bytes += line.len() as u64 + 1;
        if bytes >= wanted && stopping.is_none() {
            // Not waited for here: what it still writes has to be read meanwhile.
            stopping = Some(project.spawn(&["down"]));
        }
    };
    let took = monotonic().saturating_sub(begin).as_millis();
    stopping.expect("it was told to stop").finish().ok();
    assert_eq!(end, expected - 1, "every line once, to its last");
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(rest.iter().all(|line| line.starts_with("──")), "{rest:?}");
    let until = monotonic() + DEADLINE;
    let ended = loop {
        match child.try_wait().expect("our child") {
            Some(status) => break status,
            None if monotonic() > until => panic!("the follower does not end"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(ended.success());
    let speed = u128::from(bytes) / 1000 / took.max(1);
    crate::means::counted(&format!("{} MB, {speed} MB/s to the follower", bytes / 1_000_000));
}
