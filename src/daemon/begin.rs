//! From the first line on descriptor 0 to a daemon that answers: read the manifest, take the lock, bind the socket.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::cgroups::Cgroups;
use super::clocks::now;
use super::leftovers::{COMM, hidden_daemon};
use super::system;
use super::world::Inherited;
use crate::control::api::{Failed, FailedKind, VERSION};
use crate::control::paths::{Folder, LockInfo, root};
use crate::control::system::SystemFolders;
use crate::control::{Answered, Start};
use crate::manifest::{self, Colour, Loaded, Source, Trust};
use crate::sys::daemonize::Came;
use crate::sys::lock::Lock;
use crate::sys::{daemonize, memfd, stream, tree, users};

/// Environments are bounded by the kernel, and this by twice that.
const START_MAX: u64 = 8 * 1024 * 1024;
const LOG_MAX: u64 = 8 * 1024 * 1024;
/// How long a lock may be held by somebody who does not answer: one who begins, or has all but ended.
const LOCK_WITHIN: Duration = Duration::from_secs(15);
const DYING_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// All that is there before the loop begins.
pub(super) struct Begun {
    pub(super) start: Start,
    pub(super) loaded: Loaded,
    pub(super) folder: Folder,
    pub(super) lock: Lock,
    pub(super) info: LockInfo,
    pub(super) came: Came,
    pub(super) cgroups: Cgroups,
}

/// Who told us to start; hears one answer.
pub(super) enum Starter {
    /// An `up` that waits for it.
    Up(UnixStream),
    /// This very process, for systemd: what goes wrong is said on stderr, and by the exit code.
    Unit,
}

impl Starter {
    pub(super) fn read(&self) -> Result<Start, Failed> {
        let Self::Up(stream) = self else { return Err(untold()) };
        let mut line = String::new();
        BufReader::new(stream.take(START_MAX)).read_line(&mut line).map_err(|error| untold().cause(error))?;
        serde_json::from_str(&line).map_err(|error| untold().cause(format!("at column {}", error.column())))
    }

