//! Which file is the manifest.

use std::path::{Path, PathBuf};

pub const FILE: &str = "services.toml";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// `-f` or `DEVSUP_FILE` names a file that is not there.
    #[error("`{0}` does not exist")]
    Named(PathBuf),
    #[error("no `services.toml` in `{0}` or any folder above it")]
    Nowhere(PathBuf),
}

/// `file` if it is given (a folder means the `services.toml` in it), else the nearest `services.toml` here or above.
pub fn find(file: Option<&Path>, cwd: &Path) -> Result<PathBuf, NotFound> {
    if let Some(file) = file {
        let path = cwd.join(file);
        let path = if path.is_dir() { path.join(FILE) } else { path };
        return if path.exists() { Ok(path) } else { Err(NotFound::Named(path)) };
    }
    cwd.ancestors()
        .map(|folder| folder.join(FILE))
        .find(|path| path.is_file())
        .ok_or_else(|| NotFound::Nowhere(cwd.to_owned()))
}

/// `services.local.toml` for `services.toml`: one developer's own changes.
pub(super) fn local_of(manifest: &Path) -> PathBuf {
    let stem = manifest.file_stem().unwrap_or_default().to_string_lossy();
    manifest.with_file_name(format!("{stem}.local.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_here_then_above() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("folders");
        assert_eq!(find(None, &deep).ok().filter(|path| path.starts_with(root.path())), None);
        let file = root.path().join(FILE);
        std::fs::write(&file, "").expect("a file");
        assert_eq!(find(None, &deep), Ok(file.clone()));
        assert_eq!(find(Some(root.path()), &deep), Ok(file));
        let missing = deep.join("x.toml");
        assert_eq!(find(Some(Path::new("x.toml")), &deep), Err(NotFound::Named(missing)));
    }
}
