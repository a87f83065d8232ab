//! Whether a command would start, seen without starting it, in the words in which its start would fail. For `doctor`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::birth::kind;
use super::failure;
use super::shim::candidates;
use crate::manifest::{Resource, Rlimit};
use crate::sys::process::{self, Errno};
use crate::sys::{identity, limits};

/// As who this process is now: the file that would be executed, or one sentence why none would.
pub fn would_start(program: &str, path: Option<&OsStr>, folder: &Path) -> Result<PathBuf, String> {
    enter(folder).map_err(|error| failure::working_dir(folder, &error).what)?;
    let all = candidates(program, path);
    let mut denied = None;
    for candidate in &all {
        let error = match would_execute(&folder.join(candidate)) {
            Ok(()) => return Ok(candidate.clone()),
            Err(error) => error,
        };
        // A shell passes over the same ones.
        let passed = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            && !folder.join(candidate).exists();
        if all.len() > 1 && passed {
            continue;
        }
        let failed = failure::command(program, candidate, folder, &error).what;
        if all.len() > 1 && error.kind() == io::ErrorKind::PermissionDenied {
            denied.get_or_insert(failed);
            continue;
        }
        return Err(failed);
    }
    Err(denied.unwrap_or_else(|| failure::not_in_path(program, &all, folder).what))
}

fn enter(folder: &Path) -> io::Result<()> {
    if !std::fs::metadata(folder)?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    if process::may_execute(folder.as_os_str()) { Ok(()) } else { Err(Errno::ACCESS.into()) }
}

/// What execve(2) would say, as far as the file tells.
fn would_execute(file: &Path) -> io::Result<()> {
    if !std::fs::metadata(file)?.is_file() || !process::may_execute(file.as_os_str()) {
        return Err(Errno::ACCESS.into());
    }
    // A program may be closed to reading and be executed all the same.
    let Some(head) = failure::head(file) else { return Ok(()) };
    if head.starts_with(b"#!") {
        let line = failure::interpreter(file).unwrap_or_default();
        let interpreter = line.split([' ', '\t']).next().unwrap_or_default();
        return std::fs::metadata(interpreter).map(drop).map_err(|_| Errno::NOENT.into());
    }
    if head.starts_with(b"\x7fELF") { Ok(()) } else { Err(Errno::NOEXEC.into()) }
}

/// What of `limits` and `nice` this process could not give to a service: a sentence each.
pub fn would_limit(wanted: &BTreeMap<Resource, Rlimit>, nice: Option<i32>) -> Vec<String> {
    let root = identity::own().0 == 0;
    let refused = io::Error::from(Errno::PERM);
    let too_high = |resource: &Resource, limit: &Rlimit| {
        let most = if root { root_limit(*resource) } else { limits::hard(kind(*resource)) };
        // `None` is above all numbers.
        most.is_some_and(|most| limit.hard.is_none_or(|hard| hard > most))
    };
    let above = wanted
        .iter()
        .filter(|(resource, limit)| too_high(resource, limit))
        .map(|(resource, limit)| failure::limit(*resource, *limit, limits::hard(kind(*resource)), &refused).what);
    let nice = nice.filter(|wanted| !root && *wanted < lowest_nice()).map(|wanted| {
        let error = io::Error::from(Errno::ACCESS);
        failure::nice(wanted, &error).what
    });
    above.chain(nice).collect()
}

fn root_limit(resource: Resource) -> Option<u64> {
    if resource == Resource::Nofile { limits::most_open_files() } else { None }
}

/// setpriority(2): as low as we are, or as RLIMIT_NICE allows.
fn lowest_nice() -> i32 {
    let allowed = limits::soft(limits::Resource::Nice).map_or(-20, |most| 20 - i32::try_from(most).unwrap_or(40));
    limits::niceness().unwrap_or_default().min(allowed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(folder: &Path, name: &str, text: &str, mode: u32) {
        fs::write(folder.join(name), text).expect("a file");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn what_would_start_is_named_and_what_would_not_is_said_as_its_start_would() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        file(at, "good", "#!/bin/sh\n", 0o755);
        file(at, "plain", "#!/bin/sh\n", 0o644);
        file(at, "words", "hello\n", 0o755);
        file(at, "lost", "#!/no/such/interpreter -x\n", 0o755);
        let path = format!("/no/such/folder:{}", at.display());
        let look = |program: &str| would_start(program, Some(OsStr::new(&path)), at);
        assert_eq!(look("good"), Ok(at.join("good")));
        assert_eq!(look("./good"), Ok(PathBuf::from("./good")));
        let said = |program: &str| look(program).expect_err("it would not start");
        assert!(said("absent").contains("not found in PATH"), "{}", said("absent"));
        assert!(said("./absent").contains("no such file"), "{}", said("./absent"));
        assert!(said("./plain").contains("chmod +x"), "{}", said("./plain"));
        assert!(said("plain").contains("chmod +x"), "{}", said("plain"));
        assert!(said("words").contains("neither a program nor a script"), "{}", said("words"));
        assert!(said("lost").contains("`/no/such/interpreter` does not exist"), "{}", said("lost"));
        let nowhere = would_start("sh", None, &at.join("gone")).expect_err("no folder");
        assert!(nowhere.contains("no such folder"), "{nowhere}");
    }

    #[test]
    fn a_limit_beyond_what_may_be_had_is_said() {
        let most = limits::most_open_files().expect("a kernel");
        let wanted = BTreeMap::from([(Resource::Nofile, Rlimit { soft: Some(1), hard: Some(most + 1) })]);
        let said = would_limit(&wanted, None);
        assert!(said.len() == 1 && said[0].contains("`limits.nofile`"), "{said:?}");
        let modest = BTreeMap::from([(Resource::Nofile, Rlimit { soft: Some(16), hard: Some(16) })]);
        assert_eq!(would_limit(&modest, Some(19)), Vec::<String>::new());
    }
}
