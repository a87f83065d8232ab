//! A cgroup for each run, where this machine lets us have them; else every tree is only what descends from its keeper.
//!
//! ```text
//! <where `up` was typed, or a scope of its own>/devsup-<project id>/
//!     daemon/        the daemon and its keepers (a group with groups in it may not have members when it limits those)
//!     <service>.<n>/ one a run
//! ```
//!
//! The folder is written down in the project's state folder, so that the next `up` finds what was left in it, from wherever
//! it is typed.

mod outlook;
mod scope;

pub use outlook::Outlook;
pub(super) use outlook::orphans;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::world::Inherited;
use crate::control::api::{Failed, FailedKind, Tree};
use crate::control::paths::Folder;
use crate::keeper::keeper_of;
use crate::manifest::{Limits, Name};
use crate::supervisor::RunId;
use crate::sys::cgroup::{self, Cgroup, Controller};
use crate::sys::process;

const DAEMON: &str = "daemon";
const CHOICE: &str = "DEVSUP_TREE";

/// A folder of groups: ours, or an earlier devsup's.
struct Base {
    /// The one it is in.
    above: Cgroup,
    group: Cgroup,
    path: PathBuf,
    /// What the group above hands down because we asked for it.
    asked_for: Vec<Controller>,
}

impl Base {
    /// `None`: there is none (any more).
    fn open(path: &Path) -> Option<Self> {
        let above = Cgroup::open(path.parent()?).ok()?;
        let group = Cgroup::open(path).ok().filter(Cgroup::is_real)?;
        Some(Self { above, group, path: path.to_owned(), asked_for: Vec::new() })
    }

    fn make(path: &Path, name: &str) -> Result<Self, String> {
        let sentence = |error: std::io::Error| format!("no cgroup can be made in `{}`: {error}", path.display());
        let above = Cgroup::open(path).map_err(sentence)?;
        let group = above.make(name).map_err(sentence)?;
        let base = Self { above, group, path: path.join(name), asked_for: Vec::new() };
        // Whoever may do this may do it with every run.
        let entered = base.group.make(DAEMON).and_then(|leaf| leaf.join());
        entered.map_err(|error| {
            base.remove();
            format!("`{}` may not be entered: {error}", base.path.display())
        })?;
        Ok(base)
    }

    fn runs(&self) -> impl Iterator<Item = (RunId, Cgroup)> {
        let named = self.group.groups().into_iter().filter_map(|name| Some((run(&name)?, name)));
        named.filter_map(|(run, name)| Some((run, Cgroup::open(&self.path.join(name)).ok()?)))
    }

    /// The `up` that waits for us is in the group that we were in, and a group that hands down may have no members.
    fn take_our_starter_along(&self) {
        let starter = process::parent();
        let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let same = program(starter).is_some_and(|its| Some(its) == program(process::own_pid()));
        if same && self.above.members().contains(&starter) {
            // If it does not go, what follows says who is in the way.
            drop(self.group.make(DAEMON).and_then(|leaf| leaf.admit(starter)));
        }
    }

    /// Takes away what is empty. Who is left keeps theirs, and the next to look takes it away.
    fn tidy(&self, live: &[RunId]) {
        for name in self.group.groups() {
            if run(&name).is_some_and(|run| !live.contains(&run)) {
                drop(self.group.remove(&name));
            }
        }
    }

    /// With those in it that are nobody's run: they go where they came from.
    fn remove(&self) -> bool {
        let leaf = Cgroup::open(&self.path.join(DAEMON));
        for controller in &self.asked_for {
            // Else nobody may go back there.
            drop(self.group.take_back(*controller).and_then(|()| self.above.take_back(*controller)));
        }
        let here = process::own_pid();
        if leaf.as_ref().is_ok_and(|leaf| leaf.members().contains(&here)) {
            for pid in leaf.iter().flat_map(Cgroup::members) {
                drop(self.above.admit(pid));
            }
        }
        self.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            // One that is gone is as good.
            self.above.remove(name).is_ok() || !self.path.exists()
        })
    }
}

fn folder(run: &RunId) -> String {
    format!("{}.{}", run.service, run.number)
}

fn run(folder: &str) -> Option<RunId> {
    let (service, number) = folder.rsplit_once('.')?;
    Some(RunId { service: Name::new(service), number: number.parse().ok()? })
}

