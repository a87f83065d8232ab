//! Files that only one service's user and root can read: configs and tokens of the SDKs. A path stays the same for the life
//! of the project, and what is there is replaced in one step.
//!
//! ```text
//! STATE/handed/SVC/                    what is no secret, for services that are who devsup is
//! /run/devsup/NAME/handed/SVC/         in memory, of a system project
//! /run/devsup/.personal/HASH/SVC/      of root's own projects
//! $XDG_RUNTIME_DIR/devsup-HASH-handed/SVC/, else /dev/shm/devsup-UID-HASH/SVC/     of everybody else's
//! ```
//!
//! What must never happen: a secret on a disk; a link of somebody else's is followed; a file is left when the project has
//! ended, or by the next `up` if it was killed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::control::paths::{Folder, private_folder};
use crate::control::system::run_root;
use crate::sys::{files, users};

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Who devsup is.
    Own,
    /// A user that root makes a service.
    Other { uid: u32, gid: u32 },
}

/// The folders of one project.
pub(super) struct Private {
    hash: String,
    near: PathBuf,
    /// Where the next daemon reads what this one had in memory.
    note: PathBuf,
    /// Each with the folder that must be there and in memory.
    candidates: Vec<(PathBuf, PathBuf)>,
    /// Chosen once.
    memory: Option<PathBuf>,
}

impl Private {
    pub(super) fn of(folder: &Folder, env: &dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            hash: hash(folder).to_owned(),
            near: folder.path().join("handed"),
            note: folder.path().join("handed-in-memory"),
            candidates: candidates(folder, users::own_uid(), env),
            memory: None,
        }
    }

    /// Removes all that is there: at the end, and before the beginning what an earlier daemon left that was killed.
    pub(super) fn sweep(&self) {
        remove_all(&self.near);
        if let Ok(left) = fs::read_to_string(&self.note) {
            let left = Path::new(&left);
            // Never more than what one of us could have noted.
            let own = |name: &str| name == "handed" || name.contains(&self.hash);
            if left.is_absolute() && left.file_name().and_then(|name| name.to_str()).is_some_and(own) {
                remove_memory(left);
            }
            drop(fs::remove_file(&self.note));
        }
    }

    /// Something that is no secret.
    pub(super) fn open(
        &mut self,
        service: &str,
        reader: Reader,
        name: &str,
        content: &[u8],
    ) -> Result<PathBuf, String> {
        match reader {
            Reader::Own => {
                let folder = self.near.join(service);
                let made = private_folder(&self.near).and_then(|()| private_folder(&folder));
                made.map_err(|error| error.to_string())?;
                write(&folder, name, content, reader)
            }
            Reader::Other { .. } => self.secret(service, reader, name, content),
        }
    }

    /// Only in memory.
    pub(super) fn secret(
        &mut self,
        service: &str,
        reader: Reader,
        name: &str,
        content: &[u8],
    ) -> Result<PathBuf, String> {
        let folder = self.folder_in_memory(service)?;
        write(&folder, name, content, reader)
    }

    /// The service's folder in memory: its user can go through it, and nobody else can look into it.
    pub(super) fn folder_in_memory(&mut self, service: &str) -> Result<PathBuf, String> {
        let memory = match &self.memory {
            Some(memory) => memory.clone(),
            None => self.choose()?,
        };
        make(&memory, mode())?;
        let folder = memory.join(service);
        make(&folder, mode())?;
        Ok(folder)
    }

    fn choose(&mut self) -> Result<PathBuf, String> {
        let fit = |(base, _): &&(PathBuf, PathBuf)| base.is_dir() && files::in_memory(base);
        let Some((base, path)) = self.candidates.iter().find(fit) else {
            let tried: Vec<String> = self.candidates.iter().map(|(base, _)| format!("`{}`", base.display())).collect();
            return Err(format!(
                "no place in memory (tmpfs) for what only its user may read: tried {}",
                tried.join(" and ")
            ));
        };
        // Those between, which everybody goes through.
        let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != base).collect();
        for above in missing.into_iter().rev() {
            make(above, if users::own_uid() == 0 { 0o755 } else { 0o700 })?;
        }
        let failed = |error: io::Error| format!("`{}`: {error}", self.note.display());
        fs::write(&self.note, path.as_os_str().as_encoded_bytes()).map_err(failed)?;
        self.memory = Some(path.clone());
        Ok(path.clone())
    }
}

/// Root's services are other users, who go through and cannot list.
fn mode() -> u32 {
    if users::own_uid() == 0 { 0o711 } else { 0o700 }
}

fn hash(folder: &Folder) -> &str {
    let id = folder.id();
    &id[id.len().saturating_sub(12)..]
}

fn candidates(folder: &Folder, uid: u32, env: &dyn Fn(&str) -> Option<String>) -> Vec<(PathBuf, PathBuf)> {
    let hash = hash(folder);
    let shared = (PathBuf::from("/dev/shm"), PathBuf::from(format!("/dev/shm/devsup-{uid}-{hash}")));
    let first = match folder.system() {
        Some(system) => Some((system.run.clone(), system.run.join("handed"))),
        None if uid == 0 => {
            let root = run_root(env);
            let base = root.ancestors().find(|path| path.is_dir()).map(Path::to_owned);
            base.map(|base| (base, root.join(".personal").join(hash)))
        }
        None => env("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|base| base.is_absolute() && owned(base))
            .map(|base| (base.clone(), base.join(format!("devsup-{hash}-handed")))),
    };
    first.into_iter().chain([shared]).collect()
}

fn owned(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.uid() == users::own_uid() && found.mode() & 0o022 == 0)
}

/// Makes a folder, or finds it: ours, no link, and with exactly this mode.
fn make(path: &Path, mode: u32) -> Result<(), String> {
    let failed = |error: io::Error| format!("`{}`: {error}", path.display());
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_dir() {
        return Err(format!("`{}` is not a folder; remove it", path.display()));
    }
    if found.uid() != users::own_uid() {
        let whose = users::name(found.uid());
        return Err(format!("`{}` belongs to `{whose}`, so nothing private is put there; remove it", path.display()));
    }
    // Where the umask took something, or somebody changed it: ours alone may write there.
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// In one step: nobody reads a half. No line end is added.
fn write(folder: &Path, name: &str, content: &[u8], reader: Reader) -> Result<PathBuf, String> {
    let (beside, path) = (folder.join(format!(".{name}.new")), folder.join(name));
    let failed = |error: io::Error| format!("`{}`: {error}", path.display());
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    if let Reader::Other { uid, gid } = reader {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
    }
    fs::rename(&beside, &path).map_err(failed)?;
    Ok(path)
}

/// Not through a link, and nothing that is not ours.
fn remove_all(path: &Path) {
    let ours = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == users::own_uid());
    if ours && let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(%error, path = %path.display(), "private files could not be removed");
    }
}

/// And the folder of root's projects, when this was the last.
fn remove_memory(path: &Path) {
    remove_all(path);
    if let Some(above) = path.parent().filter(|above| above.ends_with(".personal")) {
        // Others may be in it.
        drop(fs::remove_dir(above));
    }
}

#[cfg(test)]
mod tests;
