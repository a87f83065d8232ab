//! May other people write to what we are about to obey? A manifest names commands that run with production roles, so
//! whoever can change it, or a folder on the way to it, can run as them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Is a file that others may write to refused?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Strict,
    /// `--insecure-manifest`: said, and gone on with.
    Insecure,
}

const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHER_WRITE: u32 = 0o002;

/// Something on the way that others may write to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Open {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) who: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Everybody,
    /// The members of this group, of whom there are others.
    Group(u32),
}

/// Checks `file` and every folder above it; `file` is absolute. A path that cannot be looked at is somebody else's error.
pub(super) fn check(file: &Path, group_is_shared: &dyn Fn(u32) -> bool) -> Vec<Open> {
    let mut open = Vec::new();
    for (depth, path) in file.ancestors().enumerate() {
        let Ok(metadata) = std::fs::metadata(path) else { continue };
        let mode = metadata.mode() & 0o7777;
        // In a sticky folder such as /tmp nobody can replace what is another's.
        let sticky = depth > 0 && mode & STICKY != 0;
        let who = if sticky {
            None
        } else if mode & OTHER_WRITE != 0 {
            Some(Who::Everybody)
        } else if mode & GROUP_WRITE != 0 && group_is_shared(metadata.gid()) {
            Some(Who::Group(metadata.gid()))
        } else {
            None
        };
        if let Some(who) = who {
            open.push(Open { path: path.to_owned(), mode, who });
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).expect("own file");
    }

    #[test]
    fn sees_what_others_may_write() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("shop");
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("services.toml");
        std::fs::write(&file, "").expect("a file");
        let found = |shared: bool| -> Vec<(PathBuf, Who)> {
            let within = |open: &Open| open.path.starts_with(&folder);
            check(&file, &|_| shared).into_iter().filter(within).map(|open| (open.path, open.who)).collect()
        };
        let gid = std::fs::metadata(&file).expect("metadata").gid();
        mode(&folder, 0o755);
        mode(&file, 0o644);
        assert_eq!(found(true), []);
        mode(&file, 0o664);
        assert_eq!(found(false), [], "a private group has no other member");
        assert_eq!(found(true), [(file.clone(), Who::Group(gid))]);
        mode(&file, 0o646);
        assert_eq!(found(false), [(file.clone(), Who::Everybody)]);
        mode(&file, 0o600);
        mode(&folder, 0o777);
        assert_eq!(found(false), [(folder.clone(), Who::Everybody)]);
        mode(&folder, 0o1777);
        assert_eq!(found(false), [], "sticky");
        mode(&folder, 0o755);
    }
}
