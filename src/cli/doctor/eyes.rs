//! What a process of a service's user can reach and execute, seen by one: where that is somebody else than we are, by a
//! process of our own that becomes them first (`devsup __see`), as a shim does.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::imds::{Reach, reach};
use crate::keeper::protocol::Identity;
use crate::keeper::would_start;
use crate::sys::{identity, process};

/// Every place is asked at once, and answers within little more than a second, or is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one user is to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    /// `None`: as who we are.
    pub(super) identity: Option<Identity>,
    /// URLs of instance metadata.
    pub(super) places: Vec<String>,
    pub(super) programs: Vec<Program>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) service: String,
    pub(super) word: String,
    pub(super) path: Option<OsString>,
    pub(super) folder: PathBuf,
}

/// In the order asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) places: Vec<(String, Reach)>,
    /// The service; the file that would be executed, or why none would.
    pub(super) programs: Vec<(String, Result<PathBuf, String>)>,
}

/// An error is one sentence: nothing could be seen.
pub(super) async fn look(task: Look) -> Result<Seen, String> {
    let seen = tokio::task::spawn_blocking(move || if task.identity.is_none() { Ok(see(&task)) } else { send(&task) });
    seen.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn send(task: &Look) -> Result<Seen, String> {
    let words = serde_json::to_vec(task).map_err(|error| error.to_string())?;
    let said = process::converse(process::own_program(), &["__see"], &words, PATIENCE)?;
    let seen: Result<Seen, String> = serde_json::from_slice(&said).map_err(|error| error.to_string())?;
    seen
}

fn see(task: &Look) -> Seen {
    let places = std::thread::scope(|scope| {
        let asked: Vec<_> = task.places.iter().map(|place| (place, scope.spawn(|| reach(place)))).collect();
        let answered = asked.into_iter().map(|(place, asked)| {
            let closed = |_| Reach::Closed("it could not be asked".to_owned());
            (place.clone(), asked.join().unwrap_or_else(closed))
        });
        answered.collect()
    });
    let programs = task.programs.iter().map(|asked| {
        let found = would_start(&asked.word, asked.path.as_deref(), &asked.folder);
        (asked.service.clone(), found)
    });
    Seen { places, programs: programs.collect() }
}

/// `devsup __see`: a [`Look`] on stdin, what came of it on stdout.
pub(crate) fn be() -> ExitCode {
    let mut words = Vec::new();
    let task = io::stdin().lock().read_to_end(&mut words).ok().and_then(|_| serde_json::from_slice(&words).ok());
    let Some(task): Option<Look> = task else { return ExitCode::FAILURE };
    let became = task.identity.as_ref().map_or(Ok(()), |who| {
        let became = identity::assume(who.uid, who.gid, &who.groups);
        became.map_err(|error| format!("it cannot become uid {}, gid {}: {error}", who.uid, who.gid))
    });
    let seen = became.map(|()| see(&task));
    let said = serde_json::to_vec(&seen).map_err(io::Error::from).and_then(|text| io::stdout().lock().write_all(&text));
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
