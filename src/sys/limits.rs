//! What a process may use, and how it is favoured: setrlimit(2), setpriority(2).

use std::fs;
use std::io;

pub use rustix::process::Resource;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// Sets both limits of this process and of all it starts. `None`: unlimited.
pub fn set(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: soft, maximum: hard })?)
}

/// Changes the soft limit alone, to at most the hard one. Answers the one there was, if that was another.
pub fn change_soft(resource: Resource, soft: Option<u64>) -> io::Result<Option<Option<u64>>> {
    let Rlimit { current, maximum } = getrlimit(resource);
    // `None` is above all numbers.
    let soft = soft.map_or(maximum, |soft| Some(maximum.map_or(soft, |maximum| soft.min(maximum))));
    if soft == current {
        return Ok(None);
    }
    set(resource, soft, maximum)?;
    Ok(Some(current))
}

/// The hard limit there is now; `None`: unlimited.
pub fn hard(resource: Resource) -> Option<u64> {
    getrlimit(resource).maximum
}

/// The soft limit there is now; `None`: unlimited.
pub fn soft(resource: Resource) -> Option<u64> {
    getrlimit(resource).current
}

/// More open files than this no process may have, root's included.
pub fn most_open_files() -> Option<u64> {
    fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

/// -20 (most favoured) to 19, of this process and all it starts.
pub fn set_niceness(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

pub fn niceness() -> io::Result<i32> {
    Ok(rustix::process::getpriority_process(None)?)
}
