//! Who calls: the uid from the socket, and whether the caller is itself inside a run of this project.
//!
//! The owner's uid is not enough to command the daemon: a service has it too. A process whose ancestors lead to a keeper
//! of ours (or to the daemon, which adopts what a dead keeper leaves) is a service, whatever it calls itself. So is one
//! below a keeper of another project, though we know nothing of that one: it may look, and no more.
//!
//! A foreign keeper is told by its name and by being unreadable for its own user. A service cannot take either from the
//! keeper above it, nor get out from below it: killed keepers leave their processes to their daemon, which is told the
//! same way. Somebody who makes a process that looks like a keeper takes the right to command only from what stands
//! below it, which is his own.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::{Failed, FailedKind};
use crate::manifest::Name;
use crate::supervisor::By;
use crate::sys::peer::{ancestry, credentials, groups, hidden};
use crate::sys::process::{Errno, Pidfd};
use crate::sys::{tree, users};

/// How the names of processes begin that hold runs, and of those that hold projects.
const KEEPER: &str = "keep:";
const DAEMON: &str = "devsup:";

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

    /// Whose keeper it is, if it is one.
    pub fn service_of(&self, pid: u32) -> Option<Name> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).cloned()
    }
}

/// What `[access]` says of a system project, by group ids. Of a personal one nothing: there, other users are strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    pub look: Option<u32>,
    pub operate: Option<u32>,
}

/// The newest [`Groups`]: written when the manifest is read, read at every connection.
#[derive(Clone, Default)]
pub struct Rules(Arc<Mutex<Groups>>);

