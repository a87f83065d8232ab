//! Starting, waiting for and becoming processes.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno as NixErrno;
use nix::sys::prctl;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
pub use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, pidfd_open, pidfd_send_signal};

use super::clock::monotonic;
use super::signal;

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

/// Runs a program to its end, and no longer than this; with this environment, and nothing to read. An error is what it
/// complained of.
pub fn carry_out(program: &Path, args: &[&str], env: &[(&str, &OsStr)], within: Duration) -> Result<(), String> {
    const LOOK_AGAIN: Duration = Duration::from_millis(2);
    let (complaints, stderr) = super::pipe::pipe().map_err(|error| error.to_string())?;
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr))
        .spawn();
    let mut child = child.map_err(|error| format!("`{}`: {error}", program.display()))?;
    let until = monotonic() + within;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if monotonic() < until => std::thread::sleep(LOOK_AGAIN),
            None => {
                drop(child.kill());
                drop(child.wait());
                return Err(format!("`{}` did not end within {} s", program.display(), within.as_secs()));
            }
        }
    };
    let mut text = [0; 1024];
    match super::pipe::read(&complaints, &mut text) {
        _ if status.success() => Ok(()),
        super::pipe::Read::Bytes(read) => Err(String::from_utf8_lossy(&text[..read]).trim().replace('\n', "; ")),
        super::pipe::Read::Empty | super::pipe::Read::End => Err(format!("`{}`: {status}", program.display())),
    }
}

/// Runs a program to its end, and no longer than this, with no environment: says this to it, and answers all that it
/// said. The program reads to the end before it speaks.
pub fn converse(program: &Path, args: &[&str], words: &[u8], within: Duration) -> Result<Vec<u8>, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let mut command = Command::new(program);
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("`{}`: {error}", program.display()))?;
    let until = monotonic() + within;
    let answer = exchange(&mut child, words, until);
    if answer.is_err() {
        drop(child.kill());
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let said = answer?;
    if status.success() { Ok(said) } else { Err(format!("it ended with {status}")) }
}

fn exchange(child: &mut Child, words: &[u8], until: Duration) -> Result<Vec<u8>, String> {
    let sentence = |error: io::Error| error.to_string();
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("it has no ear".to_owned());
    };
    stdin.write_all(words).map_err(sentence)?;
    drop(stdin);
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = until.saturating_sub(monotonic());
        if left.is_zero() {
            return Err("it does not answer".to_owned());
        }
        if super::poll::wait(&[(stdout.as_fd(), super::poll::For::Reading)], Some(left)).map_err(sentence)? == [true] {
            match stdout.read(&mut buffer).map_err(sentence)? {
                0 => return Ok(said),
                read => said.extend_from_slice(&buffer[..read]),
            }
        }
    }
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

/// Has this child of ours been stopped since that was last asked? Answers by which signal. Its end is left to be waited for.
pub fn was_stopped(child: u32) -> Option<i32> {
    let only_stops = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
    match waitid(Id::Pid(as_pid(child)), only_stops) {
        Ok(WaitStatus::Stopped(_, signal)) => Some(signal as i32),
        Ok(_) | Err(_) => None,
    }
}

/// A hold on a process: readable when it has ended, and never another one.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid =
            i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::NONBLOCK)?))
    }

    /// Has it not ended yet? A zombie has.
    pub fn alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            // A signal that waits for us ends even a call that does not wait, and says nothing of the process.
            match poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Err(Errno::INTR) => {}
                answer => return matches!(answer, Ok(0)),
            }
        }
    }

    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(pidfd_send_signal(&self.0, signal)?)
    }

    /// Until it has ended, or this long.
    pub fn wait(&self, within: Duration) -> io::Result<()> {
        super::poll::wait(&[(self.0.as_fd(), super::poll::For::Reading)], Some(within)).map(drop)
    }

    pub fn kill(&self) -> io::Result<()> {
        self.signal(signal::KILL)
    }

    /// Wakes a process that was stopped (SIGSTOP).
    pub fn resume(&self) -> io::Result<()> {
        self.signal(signal::CONT)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
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
    super::limits::change_soft(Resource::Core, Some(0)).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_nobody_is_not() {
        assert!(Pidfd::open(own_pid()).expect("opens").alive());
        assert!(Pidfd::open(u32::MAX).is_err());
        assert_eq!(was_stopped(own_pid()), None, "we are no child of ours");
    }
}
