//! Signals to all that descend from this keeper. It is their subreaper, so nobody gets away by becoming an orphan.

use std::collections::BTreeSet;

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

/// One signal, once, to each process of the tree: in one call to the main process's group, and to each that left it.
/// `except` are commands of ours that are not part of the tree.
pub(super) fn signal_all(main: Main, except: &[u32], signal: i32) {
    let mut left = tree::descendants_but(own_pid(), except);
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

/// SIGKILL to everything below us. To be repeated until nothing is left.
pub(super) fn kill_all(main: Main) {
    if let Main::Alive(leader) = main {
        drop(signal::send_group(leader, signal::KILL));
    }
    // Stopped, nobody forks any more while we count.
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let new: Vec<u32> = tree::descendants(own_pid(), None).into_iter().filter(|pid| seen.insert(*pid)).collect();
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

/// SIGKILL to one child of ours and all below it.
pub(super) fn kill_below(pid: u32) {
    let mut all = tree::descendants(pid, None);
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

/// Is anybody left but `except`?
pub(super) fn is_empty(except: &[u32]) -> bool {
    tree::children(own_pid()).into_iter().all(|child| except.contains(&child))
}

/// `` pid 812 (`node`, state D) ``
pub(super) fn survivors() -> Vec<String> {
    let name = |pid| {
        let process = tree::look(pid)?;
        (process.state != 'Z').then(|| format!("pid {pid} (`{}`, state {})", process.comm, process.state))
    };
    tree::descendants(own_pid(), None).into_iter().filter_map(name).collect()
}

/// `gdb (pid 812)`
pub(super) fn debugger(except: &[u32]) -> Option<String> {
    let own: BTreeSet<u32> = tree::descendants_but(own_pid(), except).into_iter().collect();
    // A service that traces its own children (strace as a wrapper) is no debugger that came from outside.
    let tracer = own.iter().filter_map(|pid| tree::tracer(*pid)).find(|tracer| !own.contains(tracer))?;
    let comm = tree::look(tracer).map_or_else(|| "a debugger".to_owned(), |process| process.comm);
    Some(format!("{comm} (pid {tracer})"))
}
