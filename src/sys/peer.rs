//! Who is at the other end of a unix socket, and which processes they descend from.

use std::io;
use std::os::fd::BorrowedFd;

use super::tree::look;

/// (pid, uid) of the process that connected.
pub fn credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok((peer.pid.as_raw_nonzero().get().unsigned_abs(), peer.uid.as_raw()))
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
    fn who_is_gone_has_no_ancestry() {
        assert_eq!(ancestry(u32::MAX), None);
    }
}
