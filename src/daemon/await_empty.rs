//! `devsup __await-empty [--within SECONDS] [--manifest FILE]`: the unit's `ExecStopPost`. However the daemon ended, its keepers end their
//! runs, politely and then by force; this waits for them, so that systemd does not start the next one, or call the unit
//! dead, while services of the last still run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::clocks::now;
use super::leftovers::HolderInfo;
use crate::control::paths::{Folder, root};
use crate::sys::lock::Lock;
use crate::sys::process::Pidfd;

const WITHIN: Duration = Duration::from_mins(2);
/// A lock is free a moment after its holder's end; and a holder may not be written down yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub fn await_empty() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let Some((within, state)) = understood(&words) else {
        complain(
            "usage: devsup __await-empty [--within SECONDS] [--manifest FILE]; without a manifest, STATE_DIRECTORY says where",
        );
        return ExitCode::from(2);
    };
    let Some(state) = state else { return ExitCode::SUCCESS };
    let left = wait(&state.join("services"), within);
    if left.is_empty() {
        return ExitCode::SUCCESS;
    }
    complain(&format!("error: still running after {} s: {}", within.as_secs(), left.join(", ")));
    ExitCode::FAILURE
}

/// How long, and the project's state folder: `None` when a manifest was never up.
fn understood(words: &[String]) -> Option<(Duration, Option<PathBuf>)> {
    let (mut within, mut manifest) = (WITHIN, None);
    for pair in words.chunks(2) {
        match pair {
            [word, value] if word == "--within" => within = Duration::from_secs(value.parse().ok()?),
            [word, value] if word == "--manifest" => manifest = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    let env = |name: &str| std::env::var(name).ok();
    let state = match manifest {
        Some(manifest) => {
            let manifest = manifest.canonicalize().unwrap_or(manifest);
            Folder::existing(&root(&env).ok()?, &manifest).map(|folder| folder.path())
        }
        None => Some(PathBuf::from(env("STATE_DIRECTORY")?.split(':').next()?)),
    };
    Some((within, state))
}

fn complain(words: &str) {
    // Nobody may be reading.
    drop(writeln!(std::io::stderr(), "{words}"));
}

/// Until no keeper holds a service's lock. Answers who still does when the time is over.
fn wait(services: &Path, within: Duration) -> Vec<String> {
    let until = now().mono + within;
    loop {
        let held: Vec<PathBuf> =
            locks(services).into_iter().filter(|lock| matches!(Lock::take(lock), Ok(None))).collect();
        if held.is_empty() {
            return Vec::new();
        }
        if now().mono >= until {
            return held.iter().map(|lock| said(lock)).collect();
        }
        let keeper = held.iter().flat_map(|lock| holders(lock)).find_map(|holder| Pidfd::open(holder.pid).ok());
        let left = Duration::from_millis(until.0.saturating_sub(now().mono.0));
        match keeper.filter(Pidfd::alive) {
            Some(keeper) => drop(keeper.wait(left)),
            None => std::thread::sleep(LOOK_AGAIN.min(left)),
        }
    }
}

fn locks(services: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(services).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "lock")).collect()
}

fn holders(lock: &Path) -> Vec<HolderInfo> {
    let all: Vec<HolderInfo> = serde_json::from_str(&fs::read_to_string(lock).unwrap_or_default()).unwrap_or_default();
    all.into_iter().filter(HolderInfo::alive).collect()
}

fn said(lock: &Path) -> String {
    let name = lock.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let keepers: Vec<String> =
        holders(lock).iter().map(|holder| format!("run {}, keeper {}", holder.run, holder.pid)).collect();
    format!("`{name}` ({})", keepers.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_the_locks_are_free_and_names_who_holds_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.lock");
        assert!(wait(folder.path(), Duration::ZERO).is_empty(), "nothing was ever started");
        let mut lock = Lock::take(&path).expect("opens").expect("is free");
        let me = serde_json::to_string(&[HolderInfo::of(std::process::id(), 4)]).expect("serializes");
        lock.write(&me).expect("writes");
        let left = wait(folder.path(), Duration::from_millis(1));
        assert_eq!(left, [format!("`a` (run 4, keeper {})", std::process::id())]);
        drop(lock);
        assert!(wait(folder.path(), Duration::ZERO).is_empty());
    }
}