pub(super) struct Cgroups {
    /// Or one sentence that says why there is none.
    base: Result<Base, String>,
    earlier: Vec<Base>,
    record: PathBuf,
    runs: BTreeMap<RunId, Rc<Cgroup>>,
    /// A person asked for a scope by name, and there is none.
    refused: Option<String>,
}

/// What an earlier devsup left in a run's group, and no keeper looks after.
pub(super) struct Orphans {
    pub(super) run: RunId,
    pub(super) group: Cgroup,
    pub(super) pids: Vec<u32>,
}

impl Cgroups {
    /// Finds the place and moves this process there, before it starts any other. Takes 2 s at most.
    pub(super) fn find(env: &[(OsString, OsString)], project: &Folder) -> Result<Self, Failed> {
        let record = project.path().join("cgroup");
        let name = format!("devsup-{}", project.id());
        let noted = fs::read_to_string(&record).unwrap_or_default();
        let ours = |path: &&Path| path.file_name().is_some_and(|last| last == name.as_str());
        let earlier: Vec<Base> = noted.lines().map(Path::new).filter(ours).filter_map(Base::open).collect();
        let mut found = Self { base: Err(String::new()), earlier, record, runs: BTreeMap::new(), refused: None };
        let choice = Inherited::lookup(env, CHOICE).unwrap_or_default();
        found.base = match choice.as_str() {
            "session" => Err(format!("{CHOICE} says so")),
            "" | "auto" => found.here(&name).or_else(|here| {
                let asked = scope::may_be_asked(env).and_then(|()| scope::enter(env, &name));
                asked.and_then(|()| found.here(&name)).map_err(|scope| format!("{here}; {scope}"))
            }),
            "scope" => scope::enter(env, &name).and_then(|()| found.here(&name)),
            other => {
                let error = format!("{CHOICE} is `{other}`: it may be `auto`, `session` or `scope`");
                return Err(Failed::new(FailedKind::Usage, error));
            }
        };
        if let Err(why) = &found.base {
            tracing::info!("session mode, trees are what descends from their keepers: {why}");
            if choice == "scope" {
                found.refused = Some(format!("{CHOICE}=scope cannot be had, trees are kept without cgroups: {why}"));
            }
        }
        found.write_down(None);
        Ok(found)
    }

    /// Below the group that we are in. Who types `up` inside a run that an earlier devsup left gets out of it.
    fn here(&mut self, name: &str) -> Result<Base, String> {
        let own = cgroup::own().ok_or("cgroup v2 is not mounted here")?;
        let outside = own.ancestors().find(|path| path.file_name().is_some_and(|last| last == name));
        let above = outside.and_then(Path::parent).unwrap_or(&own).to_owned();
        // Before it is made, so that it is found whenever we die.
        self.write_down(Some(&above.join(name)));
        let base = Base::make(&above, name)?;
        self.earlier.retain(|earlier| earlier.path != base.path);
        Ok(base)
    }

