//! `limits`: what a service's processes may use, as types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Of each process: setrlimit(2).
    pub resources: BTreeMap<Resource, Rlimit>,
    /// Bytes of the whole tree; needs the cgroup controller `memory`.
    pub memory: Option<u64>,
    /// Processes and threads of the whole tree; needs the cgroup controller `pids`.
    pub pids: Option<u64>,
}

/// The word of the manifest is the shell's and limits.conf(5)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Bytes of address space.
    As,
    /// Bytes of a core dump.
    Core,
    /// Seconds of CPU time.
    Cpu,
    /// Bytes of data.
    Data,
    /// Bytes of a file.
    Fsize,
    /// Bytes of locked memory.
    Memlock,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Bytes of stack.
    Stack,
}

impl Resource {
    pub const ALL: [Self; 9] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Memlock,
        Self::Nofile,
        Self::Nproc,
        Self::Stack,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Memlock => "memlock",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Stack => "stack",
        }
    }
}

/// `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}
