//! Who calls: the uid from the socket, and whether the caller is itself inside a run of this project.
//!
//! The owner's uid is not enough to command the daemon: a service has it too. A process whose ancestors lead to a keeper
//! of ours (or to the daemon, which adopts what a dead keeper leaves) is a service, whatever it calls itself.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::{Failed, FailedKind};
use crate::manifest::Name;
use crate::supervisor::By;
use crate::sys::peer::{ancestry, credentials};
use crate::sys::process::Pidfd;
use crate::sys::users;

/// The keepers of live runs, by pid; those of an earlier devsup too, while they end theirs. Written by the daemon before a
/// service can exist, read at every connection.
#[derive(Clone, Default)]
pub struct Keepers(Arc<Mutex<BTreeMap<u32, Name>>>);

impl Keepers {
    pub fn add(&self, pid: u32, service: Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, service);
    }

    pub fn remove(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    fn service_of(&self, pid: u32) -> Option<Name> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).cloned()
    }
}

/// Who is at the other end of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub by: By,
    pub standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The owner or root, from outside every run.
    Owner,
    /// Inside a run of this service; `None`: left behind by a run whose keeper is dead.
    Inside(Option<Name>),
    /// Another user.
    Stranger,
    /// It ended before it could be looked at.
    Ended,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right<'a> {
    /// Status and events.
    Look,
    /// Credentials and environment of one service.
    Secrets(&'a str),
    /// Everything else.
    Own,
}

impl Caller {
    /// Looks at the process that connected. It is held by a pidfd meanwhile, so its pid cannot come to mean another one.
    pub fn of(socket: BorrowedFd<'_>, keepers: &Keepers) -> std::io::Result<Self> {
        let (pid, uid) = credentials(socket)?;
        let by = By { uid, user: users::name(uid) };
        let own = users::own_uid();
        let standing = if uid != own && uid != 0 { Standing::Stranger } else { standing(pid, keepers) };
        Ok(Self { by, standing })
    }

    pub fn may(&self, right: Right<'_>) -> Result<(), Failed> {
        let refuse = |error: String| Err(Failed::new(FailedKind::NotPermitted, error));
        match (&self.standing, right) {
            (Standing::Owner, _) | (Standing::Inside(_), Right::Look) => Ok(()),
            (Standing::Inside(Some(own)), Right::Secrets(service)) if own.as_str() == service => Ok(()),
            (Standing::Inside(Some(own)), Right::Secrets(service)) => {
                refuse(format!("a process of service `{own}` may not see the credentials of `{service}`"))
            }
            (Standing::Inside(Some(own)), Right::Own) => refuse(format!(
                "a process of service `{own}` may not command devsup; do it from a terminal of your own"
            )),
            (Standing::Inside(None), _) => {
                refuse("a process that a service left behind may not command devsup".to_owned())
            }
            (Standing::Stranger, _) => refuse(format!(
                "this project belongs to `{}`; you are `{}`",
                users::name(users::own_uid()),
                self.by.user
            )),
            (Standing::Ended, _) => refuse("the process that connected has ended, so nobody knows who asks".to_owned()),
        }
    }
}

fn standing(pid: u32, keepers: &Keepers) -> Standing {
    let me = std::process::id();
    let Ok(held) = Pidfd::open(pid) else { return Standing::Ended };
    let Some(chain) = ancestry(pid) else { return Standing::Ended };
    // The daemon itself may call (tests do); only what stands *below* it is inside.
    let found = chain.iter().enumerate().find_map(|(depth, pid)| match keepers.service_of(*pid) {
        Some(service) => Some(Standing::Inside(Some(service))),
        None if *pid == me && depth > 0 => Some(Standing::Inside(None)),
        None => None,
    });
    // A chain that was read of a process that is gone may be another's.
    if !held.alive() {
        return Standing::Ended;
    }
    found.unwrap_or(Standing::Owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(standing: Standing) -> Caller {
        Caller { by: By { uid: 1000, user: "alice".into() }, standing }
    }

    #[test]
    fn a_service_may_look_and_see_its_own_credentials_only() {
        let inside = caller(Standing::Inside(Some("a".into())));
        assert_eq!(inside.may(Right::Look), Ok(()));
        assert_eq!(inside.may(Right::Secrets("a")), Ok(()));
        assert_eq!(inside.may(Right::Secrets("b")).map_err(|failed| failed.kind), Err(FailedKind::NotPermitted));
        assert_eq!(inside.may(Right::Own).map_err(|failed| failed.kind), Err(FailedKind::NotPermitted));
    }

    #[test]
    fn a_stranger_and_a_process_that_ended_may_nothing() {
        for standing in [Standing::Stranger, Standing::Ended] {
            assert!(caller(standing.clone()).may(Right::Look).is_err(), "{standing:?} may look");
            assert!(caller(standing).may(Right::Own).is_err());
        }
        assert!(caller(Standing::Inside(None)).may(Right::Secrets("a")).is_err());
    }

    #[test]
    fn a_process_below_a_keeper_is_inside_its_service() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().expect("pair");
        let keepers = Keepers::default();
        let of = |keepers: &Keepers| {
            Caller::of(std::os::fd::AsFd::as_fd(&here), keepers).expect("peer credentials").standing
        };
        assert_eq!(of(&keepers), Standing::Owner);
        // The test runner stands in for a keeper: it is our parent.
        let above = crate::sys::tree::look(std::process::id()).expect("ourselves").parent;
        keepers.add(above, "a".into());
        assert_eq!(of(&keepers), Standing::Inside(Some("a".into())));
        keepers.remove(above);
        assert_eq!(of(&keepers), Standing::Owner);
    }
}
