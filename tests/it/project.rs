//! A project of its own for one test: a folder with `services.toml`, a home, a state folder, the real binary; and at the
//! end the proof that nothing of it is left. Each test makes one; they do not know of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devsup::control::api::{Event, Service};
use devsup::sys::clock::monotonic;
use devsup::sys::tree::look;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far above what a busy machine needs; only a failing test waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = monotonic() + DEADLINE;
    while !done() {
        assert!(monotonic() < until, "waited too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) use crate::place::devsup as binary;

/// The scriptable badly behaved program, as a word for a manifest.
pub(crate) fn misbehave() -> String {
    let path = binary().with_file_name("examples").join("misbehave");
    assert!(path.exists(), "{} is missing: `cargo build --examples`", path.display());
    path.to_str().expect("a path of this machine").to_owned()
}

/// What a command that has ended said. `status` is -1 when a signal ended it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ends(0)
    }

    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

pub(crate) struct Project {
    folder: TempDir,
    /// What every command is typed in.
    pub(crate) env: BTreeMap<String, String>,
    /// Checked at the end: every one of these is gone. Pid and start, for a number is given again after a while.
    seen: Mutex<BTreeSet<(u32, u64)>>,
}

impl Project {
    pub(crate) fn new(manifest: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("dt").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("home")).expect("a home");
        let home = folder.path().join("home").display().to_string();
        let env = BTreeMap::from([
            ("PATH".into(), std::env::var("PATH").unwrap_or_default()),
            ("XDG_STATE_HOME".into(), folder.path().join("state").display().to_string()),
            ("HOME".into(), home),
        ]);
        let project = Self { folder, env, seen: Mutex::default() };
        project.write("services.toml", manifest);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// The project's state folder, if there is one.
    pub(crate) fn state(&self) -> Option<PathBuf> {
        fs::read_dir(self.path("state/devsup")).ok()?.flatten().next().map(|entry| entry.path())
    }

    /// With our folder, our environment and nothing else.
    #[expect(clippy::disallowed_methods, reason = "the command line is what is tested")]
    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path()).env_clear().envs(&self.env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Types a command and waits for its end.
    pub(crate) fn devsup(&self, args: &[&str]) -> Output {
        self.spawn(args).finish()
    }

    /// Runs another program here and waits for its end.
    pub(crate) fn run(&self, program: &Path, args: &[&str]) -> Output {
        Foreground::start(self.command(program, args)).finish()
    }

    /// Types a command that stays in the foreground.
    pub(crate) fn spawn(&self, args: &[&str]) -> Foreground {
        Foreground::start(self.command(&binary(), args))
    }

    pub(crate) fn up_sandbox(&self) -> Output {
        let output = self.devsup(&["up", "-d", "--wait", "--sandbox"]).ok();
        self.ps();
        output
    }

    /// `ps --format json` of a project that is up.
    pub(crate) fn ps(&self) -> Vec<Service> {
        services(&self.devsup(&["ps", "--format", "json"]).ok().stdout, &self.seen)
    }

    pub(crate) fn service(&self, name: &str) -> Service {
        self.ps().into_iter().find(|service| service.name == name).expect("a service of this name")
    }

    /// Waits until the services are so; answers how they are then.
    pub(crate) fn until(&self, mut so: impl FnMut(&[Service]) -> bool, what: &str) -> Vec<Service> {
        let until = monotonic() + DEADLINE;
        loop {
            let output = self.devsup(&["ps", "--format", "json"]);
            let found = services(&output.stdout, &self.seen);
            if so(&found) {
                return found;
            }
            assert!(monotonic() < until, "waited too long until {what}: {found:#?} {}", output.stderr);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The same for one of them.
    pub(crate) fn until_one(&self, name: &str, so: impl Fn(&Service) -> bool, what: &str) -> Service {
        let all = self.until(|all| all.iter().any(|service| service.name == name && so(service)), what);
        all.into_iter().find(|service| service.name == name).expect("just found")
    }

    /// All that the runs of a service wrote, oldest first, as it is stored.
    pub(crate) fn log(&self, service: &str) -> String {
        let Some(folder) = self.state().map(|state| state.join("logs").join(service)) else { return String::new() };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "log"));
        files.sort();
        files.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()).collect()
    }

    pub(crate) fn until_log(&self, service: &str, words: &str) {
        wait_until(&format!("`{service}` says `{words}`"), || self.log(service).contains(words));
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let output = self.devsup(&["events", "--format", "json"]).ok();
        output.stdout.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
    }

    /// Where the embedded AWS of this project listens, as a service that is up sees it.
    pub(crate) fn sandbox_url(&self, service: &str) -> String {
        let output = self.devsup(&["env", service]).ok();
        let url = output.stdout.lines().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL="));
        url.expect("a service in the sandbox").to_owned()
    }

    /// The project's cgroups: where devsup says it made them, and where it would.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let Some(state) = self.state() else { return Vec::new() };
        let noted = fs::read_to_string(state.join("cgroup")).unwrap_or_default();
        let name = format!("devsup-{}", state.file_name().expect("its id").display());
        let here = devsup::sys::cgroup::own().map(|own| own.join(name));
        noted.lines().map(PathBuf::from).chain(here).filter(|path| path.exists()).collect()
    }

    /// Waits until no process of this project lives: a keeper ends a moment after the tree it kept.
    pub(crate) fn until_gone(&self) {
        wait_until("everything is gone", || self.alive().is_empty());
    }

    /// Processes of this project that live: daemon, sandbox, keepers, services and what they left.
    pub(crate) fn alive(&self) -> Vec<(u32, String)> {
        let id = self.state().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let mark = id.map(|id| format!("DEVSUP_RUN={id}/"));
        let folder = self.folder.path().to_str().expect("a path of this machine").to_owned();
        let seen = self.seen.lock().expect("no panic").clone();
        let ours = |pid: u32| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let has = |file: &str, words: &str| {
                String::from_utf8_lossy(&fs::read(proc.join(file)).unwrap_or_default()).contains(words)
            };
            let points = |path: PathBuf| fs::read_link(path).is_ok_and(|to| to.starts_with(&folder));
            let fds = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
            look(pid).is_some_and(|process| seen.contains(&(pid, process.start_time)))
                || has("environ", &folder)
                || has("cmdline", &folder)
                || mark.as_ref().is_some_and(|mark| has("environ", mark))
                || points(proc.join("cwd"))
                || fds.into_iter().any(|fd| points(fd.path()))
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|&pid| pid != std::process::id() && ours(pid)).filter_map(living).collect()
    }
}

