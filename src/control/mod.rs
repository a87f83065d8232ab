//! The control socket: HTTP/1.1 with JSON over a unix socket. [`api`] are the shapes both sides speak, [`server`] is the
//! daemon's side, [`Client`] and [`launch()`] are the command line's, [`paths`] says where a project's folder is.
//!
//! The server decides nothing: it finds out who calls ([`peer`]), refuses what that caller may not ask, and hands the
//! rest to the daemon as a [`Call`] with a place for the answer. Nothing here may block the daemon: every body, buffer
//! and stream is bounded, and a client that does not read is skipped to the newest or dropped.

pub mod api;
pub mod attach;
mod call;
mod client;
pub mod convert;
mod launch;
mod os_text;
pub mod paths;
pub mod peer;
pub mod server;
pub mod system;

pub use call::{Answer, Call, CommandRequest, EventsFrom, LogsWanted, Question};
pub use client::{Attachment, Client, Lines};
pub use launch::{Answered, Launched, Start, become_system, launch};

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::control::api::{Failed, FailedKind};
use crate::sys::users;

impl Failed {
    pub fn new(kind: FailedKind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into(), causes: Vec::new(), hints: Vec::new() }
    }

    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// A project, for `ls` and for finding the one a command means.
#[derive(Clone, Debug)]
pub struct Found {
    pub id: String,
    pub name: String,
    pub folder: PathBuf,
    pub logs: PathBuf,
    pub socket: PathBuf,
    pub manifest: PathBuf,
    /// `None`: not up.
    pub pid: Option<u32>,
    pub sandbox: bool,
    /// Of the devsup that keeps it, or kept it last.
    pub version: String,
    pub kind: Kind,
    pub owner: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Personal,
    System,
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// This user's projects on this machine, up or not. Empty too when there is no state folder.
pub fn list() -> Vec<Found> {
    let Ok(root) = paths::root(&environment) else { return Vec::new() };
    let named = paths::list(&root).into_iter().filter_map(|found| found.info.clone().map(|info| (found, info)));
    named
        .map(|(found, info)| Found {
            id: found.folder.id().to_owned(),
            name: info.name,
            folder: found.folder.path(),
            logs: found.folder.logs(),
            socket: info.socket,
            manifest: info.manifest,
            pid: found.running.then_some(info.pid),
            sandbox: info.sandbox,
            version: info.version,
            kind: Kind::Personal,
            owner: users::own_uid(),
        })
        .collect()
}

/// The system projects that are up on this machine, whoever's they are.
pub fn list_system() -> Vec<Found> {
    let all = system::list(&environment).into_iter();
    all.filter_map(|system::Published { info, owner }| {
        let folders = info.shared?;
        Some(Found {
            id: format!("{}@system", info.name),
            name: info.name,
            folder: folders.state,
            logs: folders.logs,
            socket: info.socket,
            manifest: info.manifest,
            pid: Some(info.pid),
            sandbox: info.sandbox,
            version: info.version,
            kind: Kind::System,
            owner,
        })
    })
    .collect()
}

/// Whose socket this is, by what its daemon wrote beside it.
pub struct Whose {
    pub name: String,
    pub manifest: PathBuf,
    pub up: bool,
}

/// Of a system project that is not up nothing is there to be read.
pub fn project_of(socket: &Path) -> std::io::Result<Whose> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let text = std::fs::read(folder.join("lock")).or_else(|_| std::fs::read(folder.join("project.json")))?;
    let info: paths::LockInfo = serde_json::from_slice(&text)?;
    Ok(Whose { up: info.alive(), name: info.name, manifest: info.manifest })
}

/// Where the project's files are; it may not exist.
pub fn state_folder(id: &str) -> PathBuf {
    paths::root(&environment).map(|root| root.join(id)).unwrap_or_default()
}