    /// One sentence for the person who asked for what cannot be had.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.clone()
    }

    fn write_down(&self, coming: Option<&Path>) {
        let paths = self.all().map(|base| base.path.as_path()).chain(coming);
        let text = paths.fold(String::new(), |text, path| format!("{text}{}\n", path.display()));
        let written = if text.is_empty() { fs::remove_file(&self.record) } else { fs::write(&self.record, text) };
        if let Err(error) = written.or_else(|error| if self.record.exists() { Err(error) } else { Ok(()) }) {
            tracing::warn!(%error, "the place of the cgroups could not be written down");
        }
    }

    fn all(&self) -> impl Iterator<Item = &Base> {
        self.base.iter().chain(&self.earlier)
    }

    /// How the next run's tree is known.
    pub(super) fn mode(&self) -> Tree {
        if self.base.is_ok() { Tree::Cgroup } else { Tree::Session }
    }

    pub(super) fn tree_of(&self, run: &RunId) -> Tree {
        if self.runs.contains_key(run) { Tree::Cgroup } else { Tree::Session }
    }

    pub(super) fn of(&self, run: &RunId) -> Option<&Cgroup> {
        self.runs.get(run).map(Rc::as_ref)
    }

    /// The same, for who needs it as long as the run lives.
    pub(super) fn shared(&self, run: &RunId) -> Option<Rc<Cgroup>> {
        self.runs.get(run).cloned()
    }

    /// A group for a run that is about to start, with its limits. One that needs none may do without.
    pub(super) fn make(&mut self, run: &RunId, limits: &Limits) -> Result<(), String> {
        if let Some(why) = self.refuses(limits) {
            return Err(why);
        }
        let Ok(base) = &self.base else { return Ok(()) };
        let made = base.group.make(&folder(run)).and_then(|group| {
            for (controller, most) in wanted(limits) {
                group.limit(controller, most)?;
            }
            Ok(group)
        });
        match made {
            Ok(group) => drop(self.runs.insert(run.clone(), Rc::new(group))),
            Err(error) if wanted(limits).next().is_some() => {
                return Err(format!("`limits`: its cgroup could not be made: {error}"));
            }
            Err(error) => tracing::warn!(%error, %run, "no cgroup could be made: this run's tree is a session"),
        }
        Ok(())
    }

    /// Why a service with these limits cannot run here: one sentence, if it cannot.
    pub(super) fn refuses(&mut self, limits: &Limits) -> Option<String> {
        wanted(limits).find_map(|(controller, _)| self.enable(controller).err())
    }

    fn enable(&mut self, controller: Controller) -> Result<(), String> {
        let word = controller.word();
        let needs = |why: String| format!("`limits.{word}` needs the cgroup controller `{word}`: {why}");
        let base = self.base.as_mut().map_err(|why| needs(format!("there are no cgroups here ({why})")))?;
        if !base.group.has(controller) {
            if !base.above.has(controller) {
                return Err(needs(if controller.is_of_version_1() {
                    "this machine has it in cgroup v1, and devsup uses v2 only".to_owned()
                } else {
                    let above = base.path.parent().unwrap_or(&base.path).display();
                    format!("`{above}` is not given it; a systemd unit is by `Delegate={word}`")
                }));
            }
            base.take_our_starter_along();
            base.above.hand_down(controller).map_err(|error| {
                let others: Vec<String> = base.above.members().iter().map(ToString::to_string).collect();
                let who =
                    if others.is_empty() { String::new() } else { format!(" (pid {} is in it)", others.join(", ")) };
                needs(format!("`{}` cannot hand it down: {error}{who}", base.path.display()))
            })?;
            base.asked_for.push(controller);
        }
        base.group.hand_down(controller).map_err(|error| needs(error.to_string()))
    }

    /// SIGKILL to all in this run's group, an earlier devsup's too.
    pub(super) fn kill(&self, run: &RunId) {
        for group in self.groups_of(run) {
            if let Err(error) = group.kill() {
                tracing::warn!(%error, %run, "its cgroup could not be killed");
            }
        }
    }

    /// Who is in this run's group.
    pub(super) fn members(&self, run: &RunId) -> Vec<u32> {
        self.groups_of(run).iter().flat_map(Cgroup::processes).collect()
    }

    fn groups_of(&self, run: &RunId) -> Vec<Cgroup> {
        self.all().filter_map(|base| Cgroup::open(&base.path.join(folder(run))).ok()).collect()
    }

    /// What an earlier devsup left and nobody looks after.
    pub(super) fn orphans(&self) -> Vec<Orphans> {
        let runs = self.all().flat_map(Base::runs).filter(|(run, _)| !self.runs.contains_key(run));
        let with_pids = runs.map(|(run, group)| Orphans { run, pids: group.processes(), group });
        with_pids
            .filter(|left| !left.pids.is_empty() && !left.pids.iter().any(|pid| keeper_of(*pid).is_some()))
            .collect()
    }

    /// Takes away the groups of runs that are over.
    pub(super) fn tidy(&mut self, live: &[RunId]) {
        self.runs.retain(|run, _| live.contains(run));
        self.all().for_each(|base| base.tidy(live));
        let before = self.earlier.len();
        self.earlier.retain(|base| !base.remove());
        if self.earlier.len() != before {
            self.write_down(None);
        }
    }

    /// The end: goes back to where we came from, and leaves nothing.
    pub(super) fn leave(&mut self) {
        self.tidy(&[]);
        if self.base.as_ref().is_ok_and(Base::remove) {
            self.base = Err("devsup ends".to_owned());
            self.write_down(None);
        }
    }
}

/// However it ends: what is empty is taken away.
impl Drop for Cgroups {
    fn drop(&mut self) {
        self.leave();
    }
}

