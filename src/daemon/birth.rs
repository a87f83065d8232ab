//! From a service's entry to what its process is to be: whom it runs as, and what the shim makes of it.
//!
//! Looked up anew for every run: a user may have been made, or given another group, meanwhile.

use std::io;

use super::world::World;
use crate::aws::Login;
use crate::keeper::protocol::{Birth, Identity};
use crate::manifest::{Resource, Service};
use crate::sys::accounts::{self, Account};
use crate::sys::daemonize::Came;
use crate::sys::{identity, users};

/// Of a service with `user` or `group`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// `None`: it is who devsup is.
    pub(super) identity: Option<Identity>,
    /// With `user`: whose home and name it gets.
    pub(super) login: Option<Login>,
}

/// `came`: what there was where the project was brought up.
pub(super) fn birth(service: &Service, who: &Who, came: Came) -> Birth {
    let soft = [(Resource::Core, came.core), (Resource::Nofile, came.nofile)];
    Birth {
        umask: service.umask.unwrap_or(came.umask),
        nice: service.nice,
        limits: service.limits.resources.clone(),
        soft: soft.into_iter().filter_map(|(resource, soft)| Some((resource, soft?))).collect(),
        identity: who.identity.clone(),
        isolate: service.isolate,
        tty: service.tty,
    }
}

/// Whom a run of the service would run as now; an error is one sentence with its mend.
pub(super) fn who(service: &Service) -> Result<Who, String> {
    settle(service, identity::own())
}

fn settle(service: &Service, own: (u32, u32)) -> Result<Who, String> {
    let group = service.group.as_deref().map(group).transpose()?;
    let Some(asked) = service.user.as_deref() else {
        let Some(gid) = group else { return Ok(Who { identity: None, login: None }) };
        let name = users::name(own.0);
        return Ok(Who { identity: become_them(service, &name, (own.0, gid), own)?, login: None });
    };
    let account = user(asked, group)?;
    let ids = (account.uid, group.unwrap_or(account.gid));
    let identity = become_them(service, &account.name, ids, own)?;
    Ok(Who { identity, login: Some(Login { name: account.name, home: account.home, shell: account.shell }) })
}

/// Only root becomes somebody else. An ordinary user may say who they are.
fn become_them(service: &Service, name: &str, ids: (u32, u32), own: (u32, u32)) -> Result<Option<Identity>, String> {
    if own.0 == 0 {
        let mut groups = accounts::groups(name, ids.1).map_err(|error| unknown("the groups of", name, &error))?;
        groups.sort_unstable();
        groups.dedup();
        return Ok(Some(Identity { uid: ids.0, gid: ids.1, groups }));
    }
    if ids == own {
        return Ok(None);
    }
    let (key, value) = match &service.user {
        Some(user) if ids.0 != own.0 => ("user", user.as_str()),
        _ => ("group", service.group.as_deref().unwrap_or_default()),
    };
    Err(format!(
        "`{key} = \"{value}\"`: only root may start it so, and devsup runs as {}; run devsup as root, or remove `{key}`",
        users::name(own.0)
    ))
}

/// By name, else by number; a number that passwd does not know has no home, and no group but the one that is written.
fn user(asked: &str, group: Option<u32>) -> Result<Account, String> {
    let look_up = |error: io::Error| unknown("user", asked, &error);
    if let Some(account) = accounts::by_name(asked).map_err(look_up)? {
        return Ok(account);
    }
    let Some(uid) = number(asked) else {
        let mend = "make it (`useradd --system`), or mend `user`";
        return Err(missing("user", asked, &accounts::user_names(), mend));
    };
    if let Some(account) = accounts::by_uid(uid).map_err(look_up)? {
        return Ok(account);
    }
    let gid = group.ok_or_else(|| {
        format!("`user = \"{uid}\"`: passwd knows no user of that number, so it has no group of its own; add `group`")
    })?;
    Ok(Account { name: uid.to_string(), uid, gid, home: "/".into(), shell: "/bin/sh".into() })
}

/// The highest one is nobody's: to the kernel it means "as it is".
fn number(asked: &str) -> Option<u32> {
    asked.parse().ok().filter(|number| *number != u32::MAX)
}

fn group(asked: &str) -> Result<u32, String> {
    let known = accounts::group(asked).map_err(|error| unknown("group", asked, &error))?;
    known.or_else(|| number(asked)).ok_or_else(|| {
        missing("group", asked, &accounts::group_names(), "make it (`groupadd --system`), or mend `group`")
    })
}