/// Reads an object a line, and remembers the pids.
fn services(lines: &str, seen: &Mutex<BTreeSet<(u32, u64)>>) -> Vec<Service> {
    let all: Vec<Service> = lines.lines().map(|line| serde_json::from_str(line).expect("a service a line")).collect();
    let found = all.iter().filter_map(|service| look(service.pid?)).map(|process| (process.pid, process.start_time));
    seen.lock().expect("no panic").extend(found);
    all
}

/// A zombie has ended: it only waits to be reaped.
fn living(pid: u32) -> Option<(u32, String)> {
    let process = look(pid).filter(|process| process.state != 'Z')?;
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Some((pid, format!("{} {}", process.state, String::from_utf8_lossy(&words).replace('\0', " "))))
}

/// Also after a failed test nothing is left; after one that did not fail, nothing had to be killed.
impl Drop for Project {
    fn drop(&mut self) {
        let mut down = self.spawn(&["down"]);
        let ended = down.ended(DEADLINE);
        let until = monotonic() + Duration::from_secs(if ended.is_some() { 10 } else { 0 });
        while !self.alive().is_empty() && monotonic() < until {
            thread::sleep(Duration::from_millis(20));
        }
        let (groups, left) = (self.cgroups(), self.alive());
        for (pid, _) in &left {
            kill(Pid::from_raw(i32::try_from(*pid).expect("a pid")), Signal::SIGKILL).ok();
        }
        for path in &groups {
            crate::groups::remove(path);
        }
        if !thread::panicking() {
            assert!(ended.is_some(), "`down` did not end: {:#?}", down.so_far());
            let in_order = ended.is_some_and(|status| status.success());
            assert!(!in_order || groups.is_empty(), "cgroups left after `down`: {groups:?}");
            assert!(left.is_empty(), "left after `down`: {left:#?}\n{:#?}", down.so_far());
        }
    }
}

/// A command that goes on. It is killed, alone, when dropped.
pub(crate) struct Foreground {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

impl Foreground {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stdout = Heard::from(child.stdout.take());
        let stderr = Heard::from(child.stderr.take());
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).expect("a pid")), signal).expect("it has not been reaped");
    }

    /// As at a keyboard: of a command that was given a pipe to read from.
    pub(crate) fn types(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("a pipe").write_all(keys).expect("it reads");
    }

    pub(crate) fn so_far(&self) -> Output {
        Output { status: -1, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// Waits until it has said this, on either stream.
    pub(crate) fn until_says(&mut self, words: &str) {
        let until = monotonic() + DEADLINE;
        loop {
            let ended = self.child.try_wait().expect("our child").is_some();
            let said = self.so_far();
            if said.stdout.contains(words) || said.stderr.contains(words) {
                return;
            }
            assert!(!ended && monotonic() < until, "`{words}` was not said: {said:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    pub(crate) fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let until = monotonic() + within;
        loop {
            match self.child.try_wait().expect("our child") {
                None if monotonic() < until => thread::sleep(Duration::from_millis(5)),
                ended => return ended,
            }
        }
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let Some(status) = self.ended(DEADLINE) else { panic!("it did not end: {:#?}", self.so_far()) };
        Output { status: status.code().unwrap_or(-1), stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if self.lives() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// What came out of a pipe until now.
#[derive(Default)]
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn from(pipe: Option<impl Read + Send + 'static>) -> Self {
        let Some(mut pipe) = pipe else { return Self::default() };
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().expect("no panic").extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic")).into_owned()
    }

    /// Of a command that has ended: nobody else holds its pipe.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text()
    }
}
