//! Ports that outlive runs: who gets them, where callers go while runs come and go, and that none of them notices.

mod basics;
mod causes;
mod faults;
mod forward;
mod interrupted;
mod load;
mod reload;
mod strangers;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devsup::sys::tree;

use crate::faults::callers::own_state;
use crate::faults::{badly, lives};
use crate::project::{DEADLINE, Project, wait_until};

/// Serves at its port, in the way that files of the test say; a new one looks again. `WHERE` is `PORT` or `fd:3`.
const SERVES: &str = "if stubborn [ ignore TERM answer WHERE say ready sleep 600 ] on TERM exit 0 \
                      if crash [ exit 3 ] if hang [ sleep 600 ] if slow [ wait-for go ] answer WHERE say ready sleep 600";

/// One service of this manifest: `a`, at one port `http`.
pub(crate) fn one(words: &str, at: &str, handover: &str, more: &str) -> String {
    let (whom, ready) = match handover {
        "forward" => ("PORT", "{ tcp = 'http', interval = '50ms' }"),
        "socket" => ("fd:3", "{ log = '^ready' }"),
        _ => (at, "{ tcp = 'http', interval = '50ms' }"),
    };
    let command = badly(&words.replace("WHERE", whom));
    format!(
        "name = 'shop'\n[services.a]\ncommand = {command}\nready = {ready}\nbackoff = {{ first = '100ms', max = '200ms' }}\n\
         ports.http = {{ listen = '{at}', handover = '{handover}' }}\n{more}\n"
    )
}

/// The same, replaced by overlap.
fn overlap(at: &str, handover: &str, more: &str) -> String {
    one(SERVES, at, handover, &format!("replace = 'overlap'\n{more}"))
}

fn up(manifest: &str) -> Project {
    let project = Project::new(manifest);
    project.devsup(&["up", "-d", "--wait"]).ok();
    project
}

/// A caller's connection.
struct Call<S>(BufReader<S>);

impl<S: Read + Write> Call<S> {
    fn hears(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn says(&mut self, line: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.hears()
    }

    /// The run that took it.
    fn run(&mut self) -> io::Result<u32> {
        let said = self.hears()?;
        let run = said.strip_prefix("run ").and_then(|run| run.parse().ok());
        run.ok_or_else(|| io::Error::other(format!("who says `{said}`?")))
    }
}

fn call(at: &str) -> io::Result<Call<TcpStream>> {
    let at = at.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&at, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(Call(BufReader::new(stream)))
}

fn served_by(at: &str) -> io::Result<u32> {
    call(at)?.run()
}

fn refused(at: &str) -> bool {
    TcpStream::connect(at).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[derive(Clone, Debug, Default)]
struct Count {
    /// By the run that served them.
    served: BTreeMap<u32, usize>,
    failed: Vec<String>,
}

/// One after the other, without an end, as those who use a service do.
struct Callers {
    over: Arc<AtomicBool>,
    count: Arc<Mutex<Count>>,
    calling: Option<JoinHandle<()>>,
}

impl Callers {
    fn begin(at: &str) -> Self {
        let (over, count) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Count>>::default());
        let (at, until, into) = (at.to_owned(), Arc::clone(&over), Arc::clone(&count));
        let calling = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let served = served_by(&at);
                let mut count = into.lock().expect("no panic");
                match served {
                    Ok(run) => *count.served.entry(run).or_default() += 1,
                    Err(error) => count.failed.push(error.to_string()),
                }
                drop(count);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { over, count, calling: Some(calling) }
    }

    fn so_far(&self) -> Count {
        self.count.lock().expect("no panic").clone()
    }

    /// Until this run has served some more of them.
    fn until_served_by(&self, run: u32) {
        let served = || self.so_far().served.get(&run).copied().unwrap_or_default();
        let before = served();
        wait_until(&format!("run {run} serves: {:?}", self.so_far()), || served() > before + 2);
    }

    /// Not one of them has noticed.
    #[track_caller]
    fn end_well(mut self) -> Count {
        self.over.store(true, Ordering::Relaxed);
        self.calling.take().expect("it began").join().expect("no panic");
        let count = self.so_far();
        assert!(count.failed.is_empty(), "callers noticed: {count:?}");
        count
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The numbers of the runs of `a` of which a process lives: a keeper comes a moment before, and goes a moment after.
fn runs(project: &Project) -> Vec<u32> {
    let runs = |pid: u32| tree::descendants(pid, &[]).into_iter().any(lives);
    let mut runs: Vec<u32> = own_state(project)
        .keepers
        .iter()
        .filter(|keeper| runs(keeper.pid))
        .filter_map(|keeper| keeper.run.rsplit_once("a#")?.1.parse().ok())
        .collect();
    runs.sort_unstable();
    runs
}

#[track_caller]
fn until_runs(project: &Project, so: &[u32]) {
    wait_until(&format!("the runs are {so:?}"), || {
        let runs = runs(project);
        assert!(runs.len() < 3, "never three: {runs:?}");
        runs == so
    });
}

/// Everything that was said in `events` of this kind.
fn said(project: &Project, event: &str) -> Vec<String> {
    let all = project.events().into_iter().filter(|one| one.event == event);
    all.filter_map(|event| event.reason).collect()
}
