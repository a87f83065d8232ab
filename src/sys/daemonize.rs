//! What makes a process a daemon: our own binary started again, a session of its own, nothing inherited, nothing dumpable.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{DumpableBehavior, Resource, set_child_subreaper, set_dumpable_behavior, setsid};

use super::limits;

/// Starts this binary again, also after the file on disk was replaced.
#[expect(clippy::disallowed_methods, reason = "sys is where processes are started")]
pub fn start_self(word: &str, stdin: OwnedFd) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg(word)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Becomes this binary again, the same process: `word` and what it is for, for whoever looks at the list of processes.
/// Comes back only with the reason why not.
#[expect(clippy::disallowed_methods, reason = "sys is where processes are started")]
pub fn become_self(word: &str, about: &Path, stdin: OwnedFd) -> io::Error {
    Command::new("/proc/self/exe").arg0("devsup").arg(word).arg(about).stdin(Stdio::from(stdin)).exec()
}

/// Starts this binary again with pipes to its stdin and from its stdout; what it complains of goes to `stderr`.
#[expect(clippy::disallowed_methods, reason = "sys is where processes are started")]
pub fn start_self_piped(args: &[&str], stderr: File) -> io::Result<Child> {
    Command::new("/proc/self/exe").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn()
}

/// A stream socket pair, both ends close-on-exec.
pub fn socket_pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Takes descriptor 0 for ourselves, as a socket, and puts `/dev/null` on 0, 1 and 2.
pub fn take_stdin() -> io::Result<UnixStream> {
    let stdin = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(UnixStream::from(stdin))
}

/// Takes descriptor 0 for ourselves, as a file, and puts `/dev/null` there. What 1 and 2 are stays.
pub fn take_stdin_file() -> io::Result<File> {
    let stdin = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(File::from(stdin))
}

/// What a process had before it became a daemon: what it starts gets it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    pub umask: u32,
    /// Soft limits, where ours is another now; `None` in them: unlimited.
    pub core: Option<Option<u64>>,
    pub nofile: Option<Option<u64>>,
}

/// No terminal, no group, no descriptor, no core file and no reader of our memory; as many open files as we may have;
/// orphans of our descendants come to us. Answers what was so before.
pub fn detach() -> io::Result<Came> {
    // A process group's leader cannot; then its session is its own already or nothing can be done about it.
    if let Err(errno) = setsid() {
        debug_assert_eq!(errno, rustix::io::Errno::PERM);
    }
    close_fds::set_fds_cloexec(3, &[]);
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)).as_raw_mode();
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let core = limits::change_soft(Resource::Core, Some(0))?;
    // Each run takes several, and 1024 is what systemd and most shells give. It may be refused, and is no reason to end.
    let nofile = limits::change_soft(Resource::Nofile, limits::hard(Resource::Nofile)).unwrap_or_default();
    set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(Came { umask, core, nofile })
}

pub fn enter(folder: &Path) -> io::Result<()> {
    Ok(rustix::process::chdir(folder)?)
}

/// What `ps -o comm` shows; the kernel cuts it to 15 bytes.
pub fn set_comm(name: &str) {
    if let Ok(name) = CString::new(name) {
        // A name is decoration: its failure changes nothing.
        rustix::thread::set_name(&name).ok();
    }
}

/// Every INT, TERM and HUP from now on is one byte to read from here.
pub fn end_signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Eight bytes from the kernel's generator.
pub fn seed() -> u64 {
    let mut bytes = [0_u8; 8];
    let taken = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    if taken.is_err() { u64::from(std::process::id()) } else { u64::from_ne_bytes(bytes) }
}
