//! Who was given credentials and who showed a token that is not theirs: a line of the journal each, and no more than one a
//! second of a kind for each service; what comes meanwhile is added up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::clocks::now;
use super::endpoint::{Culprit, Why};
use super::world::{Fact, World};
use crate::aws::zulu;
use crate::control::api::Event;
use crate::control::convert;
use crate::keeper::plain;
use crate::manifest::Name;
use crate::supervisor::{By, Wall};
use crate::sys::users;

const PACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Issued(Shown),
    Refused(Refused),
}

/// Who asked whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Endpoint,
    /// `devsup credential-process`.
    Process,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Process => "process",
        }
    }
}

/// Credentials went to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) service: Name,
    pub(super) how: How,
    /// `None`: somebody outside of its runs, who may.
    pub(super) run: Option<u32>,
    /// The newest, where it is known.
    pub(super) pid: Option<u32>,
    pub(super) uid: u32,
    pub(super) access_key_id: String,
    pub(super) expires: Wall,
    pub(super) times: u32,
}

/// Somebody had the right token and was not one of the service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) service: Name,
    pub(super) uid: u32,
    pub(super) who: Option<Culprit>,
    pub(super) why: Why,
    pub(super) times: u32,
}

impl Told {
    fn kind(&self) -> (Name, bool) {
        match self {
            Self::Issued(shown) => (shown.service.clone(), true),
            Self::Refused(refused) => (refused.service.clone(), false),
        }
    }

    /// Adds another of the same to this one; gives back what is not the same.
    fn add(&mut self, other: Self) -> Result<(), Self> {
        match (self, other) {
            (Self::Issued(sum), Self::Issued(one))
                if (sum.how, sum.run, sum.uid, &sum.access_key_id)
                    == (one.how, one.run, one.uid, &one.access_key_id) =>
            {
                (sum.times, sum.pid) = (sum.times.saturating_add(one.times), one.pid);
                Ok(())
            }
            (Self::Refused(sum), Self::Refused(one)) if (sum.uid, sum.why) == (one.uid, one.why) => {
                sum.times = sum.times.saturating_add(one.times);
                sum.who = one.who.or(sum.who.take());
                Ok(())
            }
            (_, other) => Err(other),
        }
    }
}

fn times(times: u32) -> String {
    if times == 1 { String::new() } else { format!(" ({times} times)") }
}

impl Shown {
    fn event(self, at: Wall) -> Event {
        let (until, user) = (zulu(self.expires), users::name(self.uid));
        let who = match (self.run, self.pid) {
            (Some(run), Some(pid)) => format!("run {run}, pid {pid},"),
            (Some(run), None) => format!("run {run}"),
            (None, Some(pid)) => format!("pid {pid} of {user}, outside of its runs,"),
            (None, None) => format!("a process of {user}"),
        };
        let (key, how, times) = (&self.access_key_id, self.how.word(), times(self.times));
        let reason = format!("{who} was given {key}, until {until}, by {how}{times}");
        let more = [
            ("how", json!(how)),
            ("pid", json!(self.pid)),
            ("access_key_id", json!(key)),
            ("expires", json!(until)),
            ("times", json!(self.times)),
        ];
        let event = event(at, &self.service, "credentials-issued", reason, more);
        Event { run: self.run, by: Some(By { uid: self.uid, user }), ..event }
    }
}

impl Refused {
    fn event(self, at: Wall) -> Event {
        let user = users::name(self.uid);
        let who = match &self.who {
            None => format!("a process of {user}"),
            Some(Culprit { pid, comm, service }) => {
                let of = service.as_ref().map(|service| format!(", of service `{service}`,")).unwrap_or_default();
                format!("pid {pid} ({}) of {user}{of}", plain(comm.as_bytes()))
            }
        };
        let why = match self.why {
            Why::OtherUser => "the service runs as another user",
            Why::OutsideOfTree => "it is in no run of the service",
            Why::NotRunning => "no run of the service lives",
        };
        let times = times(self.times);
        let reason = format!("{who} showed this service's token to the endpoint and was refused: {why}{times}");
        let more = [
            ("pid", json!(self.who.as_ref().map(|who| who.pid))),
            ("of", json!(self.who.as_ref().and_then(|who| who.service.as_ref()).map(Name::as_str))),
            ("times", json!(self.times)),
        ];
        let event = event(at, &self.service, "token-refused", reason, more);
        Event { by: Some(By { uid: self.uid, user }), ..event }
    }
}

