//! Who people and groups are, by passwd and group.

use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};

pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The login name, or the number when passwd does not know it.
pub fn name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

pub fn home(uid: u32) -> Option<PathBuf> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.dir)
}

/// Has the group a member other than its one natural owner (the user whose own group it is)?
pub fn group_is_shared(gid: u32) -> bool {
    let Ok(Some(group)) = Group::from_gid(Gid::from_raw(gid)) else { return false };
    let me = name(own_uid());
    group.mem.iter().any(|member| *member != me)
}

/// What tells machines apart that share a home folder.
pub fn machine() -> String {
    std::fs::read_to_string("/etc/machine-id")
        .ok()
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(hostname)
}

pub fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The id of a group that is named or numbered; `None`: there is no such group.
pub fn group_id(group: &str) -> Option<u32> {
    match Group::from_name(group) {
        Ok(Some(found)) => Some(found.gid.as_raw()),
        Ok(None) | Err(_) => group.parse().ok(),
    }
}
