//! What `/proc` tells of a process that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Children, by all its threads.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let lists = tasks(pid).into_iter().filter_map(|task| fs::read_to_string(format!("{task}/children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn tasks(pid: u32) -> Vec<String> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    folder.flatten().map(|entry| entry.path().display().to_string()).collect()
}

pub(crate) fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// A zombie does not.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A line of a file of `key: number` lines, in its own unit.
fn field(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Resident memory, MiB.
pub(crate) fn rss(pid: u32) -> Option<f64> {
    field(&format!("/proc/{pid}/status"), "VmRSS").map(|kib| kib / 1024.0)
}

/// Its share of memory, MiB. Only root may ask this of a process that hides its memory.
pub(crate) fn pss(pid: u32) -> Option<f64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss").map(|kib| kib / 1024.0)
}

/// How often each thread has gone to sleep, so that a wake-up is one more.
pub(crate) fn sleeps(pids: &[u32]) -> BTreeMap<String, f64> {
    let tasks = pids.iter().flat_map(|pid| tasks(*pid));
    tasks
        .filter_map(|task| Some((task.clone(), field(&format!("{task}/status"), "voluntary_ctxt_switches")?)))
        .collect()
}

/// Time on a processor so far, ms.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    let of =
        |task: String| fs::read_to_string(format!("{task}/schedstat")).ok()?.split(' ').next()?.parse::<f64>().ok();
    let all: Vec<f64> = tasks(pid).into_iter().filter_map(of).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / 1e6)
}

/// One line about where and under what load this was measured.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("?");
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("{processors} x {model}, Linux {}, load average {}", kernel.trim(), load.join(" "))
}

/// Looks left to be spent on waiting for a quiet machine, all measures together.
static LOOKS: AtomicU32 = AtomicU32::new(600);
const LOOK: Duration = Duration::from_millis(100);

/// Waits, within bounds, until the machine has been six sevenths idle for a tenth of a second.
pub(crate) fn quiet() {
    let mut before = idle_and_all();
    while LOOKS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        std::thread::sleep(LOOK);
        let now = idle_and_all();
        if (now.0 - before.0) * 7 >= (now.1 - before.1) * 6 {
            return;
        }
        before = now;
    }
}

/// Ticks that all processors were idle, and all ticks.
fn idle_and_all() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}