fn event<const N: usize>(at: Wall, service: &Name, event: &str, reason: String, more: [(&str, Value); N]) -> Event {
    let known = more.into_iter().filter(|(_, value)| !value.is_null());
    Event {
        time: convert::rfc3339(at),
        service: Some(service.to_string()),
        run: None,
        event: event.to_owned(),
        reason: Some(reason),
        by: None,
        more: known.map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// By service and kind: what came within a second of the last line.
type Waiting = BTreeMap<(Name, bool), Vec<Told>>;

/// Clones are handles on the same.
#[derive(Clone)]
pub(super) struct Audit {
    facts: mpsc::UnboundedSender<Fact>,
    waiting: Rc<RefCell<Waiting>>,
}

impl Audit {
    pub(super) fn new(facts: mpsc::UnboundedSender<Fact>) -> Self {
        Self { facts, waiting: Rc::default() }
    }

    /// Does one of this service wait to be told? Then who the next one is need not be looked for.
    pub(super) fn refusal_waits(&self, service: &Name) -> bool {
        self.waiting.borrow().get(&(service.clone(), false)).is_some_and(|waiting| !waiting.is_empty())
    }

    pub(super) fn tell(&self, told: Told) {
        let kind = told.kind();
        if let Some(waiting) = self.waiting.borrow_mut().get_mut(&kind) {
            return add(waiting, told);
        }
        self.waiting.borrow_mut().insert(kind.clone(), Vec::new());
        // The loop has ended: nobody needs to know any more.
        drop(self.facts.send(Fact::Told(told)));
        drop(tokio::task::spawn_local(keep_pace(kind, Rc::clone(&self.waiting), self.facts.clone())));
    }

    /// All that has not been told yet.
    pub(super) fn flush(&self) -> Vec<Told> {
        self.waiting.borrow_mut().values_mut().flat_map(std::mem::take).collect()
    }
}

fn add(waiting: &mut Vec<Told>, told: Told) {
    let left = waiting.iter_mut().try_fold(told, |told, sum| sum.add(told).map_or_else(Ok, |()| Err(())));
    waiting.extend(left);
}

/// Until a second passes in which nothing came: then nobody waits any more.
async fn keep_pace(kind: (Name, bool), waiting: Rc<RefCell<Waiting>>, facts: mpsc::UnboundedSender<Fact>) {
    loop {
        tokio::time::sleep(PACE).await;
        let told = waiting.borrow_mut().get_mut(&kind).map(std::mem::take).unwrap_or_default();
        if told.is_empty() {
            waiting.borrow_mut().remove(&kind);
            return;
        }
        for told in told {
            drop(facts.send(Fact::Told(told)));
        }
    }
}

impl World {
    pub(super) fn told(&mut self, told: Told) {
        let at = now().wall;
        self.journal.write(&match told {
            Told::Issued(shown) => shown.event(at),
            Told::Refused(refused) => refused.event(at),
        });
    }

    /// At the end: what was still being added up.
    pub(super) fn tell_rest(&mut self) {
        for told in self.audit.flush() {
            self.told(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pid: u32, key: &str) -> Told {
        Told::Issued(Shown {
            service: Name::new("a"),
            how: How::Endpoint,
            run: Some(3),
            pid: Some(pid),
            uid: 1000,
            access_key_id: key.into(),
            expires: Wall(1_795_348_800_000),
            times: 1,
        })
    }

    fn refused(uid: u32, who: Option<Culprit>) -> Told {
        Told::Refused(Refused { service: Name::new("a"), uid, who, why: Why::OutsideOfTree, times: 1 })
    }

    #[test]
    fn what_is_alike_is_added_up_and_what_is_not_is_kept_apart() {
        let mut waiting = Vec::new();
        for told in [shown(7, "ASIA1"), shown(8, "ASIA1"), shown(8, "ASIA2"), refused(0, None), refused(1, None)] {
            add(&mut waiting, told);
        }
        assert_eq!(waiting.len(), 4, "{waiting:?}");
        let Told::Issued(first) = waiting.swap_remove(0) else { panic!("{waiting:?}") };
        assert_eq!((first.times, first.pid), (2, Some(8)));
        let event = first.event(Wall(0));
        assert_eq!(
            event.reason.as_deref(),
            Some("run 3, pid 8, was given ASIA1, until 2026-11-22T12:00:00Z, by endpoint (2 times)")
        );
        assert_eq!((event.run, &event.more["times"]), (Some(3), &json!(2)));
    }

    #[test]
    fn who_was_refused_is_named_as_far_as_it_is_known() {
        let culprit = Culprit { pid: 9, comm: "py\u{1b}[1m".into(), service: Some(Name::new("b")) };
        let Told::Refused(known) = refused(4_000_001, Some(culprit)) else { panic!("just made") };
        let event = known.event(Wall(0));
        let reason = event.reason.expect("a sentence");
        assert!(reason.starts_with("pid 9 (py") && !reason.contains('\u{1b}'), "{reason}");
        assert!(reason.contains(" of 4000001, of service `b`, showed this service's token"), "{reason}");
        let Told::Refused(unknown) = refused(4_000_001, None) else { panic!("just made") };
        let reason = unknown.event(Wall(0)).reason.expect("a sentence");
        assert!(reason.starts_with("a process of 4000001 showed"), "{reason}");
    }
}
