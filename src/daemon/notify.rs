//! What systemd is told of a project that is its unit: ready once every service is, or has a lasting reason not to be; a
//! line of what is the matter, whenever it changes; and that the end has begun.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use super::clocks::now;
use super::system::booting;
use super::world::World;
use crate::control::Start;
use crate::control::api::Service;
use crate::supervisor::{State, Want};
use crate::sys::notify;

/// `systemctl status` shows one line.
const LINE: usize = 160;
/// As for `up -d`: a crash or two at first are common where services race each other.
const CRASHES_THAT_LAST: u32 = 3;

/// What was said already.
pub(super) struct Notify {
    address: OsString,
    ready: bool,
    stopping: bool,
    status: String,
}

impl Notify {
    /// A daemon that some `up` has started is nobody's unit, though that may have been typed in one.
    pub(super) fn of(start: &Start) -> Option<Self> {
        let (_, address) = start.environment.env.iter().find(|(name, _)| start.unit && name == "NOTIFY_SOCKET")?;
        Some(Self { address: address.clone(), ready: false, stopping: false, status: String::new() })
    }

    fn say(&mut self, words: &[&str], status: String) {
        let mut text: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if status != self.status {
            text.push(format!("STATUS={status}"));
            self.status = status;
        }
        if text.is_empty() {
            return;
        }
        if let Err(error) = notify::send(&self.address, &text.join("\n")) {
            tracing::warn!(%error, "systemd could not be told");
        }
    }
}

impl World {
    /// Whatever has changed since it was last told.
    pub(super) fn tell_systemd(&mut self) {
        let Some(mut teller) = self.notify.take() else { return };
        let services = self.services();
        let booting = booting(Duration::from_millis(now().mono.0.saturating_sub(self.brought.began.0)));
        if self.supervisor.shutting_down() {
            let left = services.iter().filter(|service| service.pid.is_some());
            let left: Vec<&str> = left.map(|service| service.name.as_str()).collect();
            let status = if left.is_empty() { "down".to_owned() } else { format!("stopping {}", left.join(", ")) };
            let words: &[&str] = if teller.stopping { &[] } else { &["STOPPING=1"] };
            teller.stopping = true;
            teller.say(words, cut(status));
        } else {
            let (settled, status) = judge(&services, booting);
            let words: &[&str] = if settled && !teller.ready { &["READY=1"] } else { &[] };
            teller.ready |= settled;
            teller.say(words, cut(status));
        }
        self.notify = Some(teller);
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LINE) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Ready,
    /// It may take however long: why.
    Lasting(String),
    /// By what it waits for, if that lasts.
    Blocked,
    Pending,
}

/// Has each that is wanted come to something? And one line about it.
fn judge(services: &[Service], booting: bool) -> (bool, String) {
    let mut standings: BTreeMap<&str, Standing> =
        services.iter().map(|service| (service.name.as_str(), own_standing(service, booting))).collect();
    // Who waits for one that lasts does so himself. Each round finds one more, or is the last.
    loop {
        let stuck = services.iter().filter(|service| standings.get(service.name.as_str()) == Some(&Standing::Blocked));
        let lasts = |name: &&String| matches!(standings.get(name.as_str()), Some(Standing::Lasting(_)));
        let found: Vec<_> = stuck.filter_map(|one| Some((&*one.name, one.depends_on.iter().find(lasts)?))).collect();
        if found.is_empty() {
            break;
        }
        for (name, on) in found {
            standings.insert(name, Standing::Lasting(format!("waits for {on}")));
        }
    }
    let wanted: Vec<&str> =
        services.iter().filter(|service| service.want == Want::Up).map(|service| service.name.as_str()).collect();
    let (mut ready, mut lasting, mut pending) = (0, Vec::new(), Vec::new());
    for name in &wanted {
        match standings.get(name) {
            Some(Standing::Ready) => ready += 1,
            Some(Standing::Lasting(why)) => lasting.push(format!("{name}: {why}")),
            Some(Standing::Blocked | Standing::Pending) | None => pending.push(*name),
        }
    }
    let mut status = format!("{ready} of {} ready", wanted.len());
    if !lasting.is_empty() {
        status = format!("{status}; {}", lasting.join("; "));
    }
    if !pending.is_empty() {
        status = format!("{status}; waiting for {}", pending.join(", "));
    }
    (pending.is_empty(), status)
}