fn missing(key: &str, asked: &str, known: &[String], mend: &str) -> String {
    let distance = |name: &str| strsim::damerau_levenshtein(asked, name);
    let near = known.iter().min_by_key(|name| distance(name)).filter(|name| distance(name) <= 2);
    let guess = near.map_or_else(|| mend.to_owned(), |name| format!("did you mean `{name}`?"));
    format!("`{key} = \"{asked}\"`: this machine has no such {key}; {guess}")
}

fn unknown(what: &str, name: &str, error: &io::Error) -> String {
    format!("{what} `{name}` cannot be looked up: {error}")
}

impl World {
    /// Said at `up` of a project that root brought up, whose services are root too. Not at every look: it is no trouble of
    /// now. A system project refuses them.
    pub(super) fn of_root(&self) -> Option<String> {
        if identity::own().0 != 0 || self.brought.system {
            return None;
        }
        let own = self.manifest.services.values().filter(|service| service.user.is_none() && !service.external());
        let own: Vec<&str> = own.map(|service| service.name.as_str()).collect();
        let (run, names) = (if own.len() == 1 { "runs" } else { "run" }, own.join(", "));
        let mend = "`user` in the manifest gives a service a user of its own";
        (!own.is_empty()).then(|| format!("{names} {run} as root, as devsup does; {mend}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (u32, u32) = (0, 0);
    const ORDINARY: (u32, u32) = (4_000_001, 4_000_001);

    fn service(user: Option<&str>, group: Option<&str>) -> Service {
        let text = |word: Option<&str>| word.map(str::to_owned);
        Service { user: text(user), group: text(group), ..Service::of("a", None, "/") }
    }

    fn identity(user: Option<&str>, group: Option<&str>) -> Option<Identity> {
        settle(&service(user, group), ROOT).expect("it can be").identity
    }

    fn refusal(user: Option<&str>, group: Option<&str>, own: (u32, u32)) -> String {
        settle(&service(user, group), own).expect_err("it cannot be")
    }

    #[test]
    fn without_either_it_stays_who_devsup_is() {
        for own in [ROOT, ORDINARY] {
            assert_eq!(settle(&service(None, None), own), Ok(Who { identity: None, login: None }));
        }
    }

    #[test]
    fn root_makes_it_anybody_by_name_or_number() {
        let root = accounts::by_uid(0).expect("a lookup").expect("root");
        let by_name = settle(&service(Some(&root.name), None), ROOT).expect("root may");
        assert_eq!(by_name, settle(&service(Some("0"), None), ROOT).expect("root may"));
        let login = by_name.login.expect("passwd has it");
        assert_eq!((login.name, login.home), (root.name, root.home));
        let stranger = Identity { uid: 4_000_001, gid: 4_000_002, groups: vec![4_000_002] };
        assert_eq!(identity(Some("4000001"), Some("4000002")), Some(stranger));
        assert_eq!(identity(None, Some("4000002")).map(|who| (who.uid, who.gid)), Some((0, 4_000_002)));
    }

    #[test]
    fn an_ordinary_user_may_only_say_who_they_are() {
        let own = settle(&service(Some("4000001"), Some("4000001")), ORDINARY).expect("it is so already");
        assert_eq!(own.identity, None);
        assert_eq!(own.login.expect("a user was named").name, "4000001");
        assert_eq!(
            refusal(Some("0"), None, ORDINARY),
            "`user = \"0\"`: only root may start it so, and devsup runs as 4000001; run devsup as root, or remove `user`"
        );
        assert!(refusal(Some("4000001"), Some("0"), ORDINARY).starts_with("`group = \"0\"`: only root"));
    }

    #[test]
    fn who_is_not_there_is_named_with_a_near_one() {
        let root = accounts::by_uid(0).expect("a lookup").expect("root").name;
        let typo = format!("{root}z");
        let said = refusal(Some(&typo), None, ROOT);
        assert_eq!(said, format!("`user = \"{typo}\"`: this machine has no such user; did you mean `{root}`?"));
        let said = refusal(None, Some("no-such-group-of-a-test"), ROOT);
        assert!(said.ends_with("no such group; make it (`groupadd --system`), or mend `group`"), "{said}");
        let said = refusal(Some("4294967295"), Some("1"), ROOT);
        assert!(said.contains("no such user"), "the kernel takes it for `as it is`, which is root: {said}");
        let said = refusal(Some("4000001"), None, ROOT);
        assert!(said.ends_with("it has no group of its own; add `group`"), "{said}");
    }
}
