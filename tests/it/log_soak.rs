//! Ten services write numbered lines while they are restarted, killed and rotated: none is lost, doubled or torn.
//!
//! 200 MB as it stands; `DEVSUP_LOG_SOAK=2GB` and more by that variable. What was checked is deleted on the way, so the disk
//! holds a few hundred megabytes at a time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use devsup::sys::clock::{monotonic, realtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::means;
use crate::project::{Project, binary};

const SERVICES: usize = 10;
const DEFAULT: u64 = 200_000_000;

fn wanted() -> u64 {
    let Ok(text) = std::env::var("DEVSUP_LOG_SOAK") else { return DEFAULT };
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "GB" => 1_000_000_000,
        "MB" => 1_000_000,
        other => panic!("DEVSUP_LOG_SOAK is a number with MB or GB, not `{other}`"),
    };
    number.parse::<u64>().expect("a number") * unit
}

fn manifest() -> String {
    let program = binary().with_file_name("examples").join("numbers");
    let mut text = String::from(
        "name = \"soak\"\n[aws]\nregion = \"eu-west-1\"\nrole_prefix = \"arn:aws:iam::033145145979:role/\"\n\
         [sandbox]\nlease = \"8s\"\n[defaults]\nrestart = \"always\"\nbackoff = { first = \"10ms\", max = \"50ms\" }\n\
         logs = { total = \"4GiB\", file = \"4MiB\" }\n",
    );
    for at in 0..SERVICES {
        // Half of them have credentials, and so secrets that are looked for in every byte.
        let role = if at % 2 == 0 { format!("role = \"r{at}\"\n") } else { String::new() };
        let command = format!("[\"{}\", \"counters\", \"300\"]", program.display());
        write!(text, "[services.s{at}]\n{role}command = {command}\n").expect("memory");
    }
    text
}

/// What is known of one service's runs.
#[derive(Default)]
struct Checked {
    bytes: u64,
    runs: u32,
    ended_well: u32,
}

struct Soak {
    project: Project,
    checked: BTreeMap<String, Checked>,
    seed: u64,
    turn: u64,
    wanted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All but the newest run.
    Over,
    All,
}

impl Soak {
    fn new(wanted: u64) -> Self {
        let project = Project::new(&manifest());
        fs::create_dir(project.path("counters")).expect("a folder");
        project.up_sandbox();
        let seed = u64::try_from(realtime().as_nanos()).unwrap_or(1) | 1;
        Self { project, checked: BTreeMap::new(), seed, turn: 0, wanted }
    }

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
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
        } else {
            self.project.devsup(&["restart", &name]).ok();
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.project.state().expect("a project that is up").join("logs").join(name)
    }

    /// Checks and deletes what is over.
    fn check(&mut self, which: Which) {
        for at in 0..SERVICES {
            let name = format!("s{at}");
            let runs = runs(&self.folder(&name));
            let over = runs.len().saturating_sub(usize::from(which == Which::Over));
            for (run, files) in runs.into_iter().take(over) {
                let found = numbers(&files);
                let counted = counted(&self.project.path("counters"), &name, run);
                assert!(
                    found.last >= counted,
                    "{name}, run {run}: {} lines of {counted}, seed {}",
                    found.last,
                    self.seed
                );
                let checked = self.checked.entry(name.clone()).or_default();
                checked.bytes += found.bytes;
                checked.runs += 1;
                checked.ended_well += u32::from(found.ended);
                assert!(found.trouble.is_none(), "{name}, run {run}, seed {}: {:?}", self.seed, found.trouble);
                for file in files {
                    fs::remove_file(file).expect("a log of ours");
                }
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.checked.values().map(|checked| checked.bytes).sum()
    }
}

/// The files of each run, in order.
fn runs(folder: &Path) -> Vec<(u32, Vec<PathBuf>)> {
    let mut parts: BTreeMap<u32, BTreeMap<u32, PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the service's logs").flatten() {
        let name = entry.file_name().into_string().expect("our own names");
        let Some(stem) = name.strip_suffix(".log") else { continue };
        let (run, part) = stem.split_once('.').unwrap_or((stem, "0"));
        parts.entry(run.parse().expect("a run")).or_default().insert(part.parse().expect("a part"), entry.path());
    }
    parts.into_iter().map(|(run, files)| (run, files.into_values().collect())).collect()
}

#[derive(Default)]
struct Found {
    bytes: u64,
    last: u64,
    ended: bool,
    trouble: Option<String>,
}

/// Reads a run: 1, 2, 3 … without a gap, then perhaps its end.
fn numbers(files: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut line = Vec::new();
    for file in files {
        let mut reader = BufReader::with_capacity(1 << 20, fs::File::open(file).expect("a log"));
        while reader.read_until(b'\n', &mut line).expect("read") > 0 {
            found.bytes += line.len() as u64;
            let expected = found.last + 1;
            let text = std::str::from_utf8(&line).unwrap_or("no text");
            let word = text.split(' ').next().unwrap_or_default();
            if word == "end" {
                found.ended = text == format!("end {}\n", found.last);
            }
            let whole = text.ends_with("x\n") && word.parse() == Ok(expected);
            if whole && !found.ended {
                found.last = expected;
            } else if !found.ended {
                found.trouble.get_or_insert(format!("after {}: {text:?} in {}", found.last, file.display()));
            }
            line.clear();
        }
    }
    found
}

/// So many lines the run had surely written, however it ended.
fn counted(counters: &Path, name: &str, run: u32) -> u64 {
    let bytes = fs::read(counters.join(format!("{name}#{run}"))).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[test]
fn no_line_is_lost_doubled_or_torn() {
    let mut soak = Soak::new(wanted());
    let until = monotonic() + Duration::from_secs(60 + soak.wanted / 10_000_000);
    while soak.bytes() < soak.wanted {
        assert!(monotonic() < until, "too slow: {} bytes of {}", soak.bytes(), soak.wanted);
        for _ in 0..3 {
            soak.disturb();
            thread::sleep(Duration::from_millis(100));
        }
        soak.check(Which::Over);
    }
    soak.project.devsup(&["down"]).ok();
    soak.project.until_gone();
    soak.check(Which::All);
    let runs: u32 = soak.checked.values().map(|checked| checked.runs).sum();
    let ended_well: u32 = soak.checked.values().map(|checked| checked.ended_well).sum();
    let megabytes = soak.bytes() / 1_000_000;
    means::counted(&format!("{megabytes} MB, {runs} runs, {ended_well} of them to their last line"));
    assert!(ended_well > 0 && runs > ended_well, "some are stopped, some are killed: {runs} {ended_well}");
    assert!(soak.checked.values().all(|checked| checked.bytes > 0), "every service wrote");
}