/// Whatever those are that it waits for.
fn own_standing(service: &Service, booting: bool) -> Standing {
    let refusal = service.credentials.as_ref().and_then(|held| held.error.as_ref());
    match service.state {
        State::Done => Standing::Ready,
        State::Running if service.ready => Standing::Ready,
        // Nothing that we could start will mend it.
        _ if service.external && !booting => Standing::Lasting("does not answer".to_owned()),
        State::Failed => Standing::Lasting(service.status.clone()),
        State::Backoff if service.crashes >= CRASHES_THAT_LAST => Standing::Lasting("crashes".to_owned()),
        State::Starting | State::Running if service.overdue => Standing::Lasting("not ready in time".to_owned()),
        State::Waiting => match refusal {
            Some(refusal) if refusal.lasting || !booting => Standing::Lasting(refusal.code.clone()),
            Some(_) => Standing::Pending,
            None => Standing::Blocked,
        },
        State::Running | State::Starting | State::Backoff | State::Stopping | State::Stopped => Standing::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ps --format json` says it.
    fn service(name: &str, more: serde_json::Value) -> Service {
        let mut all = serde_json::json!({
            "name": name, "want": "up", "state": "running", "ready": true, "status": "running (ready)", "since": "",
            "crashes": 0, "restarts": 0, "rotations": 0, "inherit_aws": false, "isolation": "none", "tree": "session",
            "ports": [], "credentials_text": "", "autostart": true, "depends_on": [], "log_dropped": 0,
        });
        if let (Some(all), serde_json::Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        serde_json::from_value(all).expect("a service")
    }

    fn refused(lasting: bool) -> serde_json::Value {
        let error = serde_json::json!({"code": "AccessDenied", "message": "", "at": "", "lasting": lasting});
        serde_json::json!({"state": "waiting", "ready": false, "credentials": {"scoped": false, "error": error}})
    }

    #[test]
    fn ready_when_each_has_come_to_something() {
        let well = service("a", serde_json::json!({}));
        let off = service("off", serde_json::json!({"want": "down", "state": "stopped", "ready": false}));
        let slow = service("slow", serde_json::json!({"state": "starting", "ready": false}));
        let late = service("late", serde_json::json!({"state": "running", "ready": false, "overdue": true}));
        let done = service("done", serde_json::json!({"state": "done", "ready": false}));
        assert_eq!(judge(&[well.clone(), off.clone(), done], true), (true, "2 of 2 ready".into()));
        assert_eq!(judge(&[well.clone(), slow], true), (false, "1 of 2 ready; waiting for slow".into()));
        assert_eq!(judge(&[well.clone(), late], true), (true, "1 of 2 ready; late: not ready in time".into()));
        assert_eq!(judge(&[off], true), (true, "0 of 0 ready".into()));
        let denied = service("b", refused(true));
        let after = service("c", serde_json::json!({"state": "waiting", "ready": false, "depends_on": ["b"]}));
        let said = "0 of 2 ready; b: AccessDenied; c: waits for b".to_owned();
        assert_eq!(judge(&[denied, after], true), (true, said));
    }

    #[test]
    fn at_boot_what_may_mend_itself_is_waited_for() {
        let denied = [service("b", refused(false))];
        assert!(!judge(&denied, true).0);
        assert!(judge(&denied, false).0);
    }

    /// Each waits for all before it: the ways through are more than anybody has time for.
    #[test]
    fn many_that_wait_for_many_are_judged_at_once() {
        let name = |number: usize| format!("s{number}");
        let waits = |number| {
            let before: Vec<String> = (0..number).map(name).collect();
            service(&name(number), serde_json::json!({"state": "waiting", "ready": false, "depends_on": before}))
        };
        let mut all: Vec<Service> = (0..60).map(waits).collect();
        all[0] = service("s0", refused(false));
        assert!(!judge(&all, true).0);
        all[0] = service("s0", refused(true));
        let (settled, status) = judge(&all, true);
        assert!(settled && status.ends_with("s59: waits for s0"), "{status}");
    }

    #[test]
    fn a_status_is_one_line() {
        let long = cut("ü".repeat(500));
        assert_eq!(long.chars().count(), LINE + 1);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
