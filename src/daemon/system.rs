//! What a system project asks of its manifest beyond what every project does, and what it knows of its machine's boot.

use std::time::Duration;

use crate::control::api::{Failed, FailedKind};
use crate::control::peer::Groups;
use crate::manifest::{Access, Loaded, Service};
use crate::supervisor::Refusal;
use crate::sys::users;

/// At boot the network and instance metadata may come up after us: so long a missing base identity is no lasting reason.
const BOOT: Duration = Duration::from_mins(2);

/// A system project is run for others, so nothing in it may be root by oversight or open to a group that is none.
pub(super) fn check(loaded: &Loaded) -> Result<(), Failed> {
    let mut causes = Vec::new();
    if users::own_uid() == 0 {
        causes.extend(without_user(loaded).map(|service| {
            let place = loaded.origins.get(&format!("services.{}", service.name));
            let place = place.map_or_else(String::new, |origin| format!("{}:{}: ", origin.file, origin.line));
            format!("{place}service `{}` has no `user`", service.name)
        }));
    }
    let mut failed = Failed::new(FailedKind::Usage, "the manifest is not fit for a system project");
    if !causes.is_empty() {
        failed = failed.hint(
            "devsup runs as root here, and so would they: give each `user = \"NAME\"`, or all of them by\n[defaults]\nuser = \"NAME\"",
        );
    }
    let access = &loaded.manifest.access;
    for (key, group) in [("look", &access.look), ("operate", &access.operate)] {
        if let Some(group) = group.as_deref().filter(|group| users::group_id(group).is_none()) {
            let place = loaded.origins.get(&format!("access.{key}"));
            let place = place.map_or_else(String::new, |origin| format!("{}:{}: ", origin.file, origin.line));
            causes.push(format!("{place}`[access] {key} = \"{group}\"`: there is no such group on this machine"));
        }
    }
    failed.causes = causes;
    if failed.causes.is_empty() { Ok(()) } else { Err(failed) }
}

fn without_user(loaded: &Loaded) -> impl Iterator<Item = &Service> {
    let services = loaded.manifest.services.values().map(|service| &**service);
    services.filter(|service| service.user.is_none() && !service.external())
}

/// What is worth saying of a personal project, as sentences.
pub(super) fn personal_warnings(loaded: &Loaded) -> Vec<String> {
    let mut warnings = Vec::new();
    if loaded.manifest.access != Access::default() {
        warnings.push("`[access]` is for system projects (`up --system`): nobody else may reach this one".to_owned());
    }
    warnings
}

/// The ids of the groups that [`check`] has found.
pub(super) fn groups(access: &Access) -> Groups {
    let id = |group: &Option<String>| group.as_deref().and_then(users::group_id);
    Groups { look: id(&access.look), operate: id(&access.operate) }
}

/// A base identity that is missing so soon after the start may still come: it is asked for again every few seconds.
pub(super) fn at_boot(mut refusal: Refusal, up_for: Duration) -> Refusal {
    if refusal.code == "NoBaseCredentials" && up_for < BOOT {
        refusal.lasting = false;
        // The supervisor's own pace is 1 to 15 s.
        refusal.retry_after = Some(Duration::from_secs(1));
    }
    refusal
}

pub(super) fn booting(up_for: Duration) -> bool {
    up_for < BOOT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Wall;

    #[test]
    fn a_missing_base_identity_lasts_only_after_two_minutes() {
        let refusal = |code: &str| Refusal {
            lasting: true,
            code: code.to_owned(),
            message: String::new(),
            hint: None,
            side: None,
            caller: None,
            request_id: None,
            retry_after: Some(Duration::from_secs(15)),
            at: Wall(0),
        };
        let soon = at_boot(refusal("NoBaseCredentials"), Duration::from_secs(119));
        assert!(!soon.lasting && soon.retry_after < Some(Duration::from_secs(15)));
        assert!(at_boot(refusal("NoBaseCredentials"), Duration::from_mins(2)).lasting);
        assert!(at_boot(refusal("AccessDenied"), Duration::from_secs(1)).lasting, "a role that is refused is refused");
    }
}
