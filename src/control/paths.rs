//! Where a project lives on disk: its id, its private state folder, and what is in it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::system::SystemFolders;
use crate::sys::{files, tree, users};

/// `sun_path` less its closing NUL.
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// Content of the `lock` file: who the daemon is and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    pub pid: u32,
    /// Clock ticks since boot: with the pid it names the process for good.
    pub start_time: u64,
    pub socket: PathBuf,
    pub version: String,
    pub name: String,
    pub manifest: PathBuf,
    pub sandbox: bool,
    /// Of a system project: where it is kept, for those who have no other way to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SystemFolders>,
}

impl LockInfo {
    /// Is the daemon that wrote this still there?
    pub fn alive(&self) -> bool {
        tree::look(self.pid).is_some_and(|process| process.start_time == self.start_time && !process.is_zombie())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("neither XDG_STATE_HOME nor HOME is set, and passwd has no home folder for uid {0}")]
    NoHome(u32),
    #[error("state folder `{path}`: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("state folder `{path}` belongs to uid {owner}, not to you (uid {me})")]
    Foreign { path: PathBuf, owner: u32, me: u32 },
    #[error("state folder `{path}` may be entered by others (mode {mode:o}): chmod 700 it")]
    Open { path: PathBuf, mode: u32 },
    #[error("state folder `{path}` is not a folder")]
    NotFolder { path: PathBuf },
    #[error("socket path `{path}` is too long: the kernel takes {SOCKET_PATH_MAX} bytes")]
    LongSocket { path: PathBuf },
}

/// `${XDG_STATE_HOME:-~/.local/state}/devsup`; `env` looks a variable up.
pub fn root(env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, StateError> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let uid = users::own_uid();
    let base = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| users::home(uid).map(|home| home.join(".local/state")))
        .ok_or(StateError::NoHome(uid))?;
    Ok(base.join("devsup"))
}

/// Twelve hex digits of machine, user and the manifest's real path: the part of the id that a new `name` does not change.
pub fn hash(manifest: &Path) -> String {
    salted("", manifest)
}

fn salted(salt: &str, manifest: &Path) -> String {
    let mut sum = Sha256::new();
    sum.update(users::machine().as_bytes());
    sum.update([0]);
    sum.update(users::own_uid().to_le_bytes());
    sum.update(manifest.as_os_str().as_bytes());
    sum.update(salt.as_bytes());
    sum.finalize().iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// One project's state folder. Making one touches nothing on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
    id: String,
    /// `Some`: of a system project, and `root` is of no use.
    system: Option<SystemFolders>,
}

impl Folder {
    /// The folder this manifest has already (whatever its name was then), else the one it will get.
    pub fn of(root: &Path, name: &str, manifest: &Path) -> Self {
        let hash = hash(manifest);
        Self::existing(root, manifest).unwrap_or_else(|| Self::in_root(root, format!("{name}-{hash}")))
    }

    /// The folder of a manifest that was up before; needs no readable manifest.
    pub fn existing(root: &Path, manifest: &Path) -> Option<Self> {
        let tail = format!("-{}", hash(manifest));
        ids(root).into_iter().find(|id| id.ends_with(&tail)).map(|id| Self::in_root(root, id))
    }

    fn in_root(root: &Path, id: String) -> Self {
        Self { root: root.into(), id, system: None }
    }

    /// Of a system project. Its id is not that of the same user's personal project of the same manifest.
    pub fn of_system(folders: SystemFolders, name: &str, manifest: &Path) -> Self {
        let id = format!("{name}-{}", salted("system", manifest));
        Self { root: PathBuf::new(), id, system: Some(folders) }
    }

