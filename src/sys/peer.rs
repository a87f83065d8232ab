//! Who is at the other end of a unix socket, and which processes they descend from.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// (pid, uid) of the process that connected.
pub fn credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok((peer.pid.as_raw_nonzero().get().unsigned_abs(), peer.uid.as_raw()))
}

/// A process that cannot be mistaken for another once it is open.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::NONBLOCK)?))
    }

    /// Has it not ended yet? A zombie has.
    pub fn alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::KILL)?)
    }

    /// Wakes a process that was stopped (SIGSTOP).
    pub fn resume(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, Signal::CONT)?)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The fields of `/proc/PID/stat` after the command's name (which may hold anything, parentheses too).
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let rest = &stat[stat.rfind(')')? + 1..];
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

pub fn parent(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// Clock ticks since boot: with the pid it names a process for good.
pub fn start_time(pid: u32) -> Option<u64> {
    fields(pid)?.get(19)?.parse().ok()
}

/// `R`, `S`, `D`, `T`, `Z` …
pub fn state(pid: u32) -> Option<char> {
    fields(pid)?.first()?.chars().next()
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
        match parent(*chain.last()?)? {
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
        assert_eq!(chain.get(1).copied(), parent(me).filter(|above| *above != 0));
        assert_eq!(chain.last().copied().and_then(parent), Some(0), "it reaches the top");
    }

    #[test]
    fn who_is_gone_has_no_ancestry() {
        assert_eq!(ancestry(u32::MAX), None);
    }

    #[test]
    fn we_are_alive_and_have_a_start_time() {
        assert!(Pidfd::open(std::process::id()).expect("opens").alive());
        assert!(start_time(std::process::id()).is_some());
    }
}
