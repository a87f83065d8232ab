//! One keeper under test, and the folder it works in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use devsup::keeper::protocol::{Birth, Identity, LogSpec, Order, Probes, ReadyBy, Report, Spec, StopSpec, VERSION};
use devsup::keeper::{Given, Link, State};
use devsup::manifest::{Name, StopMode};
use devsup::supervisor::{Exit, RunId};
use devsup::sys::clock::monotonic;
use devsup::sys::pty::Size;
use devsup::sys::tree;
use tempfile::TempDir;

use crate::groups::Group;
use crate::means::skipped;
pub(crate) use crate::place::devsup;

/// Far above what a busy machine needs; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = monotonic() + DEADLINE;
    while !done() {
        assert!(monotonic() < until, "waited too long until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn misbehave() -> String {
    let path = devsup().with_file_name("examples").join("misbehave");
    assert!(path.exists(), "{} is missing: `cargo build --examples`", path.display());
    path.to_str().expect("a path of this machine").to_owned()
}

/// Have we this capability? In a container root lacks some.
pub(crate) fn capable(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("our own");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a set");
    u64::from_str_radix(line.trim(), 16).expect("a mask") >> number & 1 == 1
}

/// CAP_SYS_ADMIN and CAP_SETPCAP: a wall needs no `no_new_privs`.
pub(crate) fn isolates_freely() -> bool {
    capable(21) && capable(8)
}

/// What a run is started with; `spec` may be changed before the start.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) spec: Spec,
    /// Where the run is put.
    pub(crate) group: Option<Group>,
    /// What the service listens on, as `spec` names it.
    pub(crate) sockets: Vec<OwnedFd>,
    /// What [`Setup::start`] starts.
    pub(crate) program: String,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("logs")).expect("a folder for logs");
        fs::write(folder.path().join("lock"), "").expect("a lock");
        let mark = format!("test-{}", folder.path().file_name().expect("a name").display());
        let spec = Spec {
            version: VERSION,
            run: RunId { service: Name::new("a"), number: 4 },
            why: Vec::new(),
            argv: Vec::new(),
            env: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
                ("DEVSUP_RUN".into(), OsString::from(format!("{mark}/a#4"))),
            ],
            project: mark,
            working_dir: folder.path().to_owned(),
            stop: StopSpec { signal: 15, mode: StopMode::Group, timeout: Duration::from_mins(1), command: None },
            logs: LogSpec { file_bytes: 1 << 20, redact: Vec::new(), patterns: Vec::new() },
            daemon: std::process::id(),
            birth: Birth {
                umask: 0o022,
                nice: None,
                limits: [].into(),
                soft: [].into(),
                identity: None,
                isolate: false,
                tty: false,
            },
            ready: ReadyBy::Others,
            sockets: Vec::new(),
            probes: Probes::default(),
        };
        Self { folder, spec, group: None, sockets: Vec::new(), program: misbehave() }
    }

    /// The same in a cgroup of its own; `None`: there is none to be had here.
    pub(crate) fn in_cgroup() -> Option<Self> {
        let group = Some(Group::make("run")?);
        Some(Self { group, ..Self::new() })
    }

    /// Once with what descends from the keeper only, once with a cgroup.
    pub(crate) fn both(test: impl Fn(Self)) {
        test(Self::new());
        match Self::in_cgroup() {
            Some(setup) => test(setup),
            None => skipped("the half with a cgroup: none can be made here"),
        }
    }

    /// As another user, in a folder where that one may write, with a copy of the program that it may execute.
    pub(crate) fn of(identity: Identity) -> Self {
        let mut setup = Self::new();
        fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o777)).expect("our own folder");
        let program = setup.path("misbehave");
        fs::copy(&setup.program, &program).expect("a copy");
        program.to_str().expect("a path of this machine").clone_into(&mut setup.program);
        setup.spec.birth.identity = Some(identity);
        setup
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn wait_for(&self, name: &str) {
        wait_until(&format!("there is a file `{name}`"), || self.path(name).exists());
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Starts `examples/misbehave` with these words.
    pub(crate) fn start(&self, words: &[&str]) -> Kept {
        self.start_argv(&[&[self.program.as_str()], words].concat())
    }

    pub(crate) fn start_argv(&self, argv: &[&str]) -> Kept {
        let spec = Spec {
            argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
            env: self.spec.env.clone(),
            project: self.spec.project.clone(),
            run: self.spec.run.clone(),
            why: Vec::new(),
            working_dir: self.spec.working_dir.clone(),
            stop: self.spec.stop.clone(),
            birth: self.spec.birth.clone(),
            ready: self.spec.ready.clone(),
            sockets: self.spec.sockets.clone(),
            probes: self.spec.probes.clone(),
            logs: LogSpec {
                file_bytes: self.spec.logs.file_bytes,
                redact: self.spec.logs.redact.clone(),
                patterns: self.spec.logs.patterns.clone(),
            },
            ..self.spec
        };
        let logs = fs::File::open(self.path("logs")).expect("the folder for logs");
        let lock = fs::File::open(self.path("lock")).expect("the lock");
        let group = self.group.as_ref().map(|group| group.cgroup.as_fd());
        let sockets = self.sockets.iter().map(AsFd::as_fd).collect();
        let given = Given { log_folder: logs.as_fd(), lock: lock.as_fd(), cgroup: group, sockets };
        let link = Link::spawn_from(&devsup(), &spec, &given).expect("a keeper");
        Kept { link: Some(link), said: Vec::new(), state: State::Open, seen: BTreeSet::new(), project: spec.project }
    }
}