impl Rules {
    pub fn set(&self, groups: Groups) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = groups;
    }

    fn get(&self) -> Groups {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is at the other end of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub by: By,
    pub pid: u32,
    pub standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The owner or root, from outside every run.
    Owner,
    /// Another user, of the group that may operate.
    Operator,
    /// Another user, of the group that may look.
    Looker,
    /// Inside a run of this service; `None`: left behind by a run whose keeper is dead.
    Inside(Option<Name>),
    /// Inside a service of another project, of a user who might at least look.
    Elsewhere,
    /// Another user.
    Stranger,
    /// It ended before it could be looked at.
    Ended,
    /// It lives and could not be looked at: we are out of descriptors.
    Unseen,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right<'a> {
    /// Status, logs and events.
    Look,
    /// Whether credentials are held, whose and until when, of one service or of all. No secret.
    Creds(Option<&'a str>),
    /// The environment of one service.
    Secrets(&'a str),
    /// Start, stop, restart, hold, release.
    Operate,
    /// Everything else.
    Own,
}

impl Caller {
    /// Looks at the process that connected. It is held by a pidfd meanwhile, so its pid cannot come to mean another one.
    pub fn of(socket: BorrowedFd<'_>, keepers: &Keepers, rules: &Rules) -> std::io::Result<Self> {
        let (pid, uid) = credentials(socket)?;
        let by = By { uid, user: users::name(uid) };
        Ok(Self { by, pid, standing: standing(pid, uid, keepers, rules.get()) })
    }

    pub fn may(&self, right: Right<'_>) -> Result<(), Failed> {
        let refuse = |error: String| Err(Failed::new(FailedKind::NotPermitted, error));
        match (&self.standing, right) {
            (Standing::Owner, _)
            | (Standing::Operator, Right::Operate)
            | (Standing::Operator | Standing::Looker | Standing::Elsewhere, Right::Look | Right::Creds(_))
            | (Standing::Inside(_), Right::Look) => Ok(()),
            (Standing::Inside(Some(own)), Right::Secrets(service) | Right::Creds(Some(service)))
                if own.as_str() == service =>
            {
                Ok(())
            }
            (Standing::Inside(Some(own)), Right::Secrets(service) | Right::Creds(Some(service))) => {
                refuse(format!("a process of service `{own}` may not see the credentials of `{service}`"))
            }
            (Standing::Inside(Some(own)), Right::Own | Right::Operate | Right::Creds(None)) => refuse(format!(
                "a process of service `{own}` may not command devsup; do it from a terminal of your own"
            )),
            (Standing::Inside(None), _) => {
                refuse("a process that a service left behind may not command devsup".to_owned())
            }
            (Standing::Elsewhere, _) => refuse(
                "a process of another project's service may not command devsup; do it from a terminal of your own"
                    .to_owned(),
            ),
            (Standing::Operator, _) => refuse(format!("this is for its owner, `{}`; {}", owner(), self.operates())),
            (Standing::Looker, Right::Operate) => refuse(format!(
                "you are `{}` and may look at this project; its owner is `{}`, and others act by the group \
                 that `[access] operate` names",
                self.by.user,
                owner()
            )),
            (Standing::Looker, _) => {
                refuse(format!("this is for its owner, `{}`; you are `{}` and may look", owner(), self.by.user))
            }
            (Standing::Stranger, _) => {
                refuse(format!("this project belongs to `{}`; you are `{}`", owner(), self.by.user))
                    .map_err(|failed| failed.hint(LET_IN))
            }
            (Standing::Ended, _) => refuse("the process that connected has ended, so nobody knows who asks".to_owned()),
            // Nobody's want of a right, but ours of means.
            (Standing::Unseen, _) => {
                let failed =
                    Failed::new(FailedKind::Failed, "devsup cannot look at who asks: it is out of descriptors");
                Err(failed
                    .hint("raise the limit (`ulimit -n`) and bring the project up again; its services go on meanwhile"))
            }
        }
    }

    fn operates(&self) -> String {
        format!("you are `{}` and may look, start, stop, restart, hold and release", self.by.user)
    }
}

/// What a stranger can do about it.
const LET_IN: &str =
    "the group in `[access] look` of a system project may look; who was put into it just now logs in anew";

fn owner() -> String {
    users::name(users::own_uid())
}

fn standing(pid: u32, uid: u32, keepers: &Keepers, rules: Groups) -> Standing {
    let held = match Pidfd::open(pid) {
        Ok(held) => held,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => return Standing::Ended,
        Err(_) => return Standing::Unseen,
    };
    let by_user = by_user(pid, uid, rules);
    let Some(chain) = ancestry(pid) else { return if held.alive() { Standing::Unseen } else { Standing::Ended } };
    let standing = match inside(&chain, keepers) {
        Some(inside) => inside,
        None if by_user == Standing::Stranger => Standing::Stranger,
        None => match elsewhere(&chain) {
            Some(true) => Standing::Elsewhere,
            Some(false) => by_user,
            // Whoever cannot be looked at is nobody's owner.
            None => Standing::Unseen,
        },
    };
    // A chain that was read of a process that is gone may be another's.
    if held.alive() { standing } else { Standing::Ended }
}

fn by_user(pid: u32, uid: u32, rules: Groups) -> Standing {
    if uid == users::own_uid() || uid == 0 {
        return Standing::Owner;
    }
    if rules == Groups::default() {
        return Standing::Stranger;
    }
    let groups = groups(pid, uid).unwrap_or_default();
    let member = |of: Option<u32>| of.is_some_and(|group| groups.contains(&group));
    match (member(rules.operate), member(rules.look)) {
        (true, _) => Standing::Operator,
        (false, true) => Standing::Looker,
        (false, false) => Standing::Stranger,
    }
}

fn inside(chain: &[u32], keepers: &Keepers) -> Option<Standing> {
    let me = std::process::id();
    // The daemon itself may call (tests do); only what stands *below* it is inside.
    chain.iter().enumerate().find_map(|(depth, pid)| match keepers.service_of(*pid) {
        Some(service) => Some(Standing::Inside(Some(service))),
        None if *pid == me && depth > 0 => Some(Standing::Inside(None)),
        None => None,
    })
}

/// Below a keeper that is not ours, or left to a daemon that is not us. What we stand below ourselves does not count: then
/// this whole project was brought up inside that service. `None`: one of them cannot be looked at.
fn elsewhere(chain: &[u32]) -> Option<bool> {
    let processes: Vec<_> = chain.iter().map(|pid| tree::look(*pid)).collect::<Option<_>>()?;
    let holds = |depth: usize| {
        let process = &processes[depth];
        let kept = process.comm.starts_with(KEEPER);
        // Helpers of the SDK are a daemon's children too, in its own session; a run never is.
        let left = || {
            let below = depth.checked_sub(1).and_then(|below| processes.get(below));
            process.comm.starts_with(DAEMON) && below.is_some_and(|below| below.session != process.session)
        };
        (kept || left()) && hidden(process.pid)
    };
    let above: Vec<u32> =
        (0..processes.len()).filter(|depth| holds(*depth)).map(|depth| processes[depth].pid).collect();
    if above.is_empty() {
        return Some(false);
    }
    let ours = ancestry(std::process::id())?;
    Some(above.iter().any(|pid| !ours.contains(pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(standing: Standing) -> Caller {
        Caller { by: By { uid: 1000, user: "alice".into() }, pid: 1, standing }
    }

    #[test]
    fn a_service_may_look_and_see_its_own_credentials_only() {
        let inside = caller(Standing::Inside(Some("a".into())));
        assert_eq!(inside.may(Right::Look), Ok(()));
        assert_eq!(inside.may(Right::Secrets("a")), Ok(()));
        assert_eq!(inside.may(Right::Secrets("b")).map_err(|failed| failed.kind), Err(FailedKind::NotPermitted));
        assert_eq!(inside.may(Right::Creds(Some("a"))), Ok(()));
        for refused in [Right::Own, Right::Operate, Right::Creds(None), Right::Creds(Some("b"))] {
            assert_eq!(inside.may(refused).map_err(|failed| failed.kind), Err(FailedKind::NotPermitted), "{refused:?}");
        }
    }

    #[test]
    fn the_table_of_rights() {
        let rights = [Right::Look, Right::Creds(None), Right::Operate, Right::Secrets("a"), Right::Own];
        let table = [
            (Standing::Owner, [true, true, true, true, true]),
            (Standing::Operator, [true, true, true, false, false]),
            (Standing::Looker, [true, true, false, false, false]),
            (Standing::Elsewhere, [true, true, false, false, false]),
            (Standing::Inside(None), [true, false, false, false, false]),
            (Standing::Stranger, [false; 5]),
            (Standing::Ended, [false; 5]),
            (Standing::Unseen, [false; 5]),
        ];
        for (standing, expected) in table {
            let found = rights.map(|right| caller(standing.clone()).may(right).is_ok());
            assert_eq!(found, expected, "{standing:?}");
        }
    }

    #[test]
    fn a_stranger_and_a_process_that_ended_may_nothing() {
        for standing in [Standing::Stranger, Standing::Ended, Standing::Unseen] {
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
            let here = std::os::fd::AsFd::as_fd(&here);
            Caller::of(here, keepers, &Rules::default()).expect("peer credentials").standing
        };
        assert_eq!(of(&keepers), Standing::Owner);
        // The test runner stands in for a keeper: it is our parent.
        let above = tree::look(std::process::id()).expect("ourselves").parent;
        keepers.add(above, "a".into());
        assert_eq!(of(&keepers), Standing::Inside(Some("a".into())));
        keepers.remove(above);
        assert_eq!(of(&keepers), Standing::Owner);
    }
}
