//! Ten services write numbered lines while they are restarted, killed and rotated, and one follower reads them all: none is
//! lost, doubled or torn.
//!
//! 200 MB as it stands; `DEVSUP_LOG_SOAK=2GB` and more by that variable, with `--profile soak` for the large ones. Each line is counted as it comes, and old files go by
//! `logs.total`, so the disk holds no more for 100 GB than for one. On a machine where the follower gets too little to keep pace,
//! the services are halted until it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use devsup::daemon::keeper_lives;
use devsup::logs::{Entry, Filter, Mark, Query, Reader, What};
use devsup::manifest::Name;
use devsup::sys::clock::{monotonic, realtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::means;
use crate::project::{Project, binary, wait_until};

const SERVICES: usize = 10;
const DEFAULT: u64 = 200_000_000;
/// Kept of each service. A follower that is further behind is told what it lost, and the test fails.
const TOTAL: u64 = 256 << 20;
/// The same once the follower has read everything: less than each has written at the default size.
const LITTLE: u64 = 6 << 20;
const FILE: u64 = 1 << 20;

/// `2GB`, `500MB`; `None` when there is no such variable.
pub(crate) fn bytes_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "GB" => 1_000_000_000,
        "MB" => 1_000_000,
        other => panic!("{variable} is a number with MB or GB, not `{other}`"),
    };
    Some(number.parse::<u64>().expect("a number") * unit)
}

fn manifest(total: u64) -> String {
    let program = binary().with_file_name("examples").join("numbers");
    let mut text = format!(
        "name = \"soak\"\nlogs.max_total = \"64GiB\"\n[aws]\nregion = \"eu-west-1\"\n\
         role_prefix = \"arn:aws:iam::033145145979:role/\"\n\
         [sandbox]\nlease = \"8s\"\n[defaults]\nrestart = \"always\"\nbackoff = {{ first = \"10ms\", max = \"50ms\" }}\n\
         logs = {{ total = \"{}MiB\", file = \"{}MiB\" }}\n",
        total >> 20,
        FILE >> 20
    );
    for at in 0..SERVICES {
        // Half of them have credentials, and so secrets that are looked for in every byte.
        let role = if at % 2 == 0 { format!("role = \"r{at}\"\n") } else { String::new() };
        let command = format!("[\"{}\", \"counters\", \"300\"]", program.display());
        write!(text, "[services.s{at}]\n{role}command = {command}\n").expect("memory");
    }
    text
}

/// What was read of one run.
#[derive(Default)]
struct Run {
    /// Its last number.
    last: u64,
    /// It said how many they were.
    ended: bool,
}

/// What was read of one service.
#[derive(Default)]
struct Checked {
    bytes: u64,
    runs: u32,
    ended_well: u32,
}

/// Further behind, and the services wait for it.
const BEHIND: Duration = Duration::from_secs(3);

/// How far the follower is.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    /// Unix nanoseconds of what was read last.
    time: AtomicI64,
    /// How often it had read everything.
    rests: AtomicU64,
    over: AtomicBool,
}

/// Reads on until it is told that nothing more comes; the first thing that is wrong ends it.
struct Follower {
    counters: PathBuf,
    progress: Arc<Progress>,
    open: BTreeMap<(Name, u32), Run>,
    checked: BTreeMap<Name, Checked>,
}

impl Follower {
    fn follow(mut self, mut reader: Reader) -> Result<BTreeMap<Name, Checked>, String> {
        loop {
            let last = self.progress.over.load(Ordering::SeqCst);
            match reader.next(Some(Duration::from_millis(20))).map_err(|error| error.to_string())? {
                Some(entry) => self.take(&entry)?,
                None if last => break,
                None => drop(self.progress.rests.fetch_add(1, Ordering::SeqCst)),
            }
        }
        if self.open.is_empty() { Ok(self.checked) } else { Err(format!("no end of {:?}", self.open.keys())) }
    }

