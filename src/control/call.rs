//! What the server asks the daemon: a question, who asks, and where the answer goes.

use std::fs::File;
use std::os::fd::OwnedFd;

use axum::body::Bytes;
use tokio::sync::{broadcast, oneshot, watch};

use super::api::{
    Creds, Done, DownRequest, Environment, Failed, HoldRequest, KillRequest, OwnState, Project, Service,
    ServicesRequest, UpRequest,
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
    Command(CommandRequest, Answer<Done>),
    Creds(Vec<String>, Answer<Vec<Creds>>),
    Environment {
        service: String,
        reveal: bool,
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

/// The journal as it is at one instant, and everything after it, without a seam.
pub struct EventsFrom {
    /// Oldest first; each to be read up to this many bytes.
    pub files: Vec<(File, u64)>,
    pub live: broadcast::Receiver<Bytes>,
}
