//! The project that is soaked, and what it has of the machine's things.

use std::fs;
use std::path::Path;

use devsup::control::api::{OwnState, Service};
use devsup::supervisor::State;
use devsup::sys::tree;

use crate::faults::{ask, badly, daemon, lives, lock};
use crate::project::{Foreground, Project, wait_until};

/// Names, in the order of `ps`, each with the size of its tree.
pub(super) const SERVICES: [(&str, usize); 3] = [("plain", 1), ("stubborn", 2), ("tree", 3)];
/// Of the daemon's memory between two looks at it: it may have other buffers, never more with every restart.
const SLACK_KIB: u64 = 8 * 1024;

pub(super) struct Place {
    pub(super) project: Project,
}

/// What must be the same before and after.
#[derive(Debug)]
pub(super) struct Count {
    fds: usize,
    threads: usize,
    rss_kib: u64,
    /// Of the state folder, without the logs, which have bounds of their own.
    files: usize,
    cgroups: usize,
    /// Daemon, keepers and trees.
    processes: usize,
}

impl Count {
    #[track_caller]
    pub(super) fn same(&self, after: &Self) {
        let constant = |count: &Self| (count.fds, count.threads, count.files, count.cgroups, count.processes);
        assert_eq!(constant(self), constant(after), "{self:#?} {after:#?}");
        assert!(after.rss_kib < self.rss_kib + SLACK_KIB, "{self:#?} {after:#?}");
    }
}

impl Place {
    pub(super) fn new(name: &str) -> Self {
        let project = Project::new(&format!(
            "name = \"{name}\"\n[defaults]\nbackoff = {{ first = \"10ms\", max = \"40ms\" }}\nstop_timeout = \"200ms\"\n\
             [services.plain]\ncommand = [\"sleep\", \"600\"]\n\
             [services.stubborn]\ncommand = {}\n[services.tree]\ncommand = {}\n",
            badly("fork setsid [ ignore TERM sleep 600 ] ignore TERM sleep 600"),
            badly("daemon [ sleep 600 ] fork [ sleep 600 ] sleep 600"),
        ));
        project.devsup(&["up", "-d", "--wait"]).ok();
        Self { project }
    }

    /// Waits until all are up, each with its whole tree: a crash is over and a daemon has taken over.
    pub(super) fn settled(&self) -> Vec<Service> {
        let whole = |one: &Service| {
            let size = SERVICES.iter().find(|(name, _)| *name == one.name).map_or(0, |(_, size)| *size);
            let keeper = one.pid.and_then(tree::look).map(|process| process.parent);
            one.state == State::Running && keeper.is_some_and(|keeper| tree::descendants(keeper, &[]).len() == size)
        };
        let all = self.project.until(|all| all.len() == SERVICES.len() && all.iter().all(whole), "all are up");
        wait_until("nothing but that is left", || self.processes() == 1 + 3 + 6);
        all
    }

    /// Those of the daemon's children that are keepers, with their trees, and the daemon.
    fn processes(&self) -> usize {
        1 + tree::descendants(daemon(&self.project), &[]).len()
    }

    pub(super) fn service(&self, name: &str) -> Service {
        let answer = ask(&self.project, "GET", &format!("/v1/services/{name}"), "");
        serde_json::from_str(body(&answer)).expect("a service")
    }

    /// By the socket: a command line more for each of a thousand would be measured too.
    pub(super) fn restart(&self, name: &str) {
        let wish = format!(
            r#"{{"request": "", "services": ["{name}"], "all": false, "timeout_ms": null, "no_deps": false, "force": false, "environment": null}}"#
        );
        let answer = ask(&self.project, "POST", "/v1/restart", &wish);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The daemon that lives and is ours.
    pub(super) fn daemon(&self) -> Option<u32> {
        let pid = u32::try_from(lock(&self.project)["pid"].as_u64()?).ok()?;
        lives(pid).then_some(pid)
    }

    /// Another daemon than the killed one is there; who typed it is not waited for.
    pub(super) fn up(&self, killed: u32) {
        let mut up: Option<Foreground> = None;
        wait_until("a new daemon is there", || {
            // The one that was killed may hold its lock a moment longer, and then a command ends in vain.
            if up.as_mut().is_none_or(|up| !up.lives()) {
                up = Some(self.project.spawn(&["up", "-d"]));
            }
            let known = || serde_json::from_str::<serde_json::Value>(&self.lock_text()).is_ok();
            known() && self.daemon().is_some_and(|daemon| daemon != killed) && self.answers()
        });
    }

    fn lock_text(&self) -> String {
        let state = self.project.state().expect("a state folder");
        fs::read_to_string(state.join("lock")).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(crate::faults::socket(&self.project)).is_ok()
    }

    pub(super) fn count(&self) -> Count {
        let answer = ask(&self.project, "GET", "/v1/self", "");
        let own: OwnState = serde_json::from_str(body(&answer)).expect("its own state");
        assert_eq!(own.keepers.len(), SERVICES.len(), "{own:?}");
        let state = self.project.state().expect("a state folder");
        let id = state.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        Count {
            fds: own.fds,
            threads: own.threads,
            rss_kib: own.rss_kib,
            files: files(&state),
            cgroups: cgroups(Path::new("/sys/fs/cgroup"), &id),
            processes: self.processes(),
        }
    }

    /// Down, and nothing is left: not a process, and not a cgroup. The project's own end looks once more.
    pub(super) fn end(self) {
        self.project.devsup(&["down"]).ok();
        self.project.until_gone();
        let state = self.project.state().expect("a state folder");
        let id = state.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        wait_until("no cgroup is left", || cgroups(Path::new("/sys/fs/cgroup"), &id) == 0);
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map(|(_, body)| body).expect("a head and a body")
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = |path: &Path| path.file_name().is_some_and(|name| name == "logs");
    // The journal is rolled once it is long: its old half is no leak.
    let old = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("events."));
    let paths = entries.map(|entry| entry.path()).filter(|path| !logs(path) && !old(path));
    paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Control groups below a folder whose path names the project; 0 where there are none.
fn cgroups(folder: &Path, id: &str) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    folders.map(|path| usize::from(path.to_string_lossy().contains(id)) + cgroups(&path, id)).sum()
}