    pub fn system(&self) -> Option<&SystemFolders> {
        self.system.as_ref()
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn path(&self) -> PathBuf {
        self.system.as_ref().map_or_else(|| self.root.join(&self.id), |system| system.state.clone())
    }

    pub fn lock(&self) -> PathBuf {
        self.path().join("lock")
    }

    pub fn daemon_log(&self) -> PathBuf {
        self.path().join("daemon.log")
    }

    pub fn events(&self) -> PathBuf {
        self.path().join("events.jsonl")
    }

    /// The numbers of its `auto` ports.
    pub fn ports(&self) -> PathBuf {
        self.path().join("ports.json")
    }

    pub fn logs(&self) -> PathBuf {
        self.system.as_ref().map_or_else(|| self.path().join("logs"), |system| system.logs.clone())
    }

    pub fn service_logs(&self, service: &str) -> PathBuf {
        self.logs().join(service)
    }

    pub fn service_lock(&self, service: &str) -> PathBuf {
        self.path().join("services").join(format!("{service}.lock"))
    }

    /// Makes what is missing, 0700, and refuses what is not ours alone.
    pub fn prepare(&self) -> Result<(), StateError> {
        if let Some(system) = &self.system {
            system.prepare()?;
            return private_folder(&self.path().join("services"));
        }
        private_folder(&self.root)?;
        private_folder(&self.path())?;
        private_folder(&self.logs())?;
        private_folder(&self.path().join("services"))
    }

    /// Whether [`Folder::prepare`] would do, touching nothing: what is there is ours alone, and what is not can be made.
    pub fn examine(&self) -> Result<(), StateError> {
        let personal = [self.root.clone(), self.path(), self.logs(), self.path().join("services")];
        // Those of a system project are its unit's affair.
        for folder in personal.iter().filter(|_| self.system.is_none()).filter(|folder| folder.exists()) {
            check_private(folder)?;
        }
        for folder in [self.path(), self.logs()] {
            let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
            let io = |error| StateError::Io { path: there.into(), error };
            files::may_write_in(there).map_err(io)?;
        }
        Ok(())
    }

    /// What the daemon wrote, if it is still alive.
    pub fn running(&self) -> Option<LockInfo> {
        self.last().filter(LockInfo::alive)
    }

    /// What the last daemon wrote.
    pub fn last(&self) -> Option<LockInfo> {
        serde_json::from_str(&fs::read_to_string(self.lock()).ok()?).ok()
    }

    /// Where the socket goes: in the folder, or, when that path is too long for the kernel, in a private folder elsewhere.
    pub fn socket(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, StateError> {
        if let Some(system) = &self.system {
            return system.socket();
        }
        let inside = self.path().join("control.sock");
        if inside.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(inside);
        }
        let tail = &self.id[self.id.len().saturating_sub(12)..];
        let runtime = env("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
        let shared = PathBuf::from("/tmp");
        let folder = runtime
            .map(|base| base.join(format!("devsup-{tail}")))
            .filter(|folder| folder.as_os_str().len() + "/control.sock".len() <= SOCKET_PATH_MAX)
            .unwrap_or_else(|| shared.join(format!("devsup-{}-{tail}", users::own_uid())));
        private_folder(&folder)?;
        Ok(folder.join("control.sock"))
    }
}

/// A project of this user on this machine, for `ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub folder: Folder,
    pub info: Option<LockInfo>,
    pub running: bool,
}

/// In the order of their ids.
pub fn list(root: &Path) -> Vec<Found> {
    let folders = ids(root).into_iter().map(|id| Folder::in_root(root, id));
    folders
        .map(|folder| {
            let info = folder.last();
            let running = info.as_ref().is_some_and(LockInfo::alive);
            Found { folder, info, running }
        })
        .collect()
}

fn ids(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut ids: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|id| id.rsplit_once('-').is_some_and(|(_, tail)| tail.len() == 12))
        .collect();
    ids.sort();
    ids
}

/// Makes a folder that is ours alone, or finds that it is so already.
pub fn private_folder(path: &Path) -> Result<(), StateError> {
    let io = |error| StateError::Io { path: path.into(), error };
    if let Some(above) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(io)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error)),
    }
    check_private(path)
}

/// Is a folder that is there ours alone?
fn check_private(path: &Path) -> Result<(), StateError> {
    let io = |error| StateError::Io { path: path.into(), error };
    let found = fs::symlink_metadata(path).map_err(io)?;
    let (me, mode) = (users::own_uid(), found.mode() & 0o777);
    if !found.is_dir() {
        Err(StateError::NotFolder { path: path.into() })
    } else if found.uid() != me {
        Err(StateError::Foreign { path: path.into(), owner: found.uid(), me })
    } else if mode & 0o077 != 0 {
        Err(StateError::Open { path: path.into(), mode })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_private_and_an_open_one_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::of(&root.path().join("devsup"), "shop", Path::new("/srv/shop/services.toml"));
        folder.prepare().expect("prepared");
        assert_eq!(fs::metadata(folder.path()).expect("there").mode() & 0o777, 0o700);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        assert!(matches!(folder.prepare(), Err(StateError::Open { mode: 0o755, .. })));
    }

    #[test]
    fn a_symlink_is_not_a_state_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).expect("link");
        assert!(matches!(private_folder(&link), Err(StateError::NotFolder { .. })));
    }

    #[test]
    fn a_renamed_project_keeps_its_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().join("devsup");
        let manifest = Path::new("/srv/shop/services.toml");
        let before = Folder::of(&root, "shop", manifest);
        before.prepare().expect("prepared");
        assert_eq!(Folder::of(&root, "store", manifest), before);
        assert_ne!(Folder::of(&root, "shop", Path::new("/srv/other/services.toml")), before);
    }

    #[test]
    fn a_long_path_moves_the_socket_to_a_private_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("d".repeat(120));
        let folder = Folder::of(&deep, "shop", Path::new("/srv/shop/services.toml"));
        let runtime = root.path().to_str().expect("utf-8").to_owned();
        let socket = folder.socket(&|name| (name == "XDG_RUNTIME_DIR").then(|| runtime.clone())).expect("a path");
        assert!(socket.as_os_str().len() <= SOCKET_PATH_MAX);
        assert!(socket.starts_with(root.path()));
    }

    #[test]
    fn a_lock_of_a_dead_daemon_is_not_running() {
        let mut info = LockInfo {
            pid: std::process::id(),
            start_time: tree::look(std::process::id()).expect("ours").start_time,
            socket: "/x".into(),
            version: "0".into(),
            name: "shop".into(),
            manifest: "/x".into(),
            sandbox: false,
            shared: None,
        };
        assert!(info.alive());
        info.start_time += 1;
        assert!(!info.alive(), "the same pid in another life is another process");
    }
}
