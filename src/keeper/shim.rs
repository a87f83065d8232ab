//! `devsup __shim`: the short life between keeper and service. Makes the process what was promised, then becomes it,
//! keeping the pid.
//!
//! fd 0 is the socket to the keeper, 1 and 2 are the pipes to the log, or the terminal. What goes wrong is said over the socket in one
//! sentence; when exec closes it, the service is running.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

use super::birth;
use super::failure::{self, Failure};
use super::protocol::Spec;
use super::starter::{Task, What, Word};
use crate::sys::cgroup::Cgroup;
use crate::sys::packet::Received;
use crate::sys::{descriptors, memfd, packet, process, pty, signal};

/// Services go before keepers when memory is short.
const OOM_SCORE: i32 = 200;
/// sd_listen_fds(3): SD_LISTEN_FDS_START
const FIRST_SOCKET: i32 = 3;

/// Where a bare name is looked for when the service has no PATH.
pub(super) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// `devsup __shim`: fd 0 is the socket to the keeper; becomes the service.
pub fn shim() -> ExitCode {
    // The last step in the order of things, and done while /proc/self is still ours to write to.
    process::more_killable(OOM_SCORE);
    let Ok(mut socket) = first_acts() else { return ExitCode::FAILURE };
    let failure = match become_it(&mut socket) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    // When the keeper is gone there is nobody left to tell.
    drop(say(&socket, &Word::Failed { stage: failure.stage.to_owned(), what: failure.what }));
    ExitCode::FAILURE
}

fn first_acts() -> io::Result<OwnedFd> {
    process::hide()?;
    let socket = descriptors::take_stdin()?;
    descriptors::null_stdin()?;
    descriptors::close_all_on_exec();
    Ok(socket)
}

enum Never {}

fn become_it(socket: &mut OwnedFd) -> Result<Never, Failure> {
    let (task, mut spec, mut given) = receive(socket).map_err(|e| Failure::of("start", &e))?;
    // Before all else: whatever comes of this process is in there too.
    let cgroup = if task.cgroup { given.next().map(Cgroup::from) } else { None };
    cgroup.map_or(Ok(()), |group| group.join()).map_err(|e| Failure::of("cgroup", &e))?;
    if let Some(socket) = task.notify {
        // Of two with one name the first would count, which may be the manifest's.
        spec.env.retain(|(name, _)| name != "NOTIFY_SOCKET");
        spec.env.push(("NOTIFY_SOCKET".into(), socket.into()));
    }
    // Open until exec, and after it.
    let sockets: Vec<OwnedFd> = given.by_ref().take(task.sockets).collect();
    let _sockets = pass(socket, sockets, &mut spec)?;
    let _ready = task.ready_fd.zip(given.next()).map(|(number, fd)| place(socket, number, fd)).transpose()?;
    process::new_session().map_err(|e| Failure::of("session", &e))?;
    signal::all_to_default().map_err(|e| Failure::of("session", &e))?;
    // Of the service only: what runs beside it must not take the terminal from it.
    if spec.birth.tty && task.what == What::Service {
        pty::take_as_own().map_err(|e| Failure::of("terminal", &e))?;
    }
    let argv = match task.what {
        What::Service => &spec.argv,
        What::StopCommand => spec.stop.command.as_ref().unwrap_or(&spec.argv),
        What::ReadyProbe => spec.probes.ready.as_ref().unwrap_or(&spec.argv),
        What::LiveProbe => spec.probes.live.as_ref().unwrap_or(&spec.argv),
    };
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let strings = Strings::of(argv, &spec.env)?;
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let candidates = candidates(program, path.as_deref());

    birth::temper(&spec.birth)?;
    say(socket, &Word::Isolation { how: birth::isolate(&spec.birth, task.what) })?;
    birth::limit(&spec.birth)?;
    birth::assume(&spec.birth)?;
    // As who we are now: the folder may be closed to whom we were, or to whom we are.
    process::change_dir(&spec.working_dir).map_err(|e| failure::working_dir(&spec.working_dir, &e))?;
    follow(task.keeper).map_err(|e| Failure::of("session", &e))?;
    say(socket, &Word::Executing)?;
    Err(execute(program, &candidates, &strings, &spec.working_dir))
}

fn say(socket: &OwnedFd, word: &Word) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(word).map_err(|e| Failure::of("start", &e.into()))?;
    packet::send(socket, &bytes, &[]).map(drop).map_err(|e| Failure::of("start", &e))
}

/// With what else was given, in the order of [`Task`].
fn receive(socket: &OwnedFd) -> io::Result<(Task, Spec, std::vec::IntoIter<OwnedFd>)> {
    let Received::Packet(bytes, descriptors) = packet::receive(socket)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let mut descriptors = descriptors.into_iter();
    let spec = memfd::read(descriptors.next().ok_or(io::ErrorKind::InvalidData)?)?;
    Ok((serde_json::from_slice(&bytes)?, serde_json::from_slice(&spec)?, descriptors))
}

