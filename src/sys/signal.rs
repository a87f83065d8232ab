//! Sending signals, and what is done with those that arrive.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, Signal, kill as send_signal};
use nix::unistd::Pid;

pub const STOP: i32 = Signal::SIGSTOP as i32;
pub const CONT: i32 = Signal::SIGCONT as i32;
pub const TERM: i32 = Signal::SIGTERM as i32;
pub const KILL: i32 = Signal::SIGKILL as i32;
pub const HUP: i32 = Signal::SIGHUP as i32;
pub const INT: i32 = Signal::SIGINT as i32;
pub const QUIT: i32 = Signal::SIGQUIT as i32;
pub const TSTP: i32 = Signal::SIGTSTP as i32;

fn send_to(pid: i32, signal: i32) -> io::Result<()> {
    Ok(send_signal(Pid::from_raw(pid), Signal::try_from(signal)?)?)
}

/// To one process.
pub fn send(pid: u32, signal: i32) -> io::Result<()> {
    match i32::try_from(pid) {
        // 0 and -1 mean others than one process.
        Ok(pid @ 1..) => send_to(pid, signal),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// To a process group: one call, which no fork inside the group slips through.
pub fn send_group(group: u32, signal: i32) -> io::Result<()> {
    match i32::try_from(group) {
        Ok(group @ 2..) => send_to(-group, signal),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// These are caught and nothing is done. Unlike an ignored one, a caught signal is back to its default after exec.
pub fn catch_and_ignore(signals: &[i32]) -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in signals {
        signal_hook::flag::register(*signal, Arc::clone(&seen))?;
    }
    Ok(())
}

/// Becomes readable whenever a child has ended (or stopped).
pub fn children() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, write)?;
    Ok(read)
}

/// Before an exec: empty mask, and every signal that was ignored when we were born is caught, so that exec resets it.
pub fn all_to_default() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = mask(&status, "SigIgn:").unwrap_or(0);
    for signal in (1..=64).filter(|n| ignored >> (n - 1) & 1 == 1) {
        // SIGILL, SIGFPE and SIGSEGV cannot be caught this way, 32 and 33 belong to libc: they stay as they are.
        if !signal_hook::consts::FORBIDDEN.contains(&signal) && !matches!(signal, 32 | 33) {
            catch_and_ignore(&[signal])?;
        }
    }
    Ok(SigSet::empty().thread_set_mask()?)
}

fn mask(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// `SIGTERM`, for people.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |known| known.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_is_ever_meant() {
        for pid in [0, 1, u32::MAX] {
            assert!(send_group(pid, CONT).is_err());
        }
        assert!(send(0, CONT).is_err());
        assert!(send(u32::MAX, CONT).is_err());
    }

    #[test]
    fn a_mask_is_read_from_the_status_file() {
        assert_eq!(mask("Name:\tx\nSigIgn:\t0000000000001001\n", "SigIgn:"), Some(0x1001));
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(name(TERM), "SIGTERM");
        assert_eq!(name(40), "signal 40");
    }
}
