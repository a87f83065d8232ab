//! Walls between the processes of one user, by Landlock: who is in a domain reads and traces only what is in that domain
//! or in one below it. See landlock(7).

use std::fmt;
use std::io;

use landlock::{
    AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, RestrictSelfError, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet};

/// What this kernel has to build a wall with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// ABI 2 to 5. A domain has to handle some file right to be one; this is a right that is then given to all, for a
    /// domain that knows nothing of renames across folders forbids them.
    Files,
    /// ABI 6: a domain may be about signals alone, and no file is touched.
    Signals,
}

/// How high the wall is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// No memory, environment or descriptors of others, and no signals to them where the kernel can.
    Whole,
    /// The same, but signals pass.
    SignalsPass,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    All,
    /// Signals to others pass.
    NotSignals,
}

/// Why there is no wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Not built in, or switched off at boot.
    NoLandlock,
    /// ABI 1: every domain of it forbids renames across folders.
    TooOld,
    /// We are at the kernel's limit of domains within domains.
    TooDeep,
    Refused(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLandlock => f.write_str("this kernel has no Landlock"),
            Self::TooOld => f.write_str("this kernel's Landlock is too old (Linux 5.19 has what is needed)"),
            Self::TooDeep => f.write_str("16 Landlock domains are around devsup already, and the kernel knows no more"),
            Self::Refused(why) => write!(f, "the kernel refused it: {why}"),
        }
    }
}

/// Asks the kernel.
pub fn means() -> Result<Means, Lack> {
    let rules = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if rules().scope(Scope::Signal).is_ok() {
        Ok(Means::Signals)
    } else if rules().handle_access(AccessFs::Refer).is_ok() {
        Ok(Means::Files)
    } else if rules().handle_access(AccessFs::Execute).is_ok() {
        Err(Lack::TooOld)
    } else {
        Err(Lack::NoLandlock)
    }
}

/// Puts this thread, and all it becomes and starts, behind a wall of its own for ever.
///
/// Without the rights to do so otherwise this costs `no_new_privs`: no sudo and no setuid program behind the wall. With
/// them (root) the capabilities that look past every wall are given up instead, so that no setuid program brings them back.
pub fn enter(means: Means, wall: Wall) -> Result<Holds, Lack> {
    let (ruleset, holds) = match (means, wall) {
        (Means::Signals, Wall::Whole) => (signals_alone().map_err(lack)?, Holds::All),
        (Means::Signals, Wall::SignalsPass) | (Means::Files, _) => (harmless_files()?, Holds::NotSignals),
    };
    let refused = |error: Errno| Lack::Refused(io::Error::from(error).to_string());
    let alone = CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP;
    let rights = thread::capabilities(None).map_err(refused)?.effective.contains(alone);
    ruleset.no_new_privs(!rights).restrict_self().map_err(lack)?;
    if rights {
        unbound().map_err(refused)?;
    }
    give_up().map_err(refused)?;
    Ok(holds)
}

fn signals_alone() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement).scope(Scope::Signal)?.create()
}

fn harmless_files() -> Result<RulesetCreated, Lack> {
    let rights: BitFlags<AccessFs> = AccessFs::MakeBlock | AccessFs::Refer;
    let top = PathFd::new("/").map_err(|error| Lack::Refused(error.to_string()))?;
    let rules = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(rights)?
            .create()?
            .add_rule(PathBeneath::new(top, rights))
    };
    rules().map_err(lack)
}

fn lack(error: RulesetError) -> Lack {
    let too_deep = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::TOOBIG);
    match error {
        RulesetError::RestrictSelf(RestrictSelfError::RestrictSelfCall { source, .. }) if too_deep(&source) => {
            Lack::TooDeep
        }
        error => Lack::Refused(error.to_string()),
    }
}

/// Either makes a process one that may watch the whole machine, and such a one reads the environment of all.
const PAST_WALLS: [CapabilitySet; 2] = [CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN];

/// Root gets back at an exec whatever its bounding set has.
fn unbound() -> Result<(), Errno> {
    for capability in PAST_WALLS {
        match thread::remove_capability_from_bounding_set(capability) {
            // A kernel that does not know it cannot give it either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn give_up() -> Result<(), Errno> {
    let mut sets = thread::capabilities(None)?;
    for capability in PAST_WALLS {
        sets.effective.remove(capability);
        sets.permitted.remove(capability);
        sets.inheritable.remove(capability);
    }
    thread::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A domain is a thread's, so each of these lives and ends with a thread of its own.
    fn aside<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(what).join().expect("it does not panic")
    }

    #[test]
    fn the_limit_of_nested_domains_is_said() {
        let Ok(means) = means() else { return };
        let last = aside(move || (0..20).map(|_| enter(means, Wall::Whole)).find_map(Result::err));
        assert_eq!(last, Some(Lack::TooDeep));
    }

    #[test]
    fn what_looks_past_walls_is_given_up() {
        let Ok(means) = means() else { return };
        let status = aside(move || {
            enter(means, Wall::Whole).expect("a wall");
            std::fs::read_to_string("/proc/thread-self/status").expect("our own")
        });
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a set");
            u64::from_str_radix(line.trim(), 16).expect("a mask")
        };
        let past = PAST_WALLS.iter().fold(0, |all, one| all | one.bits());
        for name in ["CapInh:", "CapPrm:", "CapEff:"] {
            assert_eq!(set(name) & past, 0, "{name}");
        }
        let bound = set("CapBnd:") & past == 0;
        let none_new = status.contains("NoNewPrivs:\t1");
        assert!(bound || none_new, "{status}");
    }

    #[test]
    fn reasons_are_sentences() {
        assert_eq!(Lack::NoLandlock.to_string(), "this kernel has no Landlock");
        assert!(Lack::TooDeep.to_string().starts_with("16 Landlock domains"));
    }
}