    /// 1, 2, 3 … without a gap, then perhaps how many they were, then the end of the run.
    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let key = (entry.service.clone(), entry.run);
        let run = self.open.entry(key.clone()).or_default();
        let wrong = |what: String| Err(format!("{}, run {}, after {}: {what}", entry.service, entry.run, run.last));
        match &entry.what {
            What::Line { bytes, whole, .. } => {
                let text = std::str::from_utf8(bytes).unwrap_or("no text");
                let word = text.split(' ').next().unwrap_or_default();
                if run.ended || !whole {
                    return wrong(format!("{text:?}"));
                } else if word == "end" {
                    run.ended = text == format!("end {}", run.last);
                    if !run.ended {
                        return wrong(format!("{text:?}"));
                    }
                } else if text.ends_with('x') && word.parse() == Ok(run.last + 1) {
                    run.last += 1;
                } else {
                    return wrong(format!("{text:?}"));
                }
                let length = bytes.len() as u64 + 1;
                self.progress.bytes.fetch_add(length, Ordering::SeqCst);
                self.progress.time.store(entry.time_ns, Ordering::SeqCst);
                self.checked.entry(entry.service.clone()).or_default().bytes += length;
            }
            What::Mark(Mark::Ended) => {
                let counted = counted(&self.counters, &entry.service, entry.run);
                if run.last < counted {
                    return wrong(format!("that was all, of {counted}"));
                }
                let checked = self.checked.entry(entry.service.clone()).or_default();
                checked.runs += 1;
                checked.ended_well += u32::from(run.ended);
                self.open.remove(&key);
            }
            // No keeper is killed here.
            What::Mark(mark @ (Mark::Dropped { .. } | Mark::Recovered { .. } | Mark::KeeperKilled)) => {
                return wrong(format!("{mark:?}"));
            }
            What::Mark(_) => {}
        }
        Ok(())
    }
}

/// So many lines the run had surely written, however it ended.
fn counted(counters: &Path, name: &Name, run: u32) -> u64 {
    let bytes = fs::read(counters.join(format!("{name}#{run}"))).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

struct Storm {
    project: Project,
    seed: u64,
    turn: u64,
    /// How often a main process was there to be killed.
    killed: u32,
}

impl Storm {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// Restarts one, or kills its main process.
    fn disturb(&mut self) {
        let at = self.random(SERVICES as u64);
        let name = format!("s{at}");
        self.turn += 1;
        if self.turn.is_multiple_of(3) {
            let pid = self.project.service(&name).pid;
            if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                // It may have been replaced meanwhile.
                self.killed += u32::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
            }
        } else {
            self.project.devsup(&["restart", &name]).ok();
        }
    }

    /// When the follower is behind, until it is not.
    fn wait_for(&self, progress: &Progress, until: Duration) {
        let now = i64::try_from(realtime().as_nanos()).unwrap_or(i64::MAX);
        let behind = now.saturating_sub(progress.time.load(Ordering::SeqCst));
        let before = progress.rests.load(Ordering::SeqCst);
        if u128::try_from(behind).is_ok_and(|behind| behind < BEHIND.as_nanos()) {
            return;
        }
        let mut halted = BTreeSet::new();
        while progress.rests.load(Ordering::SeqCst) == before && monotonic() < until {
            // Those with credentials are replaced meanwhile, and the new ones write.
            let pids = self.project.ps().into_iter().filter_map(|one| i32::try_from(one.pid?).ok());
            for pid in pids.filter(|pid| halted.insert(*pid)) {
                kill(Pid::from_raw(pid), Signal::SIGSTOP).ok();
            }
            thread::sleep(Duration::from_millis(50));
        }
        for pid in self.project.ps().into_iter().filter_map(|one| i32::try_from(one.pid?).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGCONT).ok();
        }
    }
}

/// What the logs of each service take of the disk.
pub(crate) fn disk(logs: &Path) -> BTreeMap<OsString, u64> {
    let of = |folder: fs::DirEntry| {
        let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        let sizes = files.filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512);
        (folder.file_name(), sizes.sum())
    };
    fs::read_dir(logs).into_iter().flatten().flatten().map(of).collect()
}

