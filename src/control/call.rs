//! What the server asks the daemon: a question, who asks, and where the answer goes.

use std::fs::File;
use std::os::fd::OwnedFd;

use axum::body::{Body, Bytes};
use tokio::sync::{broadcast, oneshot, watch};

use super::api::{
    Creds, Done, DownRequest, Environment, Failed, HoldRequest, Issued, KillRequest, MfaRequest, OwnState, Project,
    ReloadRequest, Reloaded, Service, ServicesRequest, UpRequest,
};
use super::attach::Begun;
use super::peer::Caller;
use crate::sys::pty::Size;

/// One request on its way to the daemon's loop.
pub struct Call {
    pub caller: Caller,
    pub question: Question,
}

pub type Answer<T> = oneshot::Sender<Result<T, Failed>>;

pub enum Question {
    Project(Answer<Project>),
    OwnState(Answer<OwnState>),
    Services(Answer<Vec<Service>>),
    Service(String, Answer<Service>),
    /// One JSON line at a time; a reader that is slow sees only the newest.
    Watch(Answer<watch::Receiver<Bytes>>),
    Events(Answer<EventsFrom>),
    /// A stream of lines, each an entry as JSON.
    Logs(LogsWanted, Answer<Body>),
    Reload(ReloadRequest, Answer<Reloaded>),
    Command(CommandRequest, Answer<Done>),
    Creds(Vec<String>, Answer<Vec<Creds>>),
    /// The credentials themselves, as `credential_process` wants them.
    Credentials(String, Answer<Issued>),
    Mfa(MfaRequest, Answer<Done>),
    Environment {
        service: String,
        reveal: bool,
        /// Not of a run, but of a command that somebody gives beside them.
        command: bool,
        answer: Answer<Environment>,
    },
    /// Is there a terminal to come to, and of which run?
    Terminal(String, Answer<Begun>),
    /// This connection speaks [`super::attach`] now, and is the keeper's. It is closed if the run is over.
    Attach {
        service: String,
        run: u32,
        size: Size,
        connection: OwnedFd,
    },
    /// A caller inside a run asked for what it may not have; worth a line in the journal.
    Intruded {
        wanted: String,
    },
}

/// What changes something.
pub enum CommandRequest {
    Up(UpRequest),
    Start(ServicesRequest),
    Stop(ServicesRequest),
    Restart(ServicesRequest),
    Refresh(ServicesRequest),
    Down(DownRequest),
    KillAll,
    Kill(KillRequest),
    Hold(HoldRequest),
    Release(HoldRequest),
}

impl CommandRequest {
    /// Without the environment it was typed in: only the owner's is ever adopted.
    pub fn forget_environment(&mut self) {
        match self {
            Self::Up(up) => up.environment = None,
            Self::Start(wish) | Self::Stop(wish) | Self::Restart(wish) | Self::Refresh(wish) => wish.environment = None,
            Self::Down(_) | Self::KillAll | Self::Kill(_) | Self::Hold(_) | Self::Release(_) => {}
        }
    }
}

/// Which lines of the services' logs, for those who cannot open the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsWanted {
    /// None: all of the manifest.
    pub services: Vec<String>,
    pub follow: bool,
    /// Only the last so many lines of each.
    pub tail: Option<usize>,
    /// What lines are wanted, in the words of the log store: `since`, `until`, `run`, `stream`, `grep`.
    pub filter: Vec<(String, String)>,
}

impl LogsWanted {
    /// From the parameters of a request. An error is a sentence.
    pub fn of(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (key, value) in pairs {
            let bad = || format!("`{value}` is no value of `{key}`");
            match key.as_str() {
                "service" => wanted.services.push(value),
                "follow" => wanted.follow = value.parse().map_err(|_| bad())?,
                "tail" => wanted.tail = Some(value.parse().map_err(|_| bad())?),
                _ => wanted.filter.push((key, value)),
            }
        }
        Ok(wanted)
    }
}

/// The journal as it is at one instant, and everything after it, without a seam.
pub struct EventsFrom {
    /// Oldest first; each to be read up to this many bytes.
    pub files: Vec<(File, u64)>,
    pub live: broadcast::Receiver<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
        text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_may_be_asked() {
        let all = pairs(&[("service", "a"), ("service", "b"), ("follow", "true"), ("tail", "7"), ("run", "3")]);
        let (services, filter) = (vec!["a".to_owned(), "b".to_owned()], pairs(&[("run", "3")]));
        assert_eq!(LogsWanted::of(all), Ok(LogsWanted { services, follow: true, tail: Some(7), filter }));
        for bad in [("follow", "yes"), ("tail", "-1")] {
            assert!(LogsWanted::of(pairs(&[bad])).is_err(), "{bad:?}");
        }
    }
}
