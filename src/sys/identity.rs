//! Becoming another user: setresuid(2) and all that belongs to it, in the order in which it works.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// To the kernel this number means "as it is": whoever asked for it would stay root.
fn check(uid: u32, gid: u32) -> io::Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is nobody's number"));
    }
    Ok(())
}

/// This process becomes `uid`, for good. An ordinary user keeps no capability that root had.
pub fn assume(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    check(uid, gid)?;
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if !uid.is_root() {
        let none = CapabilitySet::empty();
        // Those that are inherited would else come back with some programs.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    }
    Ok(())
}

/// Gives the pipes on 1 and 2 to this user, who else could write to them but not open `/dev/stdout` and `/dev/stderr`.
pub fn give_output(uid: u32, gid: u32) -> io::Result<()> {
    check(uid, gid)?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    for stream in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode).is_fifo();
        if is_pipe {
            rustix::fs::fchown(stream, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// (uid, gid) of this process, as the kernel checks them.
pub fn own() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}