/// From 3 on, and said so as sd_listen_fds(3) has it.
fn pass(socket: &mut OwnedFd, sockets: Vec<OwnedFd>, spec: &mut Spec) -> Result<Vec<OwnedFd>, Failure> {
    if sockets.is_empty() {
        return Ok(sockets);
    }
    let said = |name: &str| ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"].contains(&name);
    spec.env.retain(|(name, _)| !name.to_str().is_some_and(said));
    spec.env.push(("LISTEN_FDS".into(), sockets.len().to_string().into()));
    spec.env.push(("LISTEN_FDNAMES".into(), spec.sockets.join(":").into()));
    spec.env.push(("LISTEN_PID".into(), process::own_pid().to_string().into()));
    let last = FIRST_SOCKET + i32::try_from(sockets.len()).unwrap_or(i32::MAX);
    let placed = (|| -> io::Result<Vec<OwnedFd>> {
        *socket = descriptors::above(socket, last)?;
        // All out of the way before the first is put in its place.
        let moved: Vec<OwnedFd> =
            sockets.into_iter().map(|fd| descriptors::moved_above(fd, last)).collect::<io::Result<_>>()?;
        (FIRST_SOCKET..).zip(&moved).map(|(number, fd)| descriptors::at_number(fd, number)).collect()
    })();
    placed.map_err(|e| Failure::of("sockets", &e))
}

/// The number that was promised, whoever has it: of what is open here, only the socket and `fd` itself may.
fn place(socket: &mut OwnedFd, number: u32, fd: OwnedFd) -> Result<OwnedFd, Failure> {
    let placed = i32::try_from(number).map_err(io::Error::other).and_then(|number| {
        *socket = descriptors::above(socket, number)?;
        let fd = descriptors::moved_above(fd, number)?;
        descriptors::at_number(&fd, number)
    });
    placed.map_err(|e| failure::ready_fd(number, &e))
}

/// We end when our keeper does. After the last change of who we are, which would undo it.
fn follow(keeper: u32) -> io::Result<()> {
    process::die_with_parent()?;
    if process::parent() != keeper {
        // It died before we asked to die with it.
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// Arguments and environment as exec wants them.
struct Strings {
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Strings {
    fn of(argv: &[String], env: &[(OsString, OsString)]) -> Result<Self, Failure> {
        let argv = argv.iter().map(|arg| CString::new(arg.as_str())).collect::<Result<_, _>>();
        let argv = argv.map_err(|_| failure::zero_byte("an argument of `command`"))?;
        let entry = |(name, value): &(OsString, OsString)| {
            let mut entry = name.clone().into_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            CString::new(entry).map_err(|_| failure::zero_byte(&format!("variable `{}`", name.to_string_lossy())))
        };
        Ok(Self { argv, env: env.iter().map(entry).collect::<Result<_, _>>()? })
    }
}

/// The files to try, in order: the one that is meant, or one a folder of PATH. Relative ones are relative to the
/// working folder, which we are in.
pub(super) fn candidates(program: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|folder| PathBuf::from(OsStr::from_bytes(if folder.is_empty() { b"." } else { folder })).join(program))
        .collect()
}

/// Tries one after the other, as a shell does: a file that is not there is passed over, one that may not be executed is
/// remembered.
fn execute(program: &str, candidates: &[PathBuf], strings: &Strings, folder: &std::path::Path) -> Failure {
    let mut denied = None;
    for candidate in candidates {
        let Ok(file) = CString::new(candidate.as_os_str().as_bytes()) else { continue };
        let error = process::exec(&file, &strings.argv, &strings.env);
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        // A file that is there but whose interpreter is not is also "not found".
        if missing && !candidate.exists() && candidates.len() > 1 {
            continue;
        }
        if error.kind() == io::ErrorKind::PermissionDenied && candidates.len() > 1 {
            denied.get_or_insert_with(|| failure::command(program, candidate, folder, &error));
            continue;
        }
        return failure::command(program, candidate, folder, &error);
    }
    denied.unwrap_or_else(|| failure::not_in_path(program, candidates, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_a_path_and_a_name_is_looked_for() {
        assert_eq!(candidates("./x", None), [PathBuf::from("./x")]);
        let found = candidates("x", Some(OsStr::new("/a::b")));
        assert_eq!(found, [PathBuf::from("/a/x"), PathBuf::from("./x"), PathBuf::from("b/x")]);
        assert_eq!(candidates("x", None).len(), 3);
    }

    #[test]
    fn a_zero_byte_is_named_without_its_value() {
        let env = [(OsString::from("TOKEN"), OsString::from("s3cret\0"))];
        let failure = Strings::of(&["x".into()], &env).err().unwrap();
        assert!(failure.what.contains("`TOKEN`") && !failure.what.contains("s3cret"), "{}", failure.what);
    }
}
