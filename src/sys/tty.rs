//! The terminal, and what comes from it: whether a stream is one, its width, Ctrl-C and hang-up, and becoming a command.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::str::FromStr;

use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::io::AsyncReadExt;

pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// The number of a signal named with or without `SIG`, in any case, or given as a number of this machine.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok().map(|signal| signal as i32);
    }
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

/// What the person, or the machine, asks of a command that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Ctrl-C.
    Interrupt,
    Terminate,
    /// The terminal is gone.
    HangUp,
}

/// INT, TERM and HUP as a queue, instead of the end of the process. Must be made inside a tokio runtime.
pub struct Interruptions {
    interrupt: tokio::net::UnixStream,
    terminate: tokio::net::UnixStream,
    hang_up: tokio::net::UnixStream,
}

impl Interruptions {
    pub fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: pipe(SIGINT)?, terminate: pipe(SIGTERM)?, hang_up: pipe(SIGHUP)? })
    }

    /// The next one. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> Interruption {
        let (mut a, mut b, mut c) = ([0], [0], [0]);
        tokio::select! {
            _ = self.interrupt.read(&mut a) => Interruption::Interrupt,
            _ = self.terminate.read(&mut b) => Interruption::Terminate,
            _ = self.hang_up.read(&mut c) => Interruption::HangUp,
        }
    }
}

pub(super) fn pipe(signal: i32) -> io::Result<tokio::net::UnixStream> {
    let (read, write) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal, write)?;
    read.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(read)
}

/// Replaces this process by a command in a folder, with exactly this environment, in which it is also looked up.
/// Comes back only with the reason why not.
pub fn become_command(argv: &[String], env: &[(OsString, OsString)], dir: &Path) -> io::Error {
    let Some((program, arguments)) = argv.split_first() else {
        return io::Error::from(io::ErrorKind::InvalidInput);
    };
    if let Err(error) = std::env::set_current_dir(dir) {
        return error;
    }
    #[expect(clippy::disallowed_methods, reason = "this is sys, where processes are started")]
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().envs(env.iter().map(|(name, value)| (name, value))).exec()
}
