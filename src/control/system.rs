//! Where a system project lives: the folders systemd made for its unit, or their like, and how everybody finds it.
//!
//! ```text
//! /run/devsup/NAME        0755   control.sock (0666: the daemon decides who may what), project.json (0644: where the rest is)
//! /var/lib/devsup/NAME    0700   lock, events, services/
//! /var/log/devsup/NAME    0700   the services' logs
//! ```

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::{LockInfo, SOCKET_PATH_MAX, StateError};
use crate::sys::users;

/// Where system projects are looked for; `DEVSUP_SYSTEM_RUN` says another place.
const RUN: &str = "/run/devsup";
const PUBLISHED: &str = "project.json";
/// More is nothing that we wrote.
const PUBLISHED_MAX: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemFolders {
    pub run: PathBuf,
    pub state: PathBuf,
    pub logs: PathBuf,
}

impl SystemFolders {
    /// Those that systemd made for the unit, each else where it would have made it.
    pub fn of(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        // Of several that a unit may ask for, the first is ours.
        let given = |variable| {
            let value = env(variable)?;
            let first = value.split(':').next().map(PathBuf::from)?;
            first.is_absolute().then_some(first)
        };
        let or = |variable, base: &Path| given(variable).unwrap_or_else(|| base.join(name));
        Self {
            run: or("RUNTIME_DIRECTORY", &run_root(env)),
            state: or("STATE_DIRECTORY", Path::new("/var/lib/devsup")),
            logs: or("LOGS_DIRECTORY", Path::new("/var/log/devsup")),
        }
    }

    pub(super) fn prepare(&self) -> Result<(), StateError> {
        own_folder(&self.run, 0o755)?;
        own_folder(&self.state, 0o700)?;
        own_folder(&self.logs, 0o700)
    }

    pub(super) fn socket(&self) -> Result<PathBuf, StateError> {
        let path = self.run.join("control.sock");
        if path.as_os_str().len() > SOCKET_PATH_MAX { Err(StateError::LongSocket { path }) } else { Ok(path) }
    }

    /// Says to everybody that the project is here. In one step: nobody reads a half.
    pub fn publish(&self, info: &LockInfo) -> io::Result<()> {
        let beside = self.run.join(".project.json");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        file.write_all(&serde_json::to_vec(info)?)?;
        // The umask has taken the others' right to read.
        file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(&beside, self.run.join(PUBLISHED))
    }

    pub fn withdraw(&self) {
        // It may be gone with its folder; who reads it later sees that its daemon is dead.
        drop(fs::remove_file(self.run.join(PUBLISHED)));
    }
}

/// Where system projects are, and of root others.
pub fn run_root(env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let said = env("DEVSUP_SYSTEM_RUN").map(PathBuf::from).filter(|path| path.is_absolute());
    said.unwrap_or_else(|| RUN.into())
}

/// What a system project says of itself, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub info: LockInfo,
    pub owner: u32,
}

/// The system projects that are up, by name.
pub fn list(env: &dyn Fn(&str) -> Option<String>) -> Vec<Published> {
    let Ok(entries) = fs::read_dir(run_root(env)) else { return Vec::new() };
    let mut found: Vec<Published> = entries.flatten().filter_map(|entry| read(&entry.path().join(PUBLISHED))).collect();
    found.sort_by(|a, b| a.info.name.cmp(&b.info.name));
    found
}

/// Whose it is tells the file, not what is written in it.
fn read(path: &Path) -> Option<Published> {
    let about = fs::symlink_metadata(path).ok()?;
    if !about.is_file() || about.len() > PUBLISHED_MAX {
        return None;
    }
    let info: LockInfo = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (info.shared.is_some() && info.alive()).then(|| Published { info, owner: about.uid() })
}

/// Makes a folder, or finds it, ours and with exactly this mode: systemd makes some of them open to all.
fn own_folder(path: &Path, mode: u32) -> Result<(), StateError> {
    let io = |error| StateError::Io { path: path.into(), error };
    // Everybody goes through those above; our own umask would close them.
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for above in missing.into_iter().rev() {
        fs::create_dir(above).and_then(|()| fs::set_permissions(above, Permissions::from_mode(0o755))).map_err(io)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error)),
    }
    // systemd keeps some behind a link of its own: what counts is where it leads.
    let found = fs::metadata(path).map_err(io)?;
    let me = users::own_uid();
    if !found.is_dir() {
        return Err(StateError::NotFolder { path: path.into() });
    }
    if found.uid() != me {
        return Err(StateError::Foreign { path: path.into(), owner: found.uid(), me });
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_unit_or_the_usual_ones() {
        let folders = SystemFolders::of("shop", &|name| (name == "STATE_DIRECTORY").then(|| "/a/b:/c".to_owned()));
        assert_eq!(folders.state, Path::new("/a/b"));
        assert_eq!(folders.run, Path::new("/run/devsup/shop"));
        assert_eq!(folders.logs, Path::new("/var/log/devsup/shop"));
    }

    #[test]
    fn everybody_may_find_the_project_and_nobody_may_read_its_state() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name).join("shop");
        let folders = SystemFolders { run: at("run"), state: at("state"), logs: at("logs") };
        fs::create_dir_all(&folders.state).expect("as systemd does it");
        fs::set_permissions(&folders.state, Permissions::from_mode(0o755)).expect("chmod");
        folders.prepare().expect("prepared");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        let above = root.path().join("run");
        let modes = [&above, &folders.run, &folders.state, &folders.logs].map(|path| mode(path));
        assert_eq!(modes, [0o755, 0o755, 0o700, 0o700]);
        let pid = std::process::id();
        let mut info = LockInfo {
            pid,
            start_time: crate::sys::tree::look(pid).expect("ours").start_time,
            socket: folders.socket().expect("short enough"),
            version: "0".into(),
            name: "shop".into(),
            manifest: "/srv/services.toml".into(),
            sandbox: false,
            shared: Some(folders.clone()),
        };
        let run = root.path().join("run").display().to_string();
        let found = || list(&|name| (name == "DEVSUP_SYSTEM_RUN").then(|| run.clone()));
        folders.publish(&info).expect("published");
        assert_eq!(mode(&folders.run.join(PUBLISHED)), 0o644);
        assert_eq!(found(), [Published { info: info.clone(), owner: users::own_uid() }]);
        info.start_time += 1;
        folders.publish(&info).expect("published");
        assert_eq!(found(), [], "a dead daemon is not up");
    }

    #[test]
    fn a_system_project_is_another_than_the_personal_one() {
        use super::super::paths::Folder;
        let (root, manifest) = (Path::new("/x"), Path::new("/srv/services.toml"));
        let folders = SystemFolders::of("shop", &|_| None);
        assert_ne!(Folder::of_system(folders, "shop", manifest).id(), Folder::of(root, "shop", manifest).id());
    }
}
