//! Who is at the other end of a unix socket, and which processes they descend from.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use super::tree::look;

/// (pid, uid) of the process that connected.
pub fn credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok((peer.pid.as_raw_nonzero().get().unsigned_abs(), peer.uid.as_raw()))
}

/// The groups of a process, as the kernel would judge a file by them. `None`: it is gone, may not be looked at, or is not
/// wholly of this user: one that is becoming somebody else (a setuid program) is judged as neither.
///
/// Of the process and not of the user database: who has dropped a group, or was never given it at login, is not in it; and
/// nobody without CAP_SETGID can add to it. The effective group is left out, which any setgid program would lend.
pub fn groups(pid: u32, uid: u32) -> Option<Vec<u32>> {
    groups_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, uid)
}

fn groups_in(status: &str, uid: u32) -> Option<Vec<u32>> {
    let numbers = |field: &str| -> Option<Vec<u32>> {
        let rest = status.lines().find_map(|line| line.strip_prefix(field))?;
        rest.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
    };
    if numbers("Uid:")?.iter().any(|one| *one != uid) {
        return None;
    }
    let mut groups = numbers("Groups:")?;
    groups.extend(numbers("Gid:")?.first());
    Some(groups)
}

/// Has it made itself unreadable for its own user (`PR_SET_DUMPABLE`)? Then its files in /proc are root's. Of root's own
/// processes nobody can tell: they count as such.
pub fn hidden(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = uids.and_then(|uids| uids.split_ascii_whitespace().nth(1)?.parse::<u32>().ok());
    // The folder itself is always its user's; what is in it is root's then.
    let files = fs::metadata(format!("/proc/{pid}/stat")).map(|about| about.uid()).ok();
    effective == Some(0) || files != effective
}

/// The process and all it descends from, nearest first. `None`: one of them ended meanwhile, so nobody knows.
///
/// Each link is read by itself, and who is orphaned in between is seen with a parent that is gone or, worse, whose number
/// another process has: so the chain counts only when it reaches the top and a second look finds the same.
pub fn ancestry(pid: u32) -> Option<Vec<u32>> {
    const LOOKS: usize = 64;
    let mut before = None;
    for _ in 0..LOOKS {
        let found = look_up(pid);
        if found.is_some() && found == before {
            return found;
        }
        before = found;
    }
    None
}

/// One look; `None` when a link was gone before the top was reached.
fn look_up(pid: u32) -> Option<Vec<u32>> {
    // A chain cannot be longer than this: whoever finds one reads a tree that changes under it.
    const LONGEST: usize = 4096;
    let mut chain = vec![pid];
    loop {
        match look(*chain.last()?)?.parent {
            0 => return Some(chain),
            above if chain.len() < LONGEST && !chain.contains(&above) => chain.push(above),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_ancestry_begins_with_us_and_our_parent() {
        let me = std::process::id();
        let chain = ancestry(me).expect("nobody above us ends");
        assert_eq!(chain[0], me);
        let parent = |pid| look(pid).map(|process| process.parent);
        assert_eq!(chain.get(1).copied(), parent(me).filter(|above| *above != 0));
        assert_eq!(chain.last().copied().and_then(parent), Some(0), "it reaches the top");
    }

    #[test]
    fn groups_are_those_of_a_process_that_is_wholly_its_users() {
        let status = |uids: &str| format!("Name:\tx\nUid:\t{uids}\nGid:\t100\t7\t7\t7\nGroups:\t4 27 \n");
        assert_eq!(groups_in(&status("5\t5\t5\t5"), 5), Some(vec![4, 27, 100]), "7 is lent by a setgid program");
        assert_eq!(groups_in(&status("5\t0\t0\t0"), 5), None, "it is becoming root");
        assert_eq!(groups_in(&status("6\t6\t6\t6"), 5), None, "the number has passed to another");
        let me = crate::sys::users::own_uid();
        assert!(groups(std::process::id(), me).is_some());
    }

    #[test]
    fn who_is_gone_has_no_ancestry() {
        assert_eq!(ancestry(u32::MAX), None);
    }
}