fn wanted(limits: &Limits) -> impl Iterator<Item = (Controller, u64)> {
    let memory = limits.memory.map(|most| (Controller::Memory, most));
    memory.into_iter().chain(limits.pids.map(|most| (Controller::Pids, most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory: Option<u64>, pids: Option<u64>) -> Limits {
        Limits { memory, pids, ..Limits::default() }
    }

    fn cgroups(base: Result<Base, String>) -> Cgroups {
        Cgroups {
            base,
            earlier: Vec::new(),
            record: PathBuf::from("/nonexistent/cgroup"),
            runs: BTreeMap::new(),
            refused: None,
        }
    }

    /// Folders that look like groups, of which the upper has these controllers.
    fn look_alike(controllers: &str) -> (tempfile::TempDir, Cgroups) {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("devsup-shop-1f");
        let run = path.join("a.1");
        fs::create_dir_all(&run).expect("a folder");
        let files = [("cgroup.subtree_control", ""), ("cgroup.procs", ""), ("memory.max", "max"), ("pids.max", "max")];
        for folder in [above.path(), &path, &run] {
            for (name, text) in files {
                fs::write(folder.join(name), text).expect("a file");
            }
        }
        fs::write(above.path().join("cgroup.controllers"), controllers).expect("a file");
        fs::write(path.join("cgroup.controllers"), "").expect("a file");
        let open = |path: &Path| Cgroup::open(path).expect("a folder");
        let base = Base { above: open(above.path()), group: open(&path), path, asked_for: Vec::new() };
        (above, cgroups(Ok(base)))
    }

    fn a() -> RunId {
        RunId { service: Name::new("a"), number: 1 }
    }

    #[test]
    fn a_run_has_a_folder_and_a_folder_a_run() {
        let of = RunId { service: Name::new("a.b"), number: 12 };
        assert_eq!((folder(&of).as_str(), run("a.b.12")), ("a.b.12", Some(of)));
        assert_eq!((run(DAEMON), run("a.x")), (None, None));
    }

    #[test]
    fn limits_are_handed_down_and_written_for_the_run() {
        let (above, mut cgroups) = look_alike("cpu memory pids");
        cgroups.make(&a(), &limits(Some(1 << 29), Some(64))).expect("both can be kept");
        let read = |path: &str| fs::read_to_string(above.path().join(path)).expect("a file");
        assert_eq!(read("cgroup.subtree_control"), "+pids", "the last that was written");
        assert_eq!(read("devsup-shop-1f/cgroup.subtree_control"), "+pids");
        assert_eq!(read("devsup-shop-1f/a.1/memory.max"), "536870912");
        assert_eq!(read("devsup-shop-1f/a.1/pids.max"), "64");
        assert_eq!(cgroups.tree_of(&a()), Tree::Cgroup);
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused_with_the_controller_and_why() {
        let mut session = cgroups(Err("DEVSUP_TREE says so".to_owned()));
        assert_eq!(
            session.refuses(&limits(Some(1), None)).as_deref(),
            Some(
                "`limits.memory` needs the cgroup controller `memory`: there are no cgroups here (DEVSUP_TREE says so)"
            )
        );
        let (_above, mut without) = look_alike("cpu");
        let why = without.refuses(&limits(None, Some(9))).expect("refused");
        assert!(why.starts_with("`limits.pids` needs the cgroup controller `pids`: "), "{why}");
        assert!(why.contains("is not given it") || why.contains("cgroup v1"), "{why}");
        assert!(without.make(&a(), &limits(None, Some(9))).is_err());
        for mut any in [session, without] {
            assert_eq!(any.refuses(&Limits::default()), None);
        }
    }

    #[test]
    fn what_cannot_be_handed_down_says_who_is_in_the_way() {
        let (above, mut cgroups) = look_alike("memory");
        let control = above.path().join("cgroup.subtree_control");
        fs::remove_file(&control).expect("ours");
        fs::create_dir(&control).expect("what cannot be written to");
        fs::write(above.path().join("cgroup.procs"), "4711\n").expect("a file");
        let why = cgroups.refuses(&limits(Some(1), None)).expect("refused");
        assert!(why.contains("cannot hand it down") && why.ends_with("(pid 4711 is in it)"), "{why}");
    }
}