/// A smaller bound holds for what is there already, as soon as a file is begun, while all of them write.
fn is_bounded(project: &Project, logs: &Path) {
    project.write("services.toml", &manifest(LITTLE));
    let before = disk(logs);
    assert!(
        before.len() == SERVICES && before.values().all(|bytes| *bytes > LITTLE),
        "too little to remove: {before:?}"
    );
    project.up_sandbox();
    // What is written until the daemon has heard of a file that was begun.
    let most = LITTLE + 4 * FILE;
    // Each at some time: they write on, and not all are there at once.
    let mut bounded = BTreeSet::new();
    wait_until("old files are removed", || {
        bounded.extend(disk(logs).into_iter().filter(|(_, bytes)| *bytes <= most).map(|(name, _)| name));
        bounded.len() == SERVICES
    });
    project.devsup(&["down"]).ok();
    project.until_gone();
}

#[test]
fn no_line_is_lost_doubled_or_torn() {
    let wanted = bytes_of("DEVSUP_LOG_SOAK").unwrap_or(DEFAULT);
    let project = Project::new(&manifest(TOTAL));
    fs::create_dir(project.path("counters")).expect("a folder");
    project.up_sandbox();
    let logs = project.state().expect("it is up").join("logs");
    let services = (0..SERVICES).map(|at| Name::new(&format!("s{at}"))).collect();
    let query = Query { logs: logs.clone(), services, tail: None, follow: true, all: false, filter: Filter::default() };
    let (locks, folder) = (logs.with_file_name("services"), logs.clone());
    let alive = move |name: &Name, run| keeper_lives(&locks, &folder, name.as_str(), run, true);
    let reader = Reader::open(query).expect("opened").alive(Box::new(alive));
    let progress = Arc::new(Progress::default());
    let (open, checked, counters) = (BTreeMap::new(), BTreeMap::new(), project.path("counters"));
    let follower = Follower { counters, progress: Arc::clone(&progress), open, checked };
    let follower = thread::spawn(move || follower.follow(reader));
    let seed = u64::try_from(realtime().as_nanos()).unwrap_or(1) | 1;
    let mut storm = Storm { project, seed, turn: 0, killed: 0 };
    let begin = monotonic();
    let mut most = 0_u64;
    while progress.bytes.load(Ordering::SeqCst) < wanted && !follower.is_finished() {
        let long = begin + Duration::from_secs(300 + wanted / 10_000_000);
        assert!(monotonic() < long, "too slow: {} bytes of {wanted}", progress.bytes.load(Ordering::SeqCst));
        for _ in 0..3 {
            storm.disturb();
            thread::sleep(Duration::from_millis(100));
        }
        storm.wait_for(&progress, long);
        most = most.max(disk(&logs).values().sum());
    }
    storm.project.devsup(&["down"]).ok();
    storm.project.until_gone();
    progress.over.store(true, Ordering::SeqCst);
    let checked = follower.join().expect("no panic").unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    let sum = |of: fn(&Checked) -> u32| checked.values().map(of).sum::<u32>();
    let (runs, ended_well) = (sum(|checked| checked.runs), sum(|checked| checked.ended_well));
    let (read, seconds) =
        (progress.bytes.load(Ordering::SeqCst) / 1_000_000, monotonic().saturating_sub(begin).as_secs());
    means::counted(&format!(
        "{read} MB in {seconds} s, {runs} runs, {ended_well} of them to their last line, {} killed, {} MB of disk at most",
        storm.killed,
        most / 1_000_000
    ));
    assert!(ended_well > 0, "what was stopped is complete: {ended_well} of {runs}, {} were killed", storm.killed);
    assert!(checked.len() == SERVICES && checked.values().all(|checked| checked.bytes > 0), "every service wrote");
    // The daemon removes when a file is begun, so a service may have some more for a moment. And an index is small, and what
    // was set aside for it is given back: what was not removed is little more than what was written.
    let bytes = progress.bytes.load(Ordering::SeqCst);
    let bound = ((TOTAL + TOTAL / 4) * SERVICES as u64).min(bytes + bytes / 10 + (u64::from(runs) << 17));
    assert!(most < bound, "{most} bytes on the disk for {bytes}");
    is_bounded(&storm.project, &logs);
}
