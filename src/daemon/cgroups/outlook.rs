//! How trees would be kept if `up` were typed here, seen without making or moving anything. For `doctor`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Base, CHOICE, Orphans, scope, wanted};
use crate::control::paths::Folder;
use crate::daemon::world::Inherited;
use crate::keeper::keeper_of;
use crate::manifest::Limits;
use crate::sys::cgroup::{self, Cgroup, Controller};
use crate::sys::{files, process};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// A cgroup for each run, below this one.
    Cgroup(PathBuf),
    /// The same, in a scope that the user's service manager would be asked for.
    Scope,
    /// What descends from the keeper; one sentence why.
    Session(String),
    /// A scope was asked for by name, and cannot be had.
    NoScope(String),
    /// `DEVSUP_TREE` is not understood.
    Wrong(String),
}

impl Outlook {
    pub fn of(env: &[(OsString, OsString)], project: &Folder) -> Self {
        let name = format!("devsup-{}", project.id());
        match Inherited::lookup(env, CHOICE).unwrap_or_default().as_str() {
            "session" => Self::Session(format!("{CHOICE} says so")),
            "" | "auto" => here(&name).map_or_else(
                |here| match scope::may_be_asked(env) {
                    Ok(()) => Self::Scope,
                    Err(scope) => Self::Session(format!("{here}; {scope}")),
                },
                Self::Cgroup,
            ),
            "scope" => scope::socket(env).map_or_else(Self::NoScope, |_| Self::Scope),
            other => Self::Wrong(format!("{CHOICE} is `{other}`: it may be `auto`, `session` or `scope`")),
        }
    }

    /// Why a service with these limits could not run: one sentence, if that can be seen.
    pub fn refuses(&self, limits: &Limits) -> Option<String> {
        wanted(limits).find_map(|(controller, _)| self.lacks(controller))
    }

    fn lacks(&self, controller: Controller) -> Option<String> {
        let word = controller.word();
        let needs = |why: &str| Some(format!("`limits.{word}` needs the cgroup controller `{word}`: {why}"));
        match self {
            Self::Cgroup(above) => withheld(above, controller).and_then(|why| needs(&why)),
            Self::Session(why) | Self::NoScope(why) => needs(&format!("there would be no cgroups ({why})")),
            // Only the scope itself shows what it is given.
            Self::Scope | Self::Wrong(_) => None,
        }
    }
}

/// Below the group that we are in, or outside of a run of this project that we are in.
fn here(name: &str) -> Result<PathBuf, String> {
    let own = cgroup::own().ok_or("cgroup v2 is not mounted here")?;
    let outside = own.ancestors().find(|path| path.file_name().is_some_and(|last| last == name));
    let above = outside.and_then(Path::parent).unwrap_or(&own).to_owned();
    let may = files::may_write_in(&above).and_then(|()| files::may_write(&above.join("cgroup.procs")));
    may.map_err(|error| format!("no cgroup can be made in `{}`: {error}", above.display()))?;
    Ok(above)
}

fn withheld(above: &Path, controller: Controller) -> Option<String> {
    let group = Cgroup::open(above).ok()?;
    if !group.has(controller) {
        return Some(if controller.is_of_version_1() {
            "this machine has it in cgroup v1, and devsup uses v2 only".to_owned()
        } else {
            format!("`{}` is not given it; a systemd unit is by `Delegate={}`", above.display(), controller.word())
        });
    }
    if group.hands_down(controller) || group.is_top() {
        return None;
    }
    // We would have left it, as `up` does.
    let others: Vec<String> =
        group.members().iter().filter(|pid| **pid != process::own_pid()).map(ToString::to_string).collect();
    (!others.is_empty()).then(|| {
        format!("`{}` cannot hand it down while others are in it (pid {})", above.display(), others.join(", "))
    })
}

/// What an earlier devsup left in its groups, and no keeper looks after.
pub(in crate::daemon) fn orphans(project: &Folder) -> Vec<Orphans> {
    let name = format!("devsup-{}", project.id());
    let noted = std::fs::read_to_string(project.path().join("cgroup")).unwrap_or_default();
    let ours = |path: &&Path| path.file_name().is_some_and(|last| last == name.as_str());
    let bases: Vec<Base> = noted.lines().map(Path::new).filter(ours).filter_map(Base::open).collect();
    let runs = bases.iter().flat_map(Base::runs);
    let with_pids = runs.map(|(run, group)| Orphans { run, pids: group.processes(), group });
    with_pids.filter(|left| !left.pids.is_empty() && !left.pids.iter().any(|pid| keeper_of(*pid).is_some())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::of(root.path(), "shop", Path::new("/srv/shop/services.toml"));
        (root, folder)
    }

    fn of(choice: &str) -> Outlook {
        Outlook::of(&[(CHOICE.into(), choice.into())], &folder().1)
    }

    fn memory() -> Limits {
        Limits { memory: Some(1 << 29), ..Limits::default() }
    }

    #[test]
    fn what_is_asked_for_by_name_is_heeded() {
        assert_eq!(of("session"), Outlook::Session("DEVSUP_TREE says so".into()));
        assert!(matches!(of("scope"), Outlook::NoScope(_)), "no runtime folder is named");
        assert!(matches!(of("tree"), Outlook::Wrong(why) if why.contains("`tree`")));
    }

    #[test]
    fn a_limit_without_cgroups_is_refused_before_anything_is_made() {
        let why = of("session").refuses(&memory()).expect("refused");
        assert!(why.starts_with("`limits.memory` needs the cgroup controller `memory`: "), "{why}");
        assert_eq!(of("session").refuses(&Limits::default()), None);
        assert_eq!(Outlook::Scope.refuses(&memory()), None, "only the scope itself knows");
    }

    #[test]
    fn a_controller_is_to_be_had_where_it_is_given_and_nobody_is_in_the_way() {
        let above = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(above.path().join(name), text).expect("a file");
        let outlook = Outlook::Cgroup(above.path().to_owned());
        write("cgroup.controllers", "cpu");
        write("cgroup.type", "domain");
        assert!(outlook.refuses(&memory()).is_some());
        write("cgroup.controllers", "cpu memory");
        write("cgroup.procs", &format!("{}\n", process::own_pid()));
        assert_eq!(outlook.refuses(&memory()), None);
        write("cgroup.procs", "4711\n");
        let why = outlook.refuses(&memory()).expect("refused");
        assert!(why.ends_with("(pid 4711)"), "{why}");
        write("cgroup.subtree_control", "memory");
        assert_eq!(outlook.refuses(&memory()), None);
    }
}