/// A keeper that was started.
pub(crate) struct Kept {
    link: Option<Link>,
    said: Vec<Report>,
    state: State,
    /// Every process that ever was seen in the tree.
    seen: BTreeSet<u32>,
    project: String,
}

impl Kept {
    pub(crate) fn keeper(&self) -> u32 {
        self.link.as_ref().expect("still linked").pid()
    }

    /// All descendants of the keeper now.
    pub(crate) fn tree(&mut self) -> Vec<u32> {
        let tree = tree::descendants(self.keeper(), &[]);
        self.seen.extend(&tree);
        tree
    }

    pub(crate) fn tree_has(&mut self, many: usize) {
        wait_until(&format!("the tree has {many} processes"), || self.tree().len() >= many);
    }

    pub(crate) fn order(&mut self, order: &Order) {
        self.link.as_mut().expect("still linked").order(order).expect("the keeper is there");
    }

    pub(crate) fn attach(&mut self, size: Size, connection: OwnedFd) {
        self.link.as_mut().expect("still linked").attach(size, connection).expect("the keeper is there");
    }

    fn hear(&mut self) {
        let Some(link) = self.link.as_mut() else { return };
        let heard = link.reports();
        self.said.extend(heard.reports);
        self.state = heard.state;
    }

    pub(crate) fn said(&mut self) -> Vec<Report> {
        self.hear();
        self.said.clone()
    }

    /// Waits for a report of this kind.
    pub(crate) fn until<T>(&mut self, what: &str, wanted: impl Fn(&Report) -> Option<T>) -> T {
        let until = monotonic() + DEADLINE;
        loop {
            self.hear();
            if let Some(found) = self.said.iter().find_map(&wanted) {
                return found;
            }
            assert!(self.state == State::Open, "the keeper ended before {what}: {:?}", self.said);
            assert!(monotonic() < until, "waited too long for {what}: {:?}", self.said);
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn started(&mut self) -> u32 {
        let pid = self.until("started", |report| match report {
            Report::Started { pid } => Some(*pid),
            _ => None,
        });
        self.seen.insert(pid);
        pid
    }

    pub(crate) fn start_failure(&mut self) -> String {
        self.until("start failed", |report| match report {
            Report::StartFailed { what, .. } => Some(what.clone()),
            _ => None,
        })
    }

    pub(crate) fn exited(&mut self) -> Exit {
        self.until("exited", |report| match report {
            Report::Exited { exit } => Some(*exit),
            _ => None,
        })
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.said.iter().find_map(|report| match report {
            Report::Exited { exit } => Some(*exit),
            _ => None,
        })
    }

    pub(crate) fn until_gone(&mut self) {
        self.until("gone", |report| matches!(report, Report::Gone).then_some(()));
    }

    pub(crate) fn is_gone(&mut self) -> bool {
        self.said().contains(&Report::Gone)
    }

    /// How the keeper itself ended.
    pub(crate) fn reaped(&mut self) -> Exit {
        let link = self.link.as_mut().expect("still linked");
        let mut exit = None;
        wait_until("the keeper ends", || {
            exit = link.try_reap();
            exit.is_some()
        });
        exit.expect("just waited for")
    }

    /// The daemon dies, as its keeper sees it.
    pub(crate) fn hang_up(&mut self) -> u32 {
        self.tree();
        let link = self.link.take().expect("still linked");
        let keeper = link.pid();
        drop(link);
        keeper
    }

    /// No process that was seen in the tree lives, and none carries the mark of this run.
    pub(crate) fn nothing_is_left(&self) {
        wait_until("all that was started is gone", || {
            let lives = |pid: &u32| tree::look(*pid).is_some_and(|process| process.state != 'Z');
            let marked = devsup::keeper::find_marked(&self.project);
            !self.seen.iter().any(lives) && marked.is_empty()
        });
    }
}

/// A failed test leaves nothing behind either.
impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(link) = &mut self.link {
            drop(link.order(&Order::Kill));
            let until = monotonic() + DEADLINE;
            while link.try_reap().is_none() && monotonic() < until {
                link.reports();
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