    /// Nobody may be there any more: then the project is up all the same. Answers what to end with, if this was the end.
    pub(super) fn answer(self, answered: &Answered) -> ExitCode {
        match (self, answered) {
            (Self::Up(mut stream), answered) => {
                if let Ok(mut line) = serde_json::to_vec(answered) {
                    line.push(b'\n');
                    drop(stream.write_all(&line));
                }
                if matches!(answered, Answered::Failed(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
            (Self::Unit, Answered::Failed(failed)) => {
                complain(failed);
                ExitCode::from(failed.kind.code())
            }
            (Self::Unit, Answered::AlreadyRunning { socket, .. }) => {
                let failed = Failed::new(FailedKind::Failed, "this project is up already");
                complain(&failed.cause(format!("it listens at `{}`", socket.display())).hint("devsup ls"));
                ExitCode::FAILURE
            }
            (Self::Unit, Answered::Started { warnings, .. }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                ExitCode::SUCCESS
            }
        }
    }
}

fn untold() -> Failed {
    Failed::new(FailedKind::Failed, "the daemon was not told what to start")
}

/// As the command line says it. Problems of a manifest are whole texts of their own.
fn complain(failed: &Failed) {
    let mut text =
        if failed.error.contains('\n') { failed.error.clone() } else { format!("error: {}\n", failed.error) };
    for (label, words) in failed.causes.iter().map(|w| ("cause", w)).chain(failed.hints.iter().map(|w| ("hint", w))) {
        let gap = if words.contains('\n') { "\n" } else { " " };
        text.extend([label, ":", gap, words, "\n"]);
    }
    // Nobody may be reading.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// What a unit's process was told before it became this one.
pub(super) fn told(file: &File) -> Result<Start, Failed> {
    let words = memfd::read(file).map_err(|error| untold().cause(error))?;
    serde_json::from_slice(&words).map_err(|error| untold().cause(format!("at column {}", error.column())))
}

/// What the preparations come to when they do not come to a daemon.
pub(super) fn begin(start: Start, came: Came) -> Result<Begun, Answered> {
    let env = |name: &str| Inherited::lookup(&start.environment.env, name);
    let loaded = load(&start.manifest, &start.environment.env, start.insecure).map_err(Answered::Failed)?;
    let failed = |error: &dyn std::fmt::Display| Answered::Failed(Failed::new(FailedKind::Failed, error.to_string()));
    let name = &loaded.manifest.name;
    let folder = if start.system {
        system::check(&loaded).map_err(Answered::Failed)?;
        Folder::of_system(SystemFolders::of(name, &env), name, &start.manifest)
    } else {
        Folder::of(&root(&env).map_err(|error| failed(&error))?, name, &start.manifest)
    };
    folder.prepare().map_err(|error| failed(&error))?;
    let mut lock = take_lock(&folder)?;
    look_for_another(&folder)?;
    let socket = folder.socket(&env).map_err(|error| failed(&error))?;
    let info = LockInfo {
        pid: std::process::id(),
        start_time: tree::look(std::process::id()).map(|own| own.start_time).unwrap_or_default(),
        socket: socket.clone(),
        version: VERSION.to_owned(),
        name: loaded.manifest.name.clone(),
        manifest: start.manifest.clone(),
        sandbox: start.sandbox,
        shared: folder.system().cloned(),
    };
    let written = serde_json::to_string(&info).map_err(std::io::Error::from).and_then(|text| lock.write(&text));
    written.map_err(|error| failed(&format!("lock `{}`: {error}", folder.lock().display())))?;
    let log = if start.unit { Log::Stderr } else { Log::File(&folder.daemon_log()) };
    open_log(&log, &env).map_err(|error| failed(&error))?;
    daemonize::enter(&loaded.manifest.dir).map_err(|error| failed(&error))?;
    daemonize::set_comm(&format!("{COMM}{}", loaded.manifest.name));
    // Before anything is started: it begins where we are.
    let cgroups = Cgroups::find(&start.environment.env, &folder).map_err(Answered::Failed)?;
    Ok(Begun { start, loaded, folder, lock, info, came, cgroups })
}

/// Reads and checks the manifest in this environment.
pub(super) fn load(file: &Path, env: &[(OsString, OsString)], insecure: bool) -> Result<Loaded, Failed> {
    let source = Source {
        file: Some(file.to_owned()),
        cwd: file.parent().unwrap_or(Path::new("/")).to_owned(),
        env: &|name| Inherited::lookup(env, name),
        trust: if insecure { Trust::Insecure } else { Trust::Strict },
        group_is_shared: &users::group_is_shared,
    };
    manifest::load(&source).map_err(|problems| Failed::new(FailedKind::Usage, problems.render(Colour::Plain)))
}

/// The flock decides between two; the loser waits until the winner answers, or has ended.
fn take_lock(folder: &Folder) -> Result<Lock, Answered> {
    let failed = |error: String| Answered::Failed(Failed::new(FailedKind::Failed, error));
    let give_up = now().mono + LOCK_WITHIN;
    loop {
        match Lock::take(&folder.lock()) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(failed(format!("lock `{}`: {error}", folder.lock().display()))),
        }
        if let Some(info) = folder.running()
            && stream::is_answered(&info.socket).is_ok_and(|answered| answered)
        {
            return Err(Answered::AlreadyRunning { socket: info.socket, id: folder.id().to_owned() });
        }
        if now().mono >= give_up {
            let holder = folder.last().map_or_else(String::new, |info| format!(" (pid {})", info.pid));
            return Err(failed(format!("another devsup{holder} holds this project and does not answer")));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A daemon whose folder was removed, or whose unit names others, holds a lock that is not ours: its services must not be
/// started twice.
fn look_for_another(folder: &Folder) -> Result<(), Answered> {
    // One that was killed is above its keepers a moment longer than it holds its lock.
    let give_up = now().mono + DYING_WITHIN;
    while let Some(pid) = hidden_daemon(folder.id()) {
        if now().mono >= give_up {
            let error = format!(
                "another devsup (pid {pid}) runs this project; its state folder was removed under it, or is another one"
            );
            let hint = format!("kill {pid}: it ends its services in order; then devsup up");
            return Err(Answered::Failed(Failed::new(FailedKind::Failed, error).hint(hint)));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

enum Log<'a> {
    File(&'a Path),
    Stderr,
}

/// devsup's own log, by the filter of `DEVSUP_LOG` (`info`, `devsup=debug,aws=warn`).
fn open_log(to: &Log<'_>, env: &dyn Fn(&str) -> Option<String>) -> std::io::Result<()> {
    let lines = tracing_subscriber::fmt::layer().with_ansi(false);
    let lines = match to {
        Log::File(path) => lines.with_writer(std::sync::Mutex::new(log_file(path)?)).boxed(),
        // The journal has its own times.
        Log::Stderr if env("JOURNAL_STREAM").is_some() => lines.with_writer(std::io::stderr).without_time().boxed(),
        Log::Stderr => lines.with_writer(std::io::stderr).boxed(),
    };
    let asked = env("DEVSUP_LOG").and_then(|filter| filter.parse::<Targets>().ok());
    let targets = asked.unwrap_or_else(|| Targets::new().with_target("devsup", tracing::Level::INFO));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    // Another subscriber is in force only in tests.
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

fn log_file(path: &Path) -> std::io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LOG_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
