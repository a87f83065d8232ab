//! The tree of a run: all that descend from this keeper, and all that are in the run's cgroup where it has one. The keeper
//! is a subreaper, so nobody gets away by becoming an orphan; and from the cgroup not by anything but root's right to leave
//! it, in which case they still descend from us.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::cgroup::{self, Cgroup};
use crate::sys::process::own_pid;
use crate::sys::{signal, tree};

/// Rounds of looking for processes that were not stopped yet, before the killing; a bound against what forks faster.
const ROUNDS: usize = 64;

/// What the main process is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Main {
    /// It leads the session and group of this number, which nobody else can get before we wait for it.
    Alive(u32),
    Gone,
}

/// A run's cgroup, and its `cgroup.events`.
struct Group {
    cgroup: Cgroup,
    events: File,
}

pub(super) struct Tree {
    group: Option<Group>,
}

impl Tree {
    pub(super) fn new(cgroup: Option<Cgroup>) -> io::Result<Self> {
        let with_events = |cgroup: Cgroup| -> io::Result<Group> { Ok(Group { events: cgroup.events()?, cgroup }) };
        Ok(Self { group: cgroup.map(with_events).transpose()? })
    }

    /// For the shim to enter.
    pub(super) fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.group.as_ref().map(|group| group.cgroup.as_fd())
    }

    /// To be waited for by `For::Changes`: the cgroup was filled or emptied since [`Tree::is_empty`] was asked.
    pub(super) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.group.as_ref().map(|group| group.events.as_fd())
    }

    fn in_group(&self) -> Vec<u32> {
        self.group.as_ref().map(|group| group.cgroup.processes()).unwrap_or_default()
    }

    /// Everybody, `except` and its descendants left out.
    fn members(&self, except: &[u32]) -> BTreeSet<u32> {
        tree::descendants(own_pid(), except).into_iter().chain(self.in_group()).collect()
    }

    /// One signal, once, to each process of the tree: in one call to the main process's group, and to each that left it.
    /// `except` is a command of ours that is not part of the tree.
    pub(super) fn signal_all(&self, main: Main, except: &[u32], signal: i32) {
        let mut left = self.members(except);
        if let Main::Alive(leader) = main {
            // Fails only when the group is empty.
            drop(signal::send_group(leader, signal));
            left.retain(|pid| tree::look(*pid).is_some_and(|process| process.group != leader));
        }
        for pid in left {
            // It may have ended meanwhile.
            drop(signal::send(pid, signal));
        }
    }

    /// SIGKILL to everybody. To be repeated until nobody is left.
    pub(super) fn kill_all(&self, main: Main) {
        if let Some(group) = &self.group {
            // What it does not reach, because it is gone or may not be written to any more, the walk does.
            drop(group.cgroup.kill());
        }
        if let Main::Alive(leader) = main {
            drop(signal::send_group(leader, signal::KILL));
        }
        // Stopped, nobody forks any more while we count.
        let mut seen = BTreeSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<u32> = tree::descendants(own_pid(), &[]).into_iter().filter(|pid| seen.insert(*pid)).collect();
            for pid in &new {
                drop(signal::send(*pid, signal::STOP));
            }
            if new.is_empty() {
                break;
            }
        }
        for pid in seen {
            drop(signal::send(pid, signal::KILL));
        }
    }

    /// Is anybody there who can still be told something?
    pub(super) fn has_members(&self, except: &[u32]) -> bool {
        has_children(except) || !self.in_group().is_empty()
    }

    /// Is nobody left but `except`? The kernel counts who leaves a cgroup a moment after their end was to be waited for;
    /// [`Tree::changes`] tells when.
    pub(super) fn is_empty(&self, except: &[u32]) -> bool {
        // Asked in any case: it is what makes the next change news.
        let populated = self.group.as_ref().is_some_and(|group| cgroup::is_populated(&group.events));
        !populated && !has_children(except)
    }

    /// `` pid 812 (`node`, state D) ``
    pub(super) fn survivors(&self) -> Vec<String> {
        let name = |pid| {
            let process = tree::look(pid).filter(|process| !process.is_zombie())?;
            Some(format!("pid {pid} (`{}`, state {})", process.comm, process.state))
        };
        self.members(&[]).into_iter().filter_map(name).collect()
    }
}

fn has_children(except: &[u32]) -> bool {
    tree::children(own_pid()).into_iter().any(|child| !except.contains(&child))
}

/// SIGKILL to one child of ours and all below it.
pub(super) fn kill_below(pid: u32) {
    let mut all = tree::descendants(pid, &[]);
    all.push(pid);
    for signal in [signal::STOP, signal::KILL] {
        for pid in &all {
            drop(signal::send(*pid, signal));
        }
    }
}

/// SIGKILL to the children of ours that are in a session which another of them began, and has ended: its orphans.
pub(super) fn kill_session(session: u32) {
    let children = tree::children(own_pid()).into_iter();
    for pid in children.filter(|pid| tree::look(*pid).is_some_and(|process| process.session == session)) {
        kill_below(pid);
    }
}

/// `gdb (pid 812)`
pub(super) fn debugger(except: &[u32]) -> Option<String> {
    let own: BTreeSet<u32> = tree::descendants(own_pid(), except).into_iter().collect();
    // A service that traces its own children (strace as a wrapper) is no debugger that came from outside.
    let tracer = own.iter().filter_map(|pid| tree::tracer(*pid)).find(|tracer| !own.contains(tracer))?;
    let comm = tree::look(tracer).map_or_else(|| "a debugger".to_owned(), |process| process.comm);
    Some(format!("{comm} (pid {tracer})"))
}
