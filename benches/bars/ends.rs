//! Ends: seen, followed by the next run, asked for, and when the daemon is killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Row;
use crate::measures::{bar, watched};
use crate::place::{Kind, Project, Result, milliseconds, monotonic, name, wait_for};
use crate::process;

const KILLS: usize = 40;
const REPETITIONS: usize = 5;
const SERVICES: usize = 50;
/// Neither first nor last.
const ONE: usize = 25;
/// Of the stubborn service; in the manifest of [`Kind::OneStubborn`].
const STOP_TIMEOUT: f64 = 1000.0;

fn kill(pid: u32) -> Result<()> {
    Ok(kill_process(Pid::from_raw(i32::try_from(pid)?).ok_or("no pid")?, Signal::KILL)?)
}

/// One service of fifty is killed again and again.
pub(crate) fn deaths() -> Result<Vec<Row>> {
    let project = Project::new(Kind::Acting, SERVICES)?;
    project.up()?;
    let (mut seen, mut again) = (Vec::new(), Vec::new());
    for round in 0..2 * KILLS {
        let runs = project.acts(ONE).len();
        // One whom it is told is listened to in every other round: to listen costs the daemon something.
        let mut watch = if round % 2 == 0 { Some(Watch::open(&project)?) } else { None };
        let pid = *project.pids()?.get(&name(ONE)).ok_or("the service is not shown")?;
        process::quiet();
        let killed = monotonic();
        kill(pid)?;
        if let Some(watch) = &mut watch {
            seen.push(milliseconds(killed, watch.until_gone(pid)?));
        }
        let took = milliseconds(killed, project.act_after(ONE, runs)?);
        if watch.is_none() {
            again.push(took - project.last_wait(ONE)?);
        }
        wait_for("the service runs", || project.pids().ok()?.get(&name(ONE)).copied())?;
    }
    project.down()?;
    Ok(vec![
        bar("a SIGKILL'd service: until one who watches is told", 5.0, "ms", seen),
        // The wait is known in whole milliseconds, cut: this is up to one too much.
        watched("… until the next run's first act, without the wait (10 ms ± 20 %)", "ms", again),
    ])
}

/// Fifty polite services; fifty with one that does not listen; fifty trees and no daemon any more.
pub(crate) fn ends() -> Result<Vec<Row>> {
    let (mut polite, mut stubborn, mut orphaned) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let project = Project::new(Kind::Idle, SERVICES)?;
        project.up()?;
        process::quiet();
        polite.push(project.devsup(&["stop", "--all"])?.0);
        project.down()?;

        let project = Project::new(Kind::OneStubborn, SERVICES)?;
        project.up()?;
        process::quiet();
        stubborn.push(project.devsup(&["stop", "--all"])?.0 - STOP_TIMEOUT);
        project.down()?;

        let project = Project::new(Kind::Trees, SERVICES)?;
        project.up()?;
        orphaned.push(killed(&project)?);
    }
    Ok(vec![
        bar("`stop --all` of 50 polite services, to its return", 200.0, "ms", polite),
        bar("… of 50 with a stubborn one, beyond its stop_timeout (1 s)", 100.0, "ms", stubborn),
        bar("SIGKILL of the daemon, until 50 trees of two are gone", 100.0, "ms", orphaned),
    ])
}

fn killed(project: &Project) -> Result<f64> {
    let daemon = project.daemon()?;
    let mut left = Vec::new();
    for keeper in project.keepers()? {
        for main in process::children(keeper) {
            left.extend(process::children(main));
            left.push(main);
        }
    }
    if left.len() != 2 * SERVICES {
        return Err(format!("{} processes in 50 trees of two", left.len()).into());
    }
    process::quiet();
    let began = monotonic();
    kill(daemon)?;
    wait_for("the end of all trees", || {
        left.retain(|pid| process::lives(*pid));
        left.is_empty().then_some(())
    })?;
    Ok(milliseconds(began, monotonic()))
}

/// A reader of `/v1/watch`.
struct Watch(BufReader<UnixStream>);

impl Watch {
    fn open(project: &Project) -> Result<Self> {
        let mut stream = UnixStream::connect(project.socket()?)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        stream.write_all(b"GET /v1/watch HTTP/1.1\r\nhost: bars\r\n\r\n")?;
        let mut watch = Self(BufReader::new(stream));
        // The head, and how it is now.
        watch.look()?;
        Ok(watch)
    }

    /// The next state of all, as text: one line of JSON between the lines of HTTP.
    fn look(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err("the daemon ended the stream".into());
            }
            if line.starts_with('{') {
                return Ok(line);
            }
        }
    }

    /// When no service has this process any more.
    fn until_gone(&mut self, pid: u32) -> Result<Duration> {
        let shown = format!("\"pid\":{pid},");
        while self.look()?.contains(&shown) {}
        Ok(monotonic())
    }
}
