//! `attack`: tries to get at another process in every way that a process of the same user has.
//!
//! One line a way, `attack NAME of PID: got` or `…: denied (why)`. Nothing of what was got is shown.

use std::fs;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// `who`: `parent`, `child` (made for it), `@FILE` with a pid a line, or a pid.
pub(crate) fn attack(who: &str) -> String {
    let mut child = None;
    let pids = match who {
        "parent" => vec![std::os::unix::process::parent_id()],
        "child" => vec![child.insert(asleep()).id()],
        list if list.starts_with('@') => {
            let text = fs::read_to_string(&list[1..]).expect("a list of pids");
            text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
        }
        pid => vec![pid.parse().expect("a pid")],
    };
    let said = pids.iter().map(|pid| attack_one(*pid)).collect();
    if let Some(child) = &mut child {
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    said
}

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn asleep() -> Child {
    let program = std::env::current_exe().expect("our own path");
    let mut child = Command::new(program);
    // It says so when it is this program, and no copy of us any more.
    let mut child = child.args(["say", "up", "sleep", "600"]).stdout(Stdio::piped()).spawn().expect("a child");
    child.stdout.take().expect("a pipe").read_exact(&mut [0; 3]).expect("it is up");
    child
}

type Way = (&'static str, fn(u32) -> io::Result<()>);

fn attack_one(pid: u32) -> String {
    let ways: [Way; 11] = [
        ("environ", |pid| has_bytes(pid, "environ")),
        ("maps", |pid| has_bytes(pid, "maps")),
        ("mem", |pid| fs::File::open(format!("/proc/{pid}/mem")).map(drop)),
        ("cwd", |pid| fs::read_link(format!("/proc/{pid}/cwd")).map(drop)),
        ("exe", |pid| fs::read_link(format!("/proc/{pid}/exe")).map(drop)),
        ("fd-link", |pid| fs::read_link(format!("/proc/{pid}/fd/1")).map(drop)),
        ("fd-open", |pid| fs::File::open(format!("/proc/{pid}/fd/0")).map(drop)),
        ("fd-get", take_descriptor),
        ("vm-read", read_memory),
        ("ptrace", trace),
        ("signal", |pid| Ok(kill(number(pid), Signal::SIGWINCH)?)),
    ];
    let line = |(name, way): Way| match way(pid) {
        Ok(()) => format!("attack {name} of {pid}: got\n"),
        Err(error) => format!("attack {name} of {pid}: denied ({error})\n"),
    };
    ways.into_iter().map(line).collect()
}

fn number(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

/// Some kernels let it be opened, and then say nothing.
fn has_bytes(pid: u32, file: &str) -> io::Result<()> {
    match fs::read(format!("/proc/{pid}/{file}"))? {
        bytes if bytes.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn take_descriptor(pid: u32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(number(pid).as_raw()).expect("a pid");
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let flags = rustix::process::PidfdGetfdFlags::empty();
    rustix::process::pidfd_getfd(process.as_fd(), 1, flags)?;
    Ok(())
}

/// Nothing is mapped there: who may read is told so (EFAULT), and who may not is not.
fn read_memory(pid: u32) -> io::Result<()> {
    let mut byte = [0];
    let remote = [RemoteIoVec { base: 0x1000, len: 1 }];
    match process_vm_readv(number(pid), &mut [IoSliceMut::new(&mut byte)], &remote) {
        Ok(_) | Err(nix::errno::Errno::EFAULT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn trace(pid: u32) -> io::Result<()> {
    ptrace::attach(number(pid))?;
    waitpid(number(pid), None)?;
    Ok(ptrace::detach(number(pid), None)?)
}
