//! What is left when a keeper was killed, and what is left of a devsup that was killed with all its keepers.

use crate::manifest::Name;
use crate::supervisor::RunId;
use crate::sys::process::{self, Pidfd, Waited};
use crate::sys::{signal, tree};

/// A process that was ended because its keeper is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub pid: u32,
    pub comm: String,
}

/// After a keeper was killed its orphans are the daemon's children (it is a subreaper): all that are no keeper and not of
/// the daemon's own session (those are the SDK's helpers) are killed and waited for, by pid.
///
/// Answers who was found alive and was killed now. Call it again at the next SIGCHLD, until it answers nobody: those
/// killed have then ended and were waited for, and their children, which come to us only then, too. Who does not die at
/// once (state D) is answered each time.
pub fn sweep_strays(keepers: &[u32]) -> Vec<Stray> {
    const ROUNDS: usize = 64;
    let session = tree::look(process::own_pid()).map(|own| own.session);
    let mut found: Vec<Stray> = Vec::new();
    for _ in 0..ROUNDS {
        let strays = living_strays(keepers, session);
        // Stopped first, all of them, so that none forks while the others are killed.
        for signal in [signal::STOP, signal::KILL] {
            for stray in &strays {
                for pid in tree::descendants(stray.pid, &[]).into_iter().chain([stray.pid]) {
                    drop(signal::send(pid, signal));
                }
            }
        }
        let new = strays.into_iter().filter(|stray| !found.contains(stray));
        let new: Vec<Stray> = new.collect();
        if new.is_empty() {
            break;
        }
        found.extend(new);
    }
    found
}

/// Waits for those that have ended.
fn living_strays(keepers: &[u32], session: Option<u32>) -> Vec<Stray> {
    tree::children(process::own_pid())
        .into_iter()
        .filter(|pid| !keepers.contains(pid))
        .filter_map(tree::look)
        .filter(|process| Some(process.session) != session)
        .filter(|process| process::wait(Some(process.pid)) == Waited::Alive)
        .map(|process| Stray { pid: process.pid, comm: process.comm })
        .collect()
}

/// A process that carries the mark of a run of this project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub pid: u32,
    pub run: RunId,
    pub comm: String,
    /// The keeper it descends from, if one lives: then it is being looked after.
    pub keeper: Option<u32>,
}

const MARK: &str = "DEVSUP_RUN";

/// All processes of this user, or root's of all users (a service may have one of its own), whose environment holds
/// `DEVSUP_RUN=<project>/<service>#<n>`. Those without a keeper are leftovers of an earlier devsup.
pub fn find_marked(project: &str) -> Vec<Marked> {
    let uid = process::own_uid();
    let marked = |pid: u32| {
        let run = run_of(&tree::environment(pid, MARK)?, project)?;
        let seen = tree::look(pid)?;
        (seen.state != 'Z').then(|| Marked { pid, run, comm: seen.comm, keeper: keeper_of(pid) })
    };
    let own = process::own_pid();
    let may_be = |pid: &u32| *pid != own && (uid == 0 || tree::owner(*pid) == Some(uid));
    tree::all().into_iter().filter(may_be).filter_map(marked).collect()
}

fn run_of(mark: &str, project: &str) -> Option<RunId> {
    let (service, number) = mark.strip_prefix(project)?.strip_prefix('/')?.rsplit_once('#')?;
    Some(RunId { service: Name::new(service), number: number.parse().ok()? })
}

/// The keeper of ours that a process descends from, if one lives: anybody may give a process that name.
pub fn keeper_of(pid: u32) -> Option<u32> {
    let uid = process::own_uid();
    let mut at = tree::look(pid)?;
    while at.parent > 1 {
        at = tree::look(at.parent)?;
        if at.comm.starts_with("keep:") && tree::owner(at.pid) == Some(uid) {
            return Some(at.pid);
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// SIGTERM, then SIGCONT.
    Politely,
    /// SIGKILL.
    Kill,
}

/// Sends the signal to each of these that still is what it was found as, and answers who is still there. Does not wait:
/// politely first, again with force when the grace is over, until nobody is left.
pub fn end_marked(marked: &[Marked], project: &str, force: Force) -> Vec<Marked> {
    let signals: &[i32] = match force {
        Force::Politely => &[signal::TERM, signal::CONT],
        Force::Kill => &[signal::KILL],
    };
    let mut left = Vec::new();
    for old in marked {
        // The handle is taken before the mark is read again, so the number cannot have passed to another meanwhile.
        let Ok(pidfd) = Pidfd::open(old.pid) else { continue };
        let mark = tree::environment(old.pid, MARK);
        if mark.and_then(|mark| run_of(&mark, project)).as_ref() != Some(&old.run) {
            continue;
        }
        for signal in signals {
            drop(pidfd.signal(*signal));
        }
        left.push(old.clone());
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_project_and_run() {
        let run = RunId { service: Name::new("a"), number: 7 };
        assert_eq!(run_of("shop-1f/a#7", "shop-1f"), Some(run));
        for other in ["shop-1f2/a#7", "shop/a#7", "shop-1f/a", "shop-1f/a#", "shop-1f/a#x"] {
            assert_eq!(run_of(other, "shop-1f"), None, "{other}");
        }
    }
}
