//! What is measured, in the order of the table.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Row;
use crate::place::{DEVSUP, Kind, Project, Result, milliseconds, monotonic, name};
use crate::{ends, process};

pub(crate) const ALL: &[fn() -> Result<Vec<Row>>] = &[size, idle, times, roles, ends::deaths, ends::ends];

const MIB: f64 = 1024.0 * 1024.0;
const SILENCE: Duration = Duration::from_secs(20);
const REPETITIONS: usize = 5;
/// A service of the fifty, neither first nor last.
const ONE: usize = 25;

pub(crate) fn bar(what: &'static str, bar: f64, unit: &'static str, measured: Vec<f64>) -> Row {
    Row { what, bar: Some(bar), unit, measured }
}

pub(crate) fn watched(what: &'static str, unit: &'static str, measured: Vec<f64>) -> Row {
    Row { what, bar: None, unit, measured }
}

fn size() -> Result<Vec<Row>> {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let size = fs::metadata(DEVSUP)?.len() as f64 / 1e6;
    Ok(vec![bar("release binary", 12.0, "MB", vec![size])])
}

/// Fifty services that do nothing, and what it takes to have them and to look at them.
fn idle() -> Result<Vec<Row>> {
    let project = Project::new(Kind::Idle, 50)?;
    project.up()?;
    let daemon = project.daemon()?;
    let keepers = project.keepers()?;
    if keepers.len() != 50 {
        return Err(format!("{} keepers for 50 services", keepers.len()).into());
    }
    let mut looks = Vec::new();
    for _ in 0..20 {
        process::quiet();
        looks.push(project.devsup(&["ps"])?.0);
    }
    // Buffers are given back after a second of silence.
    std::thread::sleep(Duration::from_secs(3));
    let memory = process::rss(daemon).into_iter().collect();
    let shares: Vec<f64> =
        keepers.iter().filter_map(|keeper| process::pss(*keeper)).map(|mib| mib * MIB / 1e6).collect();
    let all = [&keepers[..], &[daemon]].concat();
    let before = process::sleeps(&all);
    std::thread::sleep(SILENCE);
    let after = process::sleeps(&all);
    if after.len() != before.len() {
        return Err(format!("{} threads became {}", before.len(), after.len()).into());
    }
    let woken: f64 = after.iter().map(|(thread, count)| count - before.get(thread).unwrap_or(&0.0)).sum();
    project.down()?;
    let mut rows = vec![
        bar("`devsup ps`, 50 services", 10.0, "ms", looks),
        bar("daemon's resident memory, 50 idle services", 16.0, "MiB", memory),
        watched("keepers' shares of memory, all 50", "MB", vec![shares.iter().sum()]),
        bar("wake-ups of daemon and 50 keepers in 20 s", 0.0, "", vec![woken]),
    ];
    if !shares.is_empty() {
        rows.insert(2, bar("a keeper's share of memory", 1.0, "MB", shares));
    }
    Ok(rows)
}

/// Fifty services that say when they began: up, one again, down.
fn times() -> Result<Vec<Row>> {
    let (mut up, mut acted, mut down) = (Vec::new(), Vec::new(), Vec::new());
    let (mut again, mut commanded, mut returned) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let project = Project::new(Kind::Acting, 50)?;
        process::quiet();
        let (took, first) = project.up()?;
        up.push(took);
        acted.extend(first);
        let pids = project.pids()?;
        let pid = *pids.get(&name(ONE)).ok_or("the service is not shown")?;
        let runs = project.acts(ONE).len();
        process::quiet();
        let killed = monotonic();
        kill_process(Pid::from_raw(i32::try_from(pid)?).ok_or("no pid")?, Signal::KILL)?;
        again.push(milliseconds(killed, project.act_after(ONE, runs)?));
        let (took, _, began) = project.devsup(&["restart", &name(ONE - 1)])?;
        returned.push(took);
        commanded.push(milliseconds(began, project.act_after(ONE - 1, 1)?));
        down.push(project.down()?);
    }
    Ok(vec![
        watched("`up -d`, 50 services without roles, to its return", "ms", up),
        watched("… to the last service's first act", "ms", acted),
        watched("a killed service's next run (backoff 10 ms ± 20 %)", "ms", again),
        watched("`restart` of one, to the next run's first act", "ms", commanded),
        watched("… to its return", "ms", returned),
        watched("`down` of 50, to its return", "ms", down),
    ])
}

/// A hundred services, each with its own role, and the same without.
fn roles() -> Result<Vec<Row>> {
    let (mut up, mut acted, mut daemon, mut sandbox) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut without = Vec::new();
    for _ in 0..REPETITIONS {
        let project = Project::new(Kind::ActingAsRole, 100)?;
        process::quiet();
        let (took, first) = project.up()?;
        up.push(took);
        acted.extend(first);
        daemon.extend(process::cpu(project.daemon()?));
        sandbox.extend(process::cpu(project.sandbox()?));
        project.down()?;
        let project = Project::new(Kind::Acting, 100)?;
        process::quiet();
        without.extend(project.up()?.1);
        project.down()?;
    }
    Ok(vec![
        bar("`up -d`, 100 services with 100 roles, to the last one's first act", 2000.0, "ms", acted),
        // Without a check a service counts as ready when it has lived for a second, and `up -d` waits for that.
        watched("… to its return, all having lived for a second", "ms", up),
        watched("… the same without roles, to the last one's first act", "ms", without),
        watched("… processor time of the sandbox for 100 roles", "ms", sandbox),
        watched("… and of the daemon", "ms", daemon),
    ])
}
