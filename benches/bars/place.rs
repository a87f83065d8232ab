//! A project in a home folder of its own, driven by the release binary, and gone when it is dropped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Output};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::process;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) const DEVSUP: &str = env!("CARGO_BIN_EXE_devsup");
/// The word by which this program is a service.
pub(crate) const ACT: &str = "__act";

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Project {
    home: tempfile::TempDir,
    services: usize,
}

/// What the services are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `sleep`, without a role.
    Idle,
    /// The same, but for the last, which has a second and does not listen.
    OneStubborn,
    /// Each a shell's child beside its main process.
    Trees,
    /// Each says when it began, without a role.
    Acting,
    /// Each says when it began, and has a role of its own.
    ActingAsRole,
}

impl Project {
    pub(crate) fn new(kind: Kind, services: usize) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("devsup-bars-").tempdir()?;
        let act = std::env::current_exe()?.display().to_string();
        let mut text = String::from("name = \"bars\"\n[aws]\nregion = \"eu-central-1\"\n[sandbox]\nlease = \"1h\"\n");
        text.push_str("[defaults]\nbackoff = { first = \"10ms\", max = \"10ms\" }\n");
        for number in 0..services {
            let name = name(number);
            match kind {
                Kind::OneStubborn if number + 1 == services => writeln!(
                    text,
                    "[services.{name}]\ncommand = [\"/bin/sh\", \"-c\", \"trap '' TERM; sleep 1000000; :\"]\nstop_timeout = \"1s\""
                )?,
                Kind::Trees => writeln!(
                    text,
                    "[services.{name}]\ncommand = [\"/bin/sh\", \"-c\", \"sleep 1000000 & exec sleep 1000000\"]"
                )?,
                Kind::Idle | Kind::OneStubborn => {
                    writeln!(text, "[services.{name}]\ncommand = [\"sleep\", \"1000000\"]")?;
                }
                Kind::Acting | Kind::ActingAsRole => {
                    let file = home.path().join(&name).display().to_string();
                    writeln!(text, "[services.{name}]\ncommand = [{act:?}, {ACT:?}, {file:?}]")?;
                }
            }
            if kind == Kind::ActingAsRole {
                writeln!(text, "role = \"arn:aws:iam::123456789012:role/{name}\"")?;
            }
        }
        fs::write(home.path().join("services.toml"), text)?;
        Ok(Self { home, services })
    }

    /// Runs `devsup` and gives the milliseconds that took, its output, and when it began.
    pub(crate) fn devsup(&self, arguments: &[&str]) -> Result<(f64, Output, Duration)> {
        #[expect(clippy::disallowed_methods, reason = "what is measured is started here")]
        let mut command = std::process::Command::new(DEVSUP);
        command.args(arguments).current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let began = monotonic();
        let output = command.output()?;
        let took = milliseconds(began, monotonic());
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("devsup {}: {}: {said}", arguments.join(" "), output.status).into());
        }
        Ok((took, output, began))
    }

    /// Milliseconds until `up -d` came back, and until the last service's first act.
    pub(crate) fn up(&self) -> Result<(f64, Option<f64>)> {
        let (took, _, began) = self.devsup(&["up", "-d", "--sandbox"])?;
        Ok((took, self.first_acts(began)?))
    }

    /// From an instant to the last of all services' first acts; `None` for services that do not say.
    fn first_acts(&self, began: Duration) -> Result<Option<f64>> {
        if !fs::read_to_string(self.home.path().join("services.toml"))?.contains(ACT) {
            return Ok(None);
        }
        let mut last = Duration::ZERO;
        for number in 0..self.services {
            let acts = wait_for("a service's first act", || Some(self.acts(number)).filter(|acts| !acts.is_empty()))?;
            last = last.max(acts.first().copied().unwrap_or_default());
        }
        Ok(Some(milliseconds(began, last)))
    }

    /// When each run of this service began.
    pub(crate) fn acts(&self, number: usize) -> Vec<Duration> {
        let text = fs::read_to_string(self.home.path().join(name(number))).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).map(Duration::from_nanos).collect()
    }

    /// The next run's first act after so many.
    pub(crate) fn act_after(&self, number: usize, so_many: usize) -> Result<Duration> {
        wait_for("the next run's first act", || self.acts(number).get(so_many).copied())
    }

    pub(crate) fn daemon(&self) -> Result<u32> {
        let pid =
            self.lock().ok_or("the daemon's lock file is not there")?.get("pid").and_then(serde_json::Value::as_u64);
        Ok(u32::try_from(pid.ok_or("the daemon's lock file says no pid")?)?)
    }

    pub(crate) fn socket(&self) -> Result<PathBuf> {
        let lock = self.lock().ok_or("the daemon's lock file is not there")?;
        Ok(lock.get("socket").and_then(serde_json::Value::as_str).ok_or("it says no socket")?.into())
    }

    /// How long devsup waited before this service's latest run, in ms, as it says itself.
    pub(crate) fn last_wait(&self, number: usize) -> Result<f64> {
        let (_, output, _) = self.devsup(&["events", "--format", "json"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut events = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of = |event: &serde_json::Value| event["event"] == "backoff" && event["service"] == name(number).as_str();
        Ok(events.rfind(of).and_then(|event| event["wait_ms"].as_f64()).ok_or("it did not wait")?)
    }

    fn lock(&self) -> Option<serde_json::Value> {
        let folders: PathBuf = self.home.path().join(".local/state/devsup");
        let folders = fs::read_dir(folders).ok()?.flatten();
        folders
            .map(|folder| folder.path().join("lock"))
            .find_map(|lock| serde_json::from_slice(&fs::read(lock).ok()?).ok())
    }

    pub(crate) fn keepers(&self) -> Result<Vec<u32>> {
        let mut all = process::children(self.daemon()?);
        all.retain(|pid| process::comm(*pid).starts_with("keep:"));
        Ok(all)
    }

    /// The embedded AWS.
    pub(crate) fn sandbox(&self) -> Result<u32> {
        let all = process::children(self.daemon()?);
        let found = all.into_iter().find(|pid| !process::comm(*pid).starts_with("keep:"));
        Ok(found.ok_or("the daemon has no sandbox")?)
    }

    /// Each service's main process.
    pub(crate) fn pids(&self) -> Result<BTreeMap<String, u32>> {
        let (_, output, _) = self.devsup(&["ps", "--format", "json"])?;
        let mut all = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let service: serde_json::Value = serde_json::from_str(line)?;
            let (name, pid) = (service.get("name").and_then(|name| name.as_str()), service.get("pid"));
            let pid = pid.and_then(serde_json::Value::as_u64).ok_or_else(|| format!("{line}: it has no pid"))?;
            all.insert(name.unwrap_or_default().to_owned(), u32::try_from(pid)?);
        }
        Ok(all)
    }

    /// Milliseconds until `down` came back.
    pub(crate) fn down(&self) -> Result<f64> {
        let daemon = self.daemon()?;
        let (took, ..) = self.devsup(&["down"])?;
        wait_for("the daemon's end", || (!Path::new(&format!("/proc/{daemon}")).exists()).then_some(()))?;
        Ok(took)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Down already, when all went well.
        drop(self.devsup(&["down", "-t", "1s"]));
    }
}

/// Of services as well: the same for all processes. This program knows of devsup only what its command line does, so that
/// a service of it starts quickly.
pub(crate) fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

pub(crate) fn name(number: usize) -> String {
    format!("s{number:03}")
}

pub(crate) fn milliseconds(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64() * 1e3
}

/// Looks again and again, a tenth of a millisecond apart, until it is there.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let end = monotonic() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if monotonic() > end {
            return Err(format!("{what}: not within {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// The service: says when it began, and lives until it is told to end.
pub(crate) fn act(file: &Path) -> ExitCode {
    let began = monotonic().as_nanos();
    let said = OpenOptions::new().append(true).create(true).open(file).and_then(|mut file| writeln!(file, "{began}"));
    if said.is_err() {
        drop(writeln!(io::stderr(), "the first act could not be written down"));
        return ExitCode::FAILURE;
    }
    loop {
        std::thread::park();
    }
}
