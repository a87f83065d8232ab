//! Several people, one machine: projects that systemd runs for everybody, who may do what with them, units, reload.

mod others;
mod people;
mod reload;
mod rights;
mod unit;
mod units;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::means::is_root;
use crate::project::{Foreground, Output, Project, binary, wait_until};

/// Everybody may enter the folder; everybody has a binary to run.
pub(crate) fn open_folder(project: &Project) -> PathBuf {
    fs::set_permissions(project.path("."), fs::Permissions::from_mode(0o755)).expect("it is ours");
    open_to_all(project, &binary(), "devsup")
}

/// A program that stands where not everybody may go.
fn open_to_all(project: &Project, program: &Path, name: &str) -> PathBuf {
    let copy = project.path(name);
    // Not a link: its mode is ours to change.
    fs::copy(program, &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

/// A system project, and what its devsup says to systemd.
struct Unit {
    project: Project,
    notify: UnixDatagram,
}

/// As root each service needs a user.
fn fit(manifest: &str) -> String {
    if is_root() { format!("{manifest}\n[defaults]\nuser = \"nobody\"\n") } else { manifest.to_owned() }
}

impl Unit {
    fn new(manifest: &str) -> Self {
        let mut project = Project::new(&fit(manifest));
        fs::set_permissions(project.path("."), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let notify = UnixDatagram::bind(project.path("notify")).expect("a socket");
        notify.set_nonblocking(true).expect("a socket");
        for (variable, folder) in
            [("DEVSUP_SYSTEM_RUN", "run"), ("STATE_DIRECTORY", "var/state"), ("LOGS_DIRECTORY", "var/logs")]
        {
            project.env.insert(variable.into(), project.path(folder).display().to_string());
        }
        Self { project, notify }
    }

    /// As systemd starts it.
    fn start(&self) -> Foreground {
        let mut command = self.project.command(&binary(), &["up", "--system"]);
        command.env("NOTIFY_SOCKET", self.project.path("notify")).env("INVOCATION_ID", "1");
        Foreground::start(command)
    }

    /// Until systemd has heard this; answers all that it heard meanwhile.
    fn until_told(&self, words: &str) -> String {
        let mut heard = String::new();
        wait_until(&format!("systemd is told `{words}`"), || {
            heard.push_str(&self.told());
            heard.contains(words)
        });
        heard
    }

    fn told(&self) -> String {
        let (mut heard, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(count) = self.notify.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
            heard.push('\n');
        }
        heard
    }

    /// Up and ready.
    fn up(manifest: &str) -> (Self, Foreground) {
        let unit = Self::new(manifest);
        let daemon = unit.start();
        unit.until_told("READY=1");
        (unit, daemon)
    }
}

/// Another user, with a group beside their own.
pub(crate) struct Person<'a> {
    pub(crate) project: &'a Project,
    pub(crate) binary: PathBuf,
    pub(crate) uid: u32,
    pub(crate) group: u32,
}

impl Person<'_> {
    #[expect(clippy::disallowed_methods, reason = "another user needs another process")]
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let (uid, group) = (self.uid.to_string(), self.group.to_string());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--groups", &group, "--"]).arg(&self.binary).args(args);
        command.current_dir(self.project.path(".")).env_clear().envs(&self.project.env);
        command.env("HOME", "/nonexistent").env("XDG_STATE_HOME", "/nonexistent");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn spawn(&self, args: &[&str]) -> Foreground {
        Foreground::start(self.command(args))
    }

    fn devsup(&self, args: &[&str]) -> Output {
        self.spawn(args).finish()
    }
}

fn alive(pid: u32) -> bool {
    devsup::sys::tree::look(pid).is_some_and(|process| process.state != 'Z')
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// The daemon of a unit ends by itself, with this code.
#[track_caller]
fn ends(mut daemon: Foreground, code: i32) {
    let status = daemon.ended(Duration::from_mins(1)).expect("it ends");
    assert_eq!(status.code(), Some(code), "{:#?}", daemon.so_far());
}
