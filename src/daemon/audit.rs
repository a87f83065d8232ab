//! Who was given credentials: one event an issuance, and above one a second of a service one for all of that second.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::clocks::now;
use super::world::{Fact, World};
use crate::aws::{Credentials, zulu};
use crate::manifest::Name;
use crate::supervisor::By;

const AT_ONCE: Duration = Duration::from_secs(1);

/// One time that credentials were given away. No secret.
#[derive(Clone)]
pub(super) struct Issuance {
    /// `process`, `endpoint`.
    pub(super) how: &'static str,
    pub(super) by: By,
    pub(super) pid: u32,
    /// When it was a process of this run.
    pub(super) run: Option<u32>,
    access_key_id: String,
    expires: String,
}

impl Issuance {
    pub(super) fn new(how: &'static str, by: By, pid: u32, run: Option<u32>, given: &Credentials) -> Self {
        Self { how, by, pid, run, access_key_id: given.access_key_id.clone(), expires: zulu(given.expires) }
    }

    fn sentence(&self, times: u32) -> String {
        let (user, pid, how) = (&self.by.user, self.pid, self.how);
        let whom = format!("pid {pid} of {user} ({how}): {}, until {}", self.access_key_id, self.expires);
        match times {
            1 => format!("credentials were given to {whom}"),
            _ => format!("credentials were given {times} times within a second, last to {whom}"),
        }
    }

    fn fields(&self, times: u32) -> BTreeMap<String, Value> {
        let fields = [
            ("how", self.how.into()),
            ("pid", self.pid.into()),
            ("access_key_id", self.access_key_id.clone().into()),
            ("expires", self.expires.clone().into()),
            ("times", times.into()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What was not told yet of the services that were told of just now.
#[derive(Default)]
pub(super) struct Audit(BTreeMap<Name, Option<(u32, Issuance)>>);

impl Audit {
    /// Is this one to be told at once? Else it is counted.
    fn first(&mut self, service: &Name, issuance: &Issuance) -> bool {
        let Some(more) = self.0.get_mut(service) else {
            self.0.insert(service.clone(), None);
            return true;
        };
        let times = more.as_ref().map_or(0, |(times, _)| *times) + 1;
        *more = Some((times, issuance.clone()));
        false
    }

    /// A second is over: what came in it. With nothing, the next one is told at once again.
    fn over(&mut self, service: &Name) -> Option<(u32, Issuance)> {
        let more = self.0.get_mut(service).and_then(Option::take);
        if more.is_none() {
            self.0.remove(service);
        }
        more
    }
}

impl World {
    pub(super) fn audit(&mut self, service: &Name, issuance: &Issuance) {
        if self.audit.first(service, issuance) {
            self.tell_issued(service, issuance, 1);
        }
    }

    pub(super) fn audit_over(&mut self, service: &Name) {
        if let Some((times, last)) = self.audit.over(service) {
            self.tell_issued(service, &last, times);
        }
    }

    fn tell_issued(&mut self, service: &Name, issuance: &Issuance, times: u32) {
        let (sentence, fields) = (issuance.sentence(times), issuance.fields(times));
        self.journal.tell_more(now().wall, "issued", (service, issuance.run, &issuance.by), sentence, fields);
        self.later(AT_ONCE, Fact::AuditOver(service.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Wall;

    fn issuance(pid: u32) -> Issuance {
        let credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "wJalrXUtn".to_owned().into(),
            session_token: "FwoGZXIv".to_owned().into(),
            expires: Wall(1_790_000_000_000),
        };
        Issuance::new("process", By { uid: 1000, user: "alice".into() }, pid, None, &credentials)
    }

    #[test]
    fn the_first_is_told_at_once_and_a_second_of_others_together() {
        let (mut audit, a, b) = (Audit::default(), Name::new("a"), Name::new("b"));
        assert!(audit.first(&a, &issuance(1)) && audit.first(&b, &issuance(2)), "each service for itself");
        assert!(!audit.first(&a, &issuance(3)) && !audit.first(&a, &issuance(4)));
        let (times, last) = audit.over(&a).expect("two came");
        assert_eq!((times, last.pid), (2, 4));
        assert!(!audit.first(&a, &issuance(5)), "the second after is counted too");
        assert_eq!(audit.over(&a).map(|(times, _)| times), Some(1));
        assert!(audit.over(&a).is_none() && audit.first(&a, &issuance(6)), "after a quiet second it is told at once");
    }

    #[test]
    fn what_is_told_names_who_and_no_secret() {
        assert_eq!(
            issuance(812).sentence(1),
            "credentials were given to pid 812 of alice (process): ASIAEXAMPLE, until 2026-09-21T14:13:20Z"
        );
        let told = format!("{} {:?}", issuance(812).sentence(7), issuance(812).fields(7));
        assert!(told.contains("7 times within a second, last to pid 812"), "{told}");
        assert!(!told.contains("wJalr") && !told.contains("FwoGZ"), "{told}");
    }
}
