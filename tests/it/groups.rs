//! cgroups of the tests' own: to put runs in, to freeze processes in, to be given away. Each is removed when dropped, and
//! whoever is in it ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use devsup::sys::cgroup::{Cgroup, is_populated, own};
use devsup::sys::clock::monotonic;

/// Whether devsup finds a cgroup here: then it must use it.
pub(crate) fn can_be_made() -> bool {
    Group::make("can").is_some()
}

pub(crate) struct Group {
    pub(crate) path: PathBuf,
    pub(crate) cgroup: Cgroup,
}

impl Group {
    /// In the group that the tests are in; `None`: it may not be made here.
    pub(crate) fn make(name: &str) -> Option<Self> {
        Self::make_in(&own()?, name).ok()
    }

    fn make_in(above: &Path, name: &str) -> io::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("dt-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Cgroup::open(&path)?;
        Ok(Self { path, cgroup })
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        fs::write(self.path.join("cgroup.freeze"), if frozen { "1" } else { "0" }).expect("ours to freeze");
    }

    pub(crate) fn is_populated(&self) -> bool {
        self.cgroup.events().is_ok_and(|events| is_populated(&events))
    }

    /// Makes it what a unit with `Delegate=yes` gets.
    pub(crate) fn give_to(&self, uid: u32) {
        for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            std::os::unix::fs::chown(self.path.join(name), Some(uid), Some(uid)).expect("root may");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.cgroup.kill().ok();
        remove(&self.path);
    }
}

/// Who was killed leaves a moment later.
pub(crate) fn remove(path: &Path) {
    let (Some(above), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let until = monotonic() + Duration::from_secs(10);
    while path.exists() && Cgroup::open(above).and_then(|above| above.remove(name)).is_err() && monotonic() < until {
        thread::sleep(Duration::from_millis(10));
    }
}

/// A group of the old kind, in which SIGKILL does nothing until it is thawed: the nearest to a process in state D that a test
/// can make. `None`: this machine has none, or we may not.
pub(crate) struct Ice {
    path: PathBuf,
}

impl Ice {
    pub(crate) fn make() -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/freezer").join(format!(
            "dt-ice-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        fs::create_dir(&path).ok()?;
        path.join("freezer.state").exists().then_some(Self { path })
    }

    pub(crate) fn take(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("root may");
        self.set("FROZEN");
    }

    pub(crate) fn set(&self, state: &str) {
        let file = self.path.join("freezer.state");
        crate::project::wait_until("it is so", || {
            fs::write(&file, state).expect("root may");
            fs::read_to_string(&file).expect("root may").trim() == state
        });
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        fs::write(self.path.join("freezer.state"), "THAWED").ok();
        let until = monotonic() + Duration::from_secs(10);
        while self.path.exists() && fs::remove_dir(&self.path).is_err() && monotonic() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
