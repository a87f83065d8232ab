//! What passwd and group know (through the system's own lookup, so LDAP and the like too) of a name or a number.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user as passwd knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
    pub shell: PathBuf,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        Self { name: user.name, uid, gid, home: user.dir, shell: user.shell }
    }
}

pub fn by_name(name: &str) -> io::Result<Option<Account>> {
    Ok(User::from_name(name)?.map(Account::from))
}

pub fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    Ok(User::from_uid(Uid::from_raw(uid))?.map(Account::from))
}

/// The number of a group.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// All groups of a user, `gid` included.
pub fn groups(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    Ok(getgrouplist(&name, Gid::from_raw(gid))?.into_iter().map(Gid::as_raw).collect())
}

/// The users of this machine's own file: to guess who was meant, no more.
pub fn user_names() -> Vec<String> {
    names("/etc/passwd")
}

pub fn group_names() -> Vec<String> {
    names("/etc/group")
}

fn names(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.to_owned());
    text.lines().filter(|line| !line.starts_with(['#', '+', '-'])).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_number() {
        let root = by_uid(0).expect("a lookup").expect("root");
        assert_eq!(by_name(&root.name).expect("a lookup"), Some(root.clone()));
        assert!(groups(&root.name, root.gid).expect("a lookup").contains(&root.gid));
        assert_eq!(by_name("no-such-user-of-a-test").expect("a lookup"), None);
        assert_eq!(group("no-such-group-of-a-test").expect("a lookup"), None);
    }
}
