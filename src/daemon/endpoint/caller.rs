//! Who calls: is the process at the other end one of the service's own?
//!
//! Its socket must be of the service's user; made in the cgroup of a run, where there is one and the kernel tells; and held by a
//! process that descends from the run's keeper. The cgroup alone would not do: a user may move a process of theirs into a group
//! of theirs. Descent cannot be had by asking for it. A process that hides its descriptors (a setuid program, one that made
//! itself undumpable) is believed its cgroup, and refused where there is none.

use crate::manifest::Name;
use crate::sys::inet_diag::Client;
use crate::sys::peer::ancestry;
use crate::sys::sockets::{Holds, holds};
use crate::sys::{process, tree};

use super::table::Tree;
use crate::control::peer::Keepers;

/// Where a kernel of before 5.15 puts sockets when it was told to tell them apart in another way.
const TOP_GROUP: u64 = 1;
/// A descriptor may be handed on while we look.
const LOOKS: usize = 2;

/// Why somebody with the right token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::daemon) enum Why {
    OtherUser,
    OutsideOfTree,
    NotRunning,
}

/// A run that it may be of: it has the run's user, and no other cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) run: u32,
    pub(super) keeper: u32,
    pub(super) asked: Option<u32>,
    in_group: bool,
}

/// What the socket itself tells.
pub(super) fn candidates(trees: &[Tree], client: Client) -> Result<Vec<Candidate>, Why> {
    if trees.is_empty() {
        return Err(Why::NotRunning);
    }
    let mut of_user = trees.iter().filter(|tree| tree.uid == client.uid).peekable();
    if of_user.peek().is_none() {
        return Err(Why::OtherUser);
    }
    let found: Vec<Candidate> = of_user.filter_map(|tree| candidate(tree, client)).collect();
    if found.is_empty() { Err(Why::OutsideOfTree) } else { Ok(found) }
}

fn candidate(tree: &Tree, client: Client) -> Option<Candidate> {
    let told = client.cgroup.filter(|group| *group != TOP_GROUP);
    let in_group = match (tree.group_id, told) {
        (Some(own), Some(told)) => {
            // A service may make groups in its own.
            let inner = || tree.group.as_ref().is_some_and(|group| group.ids_within().contains(&told));
            if own != told && !inner() {
                return None;
            }
            true
        }
        // A run without a group cannot be told by it.
        (None, _) | (_, None) => false,
    };
    Some(Candidate { run: tree.run, keeper: tree.keeper, asked: tree.asked, in_group })
}

/// Does the one who asked the last time hold this socket, and is it still of the tree?
pub(super) fn asks_again(candidate: &Candidate, inode: u64) -> Option<u32> {
    let pid = candidate.asked?;
    let below = || ancestry(pid).is_some_and(|chain| chain[1..].contains(&candidate.keeper));
    (holds(pid, &[inode]) == Holds::Yes && below()).then_some(pid)
}

/// Looks through the trees: the run, and the process if it shows. May take milliseconds.
pub(super) fn find(candidates: &[Candidate], inode: u64) -> Option<(u32, Option<u32>)> {
    for _ in 0..LOOKS {
        for candidate in candidates {
            let mut hidden = false;
            for pid in tree::descendants(candidate.keeper, &[]) {
                match holds(pid, &[inode]) {
                    Holds::Yes => return Some((candidate.run, Some(pid))),
                    Holds::Unknown => hidden = true,
                    Holds::No => {}
                }
            }
            if hidden && candidate.in_group {
                return Some((candidate.run, None));
            }
        }
    }
    None
}

/// A process that showed a token of another's, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Culprit {
    pub(in crate::daemon) pid: u32,
    pub(in crate::daemon) comm: String,
    /// Whose keeper it is below.
    pub(in crate::daemon) service: Option<Name>,
}

/// Looks through all processes. May take milliseconds.
pub(super) fn culprit(inode: u64, keepers: &Keepers) -> Option<Culprit> {
    let own = process::own_pid();
    let pid = tree::all().into_iter().find(|pid| *pid != own && holds(*pid, &[inode]) == Holds::Yes)?;
    let comm = tree::look(pid)?.comm;
    let service = ancestry(pid).and_then(|chain| chain.iter().find_map(|above| keepers.service_of(*above)));
    Some(Culprit { pid, comm, service })
}
