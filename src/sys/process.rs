//! Starting, waiting for and becoming processes.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno as NixErrno;
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
pub use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, Rlimit};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Ended(u32, End),
    /// There are children, and none has ended.
    Alive,
    NoChildren,
}

/// What a started process has on 0 1 2.
pub struct Stdio3 {
    pub stdin: OwnedFd,
    /// `None`: `/dev/null`.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Our own program, also after its file was replaced or deleted.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// Starts a program with exactly this environment. Without `pre_exec`, so that std takes the fast road (posix_spawn).
pub fn start(program: &Path, args: &[&str], env: &[(&str, &str)], stdio: Stdio3) -> io::Result<u32> {
    let or_null = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let child = Command::new(program)
        .arg0("devsup")
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::from(stdio.stdin))
        .stdout(or_null(stdio.stdout))
        .stderr(or_null(stdio.stderr))
        .spawn()?;
    Ok(child.id())
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// Looks, without waiting, whether a child has ended: this one, or any (only for a process that started all its children
/// itself).
pub fn wait(child: Option<u32>) -> Waited {
    loop {
        return match waitpid(child.map(as_pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => Waited::Ended(pid.as_raw().unsigned_abs(), End::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                Waited::Ended(pid.as_raw().unsigned_abs(), End::Signal(signal as i32))
            }
            Ok(WaitStatus::StillAlive) => Waited::Alive,
            Ok(_) | Err(NixErrno::EINTR) => continue,
            Err(_) => Waited::NoChildren,
        };
    }
}

/// A handle that becomes readable when the process ends, and never means another one.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

pub fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let signal = rustix::process::Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_send_signal(pidfd, signal)?)
}

pub fn own_pid() -> u32 {
    std::process::id()
}

pub fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// A new session and group, without a terminal.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Orphans among our descendants become our children.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// No core dump of us, and nobody of our own uid reads our memory, environment or descriptors. Ends at the next exec.
pub fn hide() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// No core dumps here and below, unless the limit is raised again.
pub fn no_core() -> io::Result<()> {
    let maximum = rustix::process::getrlimit(Resource::Core).maximum;
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?)
}

/// We get SIGKILL when the thread that started us ends. To be followed by a look at [`parent`].
pub fn die_with_parent() -> io::Result<()> {
    Ok(prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)
}

/// What `ps` and `pkill` see; 15 bytes, the rest is cut.
pub fn rename(name: &str) -> io::Result<()> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(15);
    let name = CString::new(bytes)?;
    Ok(prctl::set_name(&name)?)
}

/// Best effort: an ordinary user may only make it worse, which is what we do.
pub fn more_killable(by: i32) {
    const PATH: &str = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or(0);
    // A system that refuses this is no reason not to start the service.
    drop(fs::write(PATH, (now + by).min(1000).to_string()));
}

pub fn change_dir(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::chdir(path)?)
}

/// Becomes another program. Returns only when that failed.
pub fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    match nix::unistd::execve(program, argv, env) {
        Ok(never) => match never {},
        Err(e) => e.into(),
    }
}

/// The current user's id, as the kernel checks it.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// This machine as `uname -m` says it.
pub fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// May we execute this file, as far as its mode and the folders above it tell?
pub fn may_execute(path: &OsStr) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The mode bits that files get no more.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask & 0o777));
}
