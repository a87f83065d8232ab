//! What a shim makes of itself by the [`Birth`] it was promised, before it becomes the program.

use std::io;

use super::failure::{self, Failure};
use super::protocol::{Birth, Identity};
use super::starter::What;
use crate::manifest::{Resource, Rlimit};
use crate::sys::isolation::{self, Holds, Wall};
use crate::sys::limits::{self, Resource as Kind};
use crate::sys::{identity, process};

/// The mode of new files, and who comes first when the processor is short.
pub(super) fn temper(birth: &Birth) -> Result<(), Failure> {
    process::set_umask(birth.umask);
    match birth.nice {
        Some(nice) => limits::set_niceness(nice).map_err(|error| failure::nice(nice, &error)),
        None => Ok(()),
    }
}

/// Builds the wall, if one is wanted, and says what holds: `landlock`, `off`, `none: …`. No wall is no reason not to start.
///
/// A `stop_command` or a check is a stranger to its service's domain, which nobody can enter from outside. It gets a wall of
/// its own that lets signals pass: it could not stop anything else.
pub(super) fn isolate(birth: &Birth, what: What) -> String {
    if !birth.isolate {
        return "off".to_owned();
    }
    let wall = if what == What::Service { Wall::Whole } else { Wall::SignalsPass };
    match isolation::means().and_then(|means| isolation::enter(means, wall)) {
        Ok(Holds::All) => "landlock".to_owned(),
        Ok(Holds::NotSignals) => "landlock, but signals to others pass".to_owned(),
        Err(lack) => format!("none: {lack}"),
    }
}

/// Late, for what is left to do needs memory and descriptors too; and while we may still raise what is to be raised.
pub(super) fn limit(birth: &Birth) -> Result<(), Failure> {
    for (resource, soft) in birth.soft.iter().filter(|(resource, _)| !birth.limits.contains_key(resource)) {
        // A hard limit that was lowered meanwhile is heeded; nobody has asked for more.
        limits::change_soft(kind(*resource), *soft).ok();
    }
    for (resource, limit) in &birth.limits {
        let Rlimit { soft, hard } = *limit;
        limits::set(kind(*resource), soft, hard).map_err(|error| {
            let now = limits::hard(kind(*resource));
            failure::limit(*resource, *limit, now, &error)
        })?;
    }
    Ok(())
}

/// Who the service is from here on.
pub(super) fn assume(birth: &Birth) -> Result<(), Failure> {
    let Some(Identity { uid, gid, groups }) = &birth.identity else { return Ok(()) };
    let become_them = || -> io::Result<()> {
        identity::give_output(*uid, *gid)?;
        identity::assume(*uid, *gid, groups)
    };
    become_them().map_err(|error| failure::identity(*uid, *gid, &error))
}

pub(super) fn kind(resource: Resource) -> Kind {
    match resource {
        Resource::As => Kind::As,
        Resource::Core => Kind::Core,
        Resource::Cpu => Kind::Cpu,
        Resource::Data => Kind::Data,
        Resource::Fsize => Kind::Fsize,
        Resource::Memlock => Kind::Memlock,
        Resource::Nofile => Kind::Nofile,
        Resource::Nproc => Kind::Nproc,
        Resource::Stack => Kind::Stack,
    }
}
