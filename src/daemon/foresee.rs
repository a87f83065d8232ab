//! What `up` would find on this machine, looked at without touching anything. For `doctor`, which asks no daemon.

use super::leftovers::hidden_daemon;
use super::{birth, cgroups};
use crate::aws::Login;
use crate::control::paths::Folder;
use crate::keeper::find_marked;
use crate::keeper::protocol::Identity;
use crate::manifest::Service;
use crate::sys::tree;

pub use super::cgroups::Outlook;

/// Whom a run would be: `None` is who devsup is; with `user`, whose home it has. An error is one sentence with its mend.
pub fn who(service: &Service) -> Result<(Option<Identity>, Option<Login>), String> {
    birth::who(service).map(|who| (who.identity, who.login))
}

/// A process of an earlier devsup of this project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub service: String,
    pub run: u32,
    pub pid: u32,
    pub comm: String,
    /// Its keeper lives, and is about to end it.
    pub kept: bool,
}

/// What an earlier devsup left. Of a project that is up, this is its own runs: do not ask.
pub fn leftovers(project: &Folder) -> Vec<Leftover> {
    let marked = find_marked(project.id()).into_iter().map(|marked| Leftover {
        service: marked.run.service.to_string(),
        run: marked.run.number,
        pid: marked.pid,
        comm: marked.comm,
        kept: marked.keeper.is_some(),
    });
    let mut all: Vec<Leftover> = marked.collect();
    for orphans in cgroups::orphans(project) {
        for pid in orphans.pids {
            if !all.iter().any(|known| known.pid == pid) {
                let comm = tree::look(pid).map_or_else(|| "a process".to_owned(), |process| process.comm);
                let (service, run) = (orphans.run.service.to_string(), orphans.run.number);
                all.push(Leftover { service, run, pid, comm, kept: false });
            }
        }
    }
    all
}

/// A daemon of this very project that keeps its state elsewhere.
pub fn another_daemon(project: &Folder) -> Option<u32> {
    hidden_daemon(project.id())
}
