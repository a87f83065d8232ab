//! What systemd is told of a project that is its unit: ready once every service is, or has a lasting reason not to be; a
//! line of what is the matter, whenever it changes; and that the end has begun.

use std::ffi::OsString;
use std::time::Duration;

use super::clocks::now;
use super::system::booting;
use super::world::World;
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
    /// `address`: `NOTIFY_SOCKET`.
    pub(super) fn new(address: OsString) -> Self {
        Self { address, ready: false, stopping: false, status: String::new() }
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
    Pending,
}

/// Has each that is wanted come to something? And one line about it.
fn judge(services: &[Service], booting: bool) -> (bool, String) {
    let wanted: Vec<&Service> = services.iter().filter(|service| service.want == Want::Up).collect();
    let (mut ready, mut lasting, mut pending) = (0, Vec::new(), Vec::new());
    for service in &wanted {
        match standing(service, services, booting) {
            Standing::Ready => ready += 1,
            Standing::Lasting(why) => lasting.push(format!("{}: {why}", service.name)),
            Standing::Pending => pending.push(service.name.as_str()),
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

fn standing(service: &Service, all: &[Service], booting: bool) -> Standing {
    let refusal = service.credentials.as_ref().and_then(|held| held.error.as_ref());
    match service.state {
        State::Done => Standing::Ready,
        State::Running if service.ready => Standing::Ready,
        State::Failed => Standing::Lasting(service.status.clone()),
        State::Backoff if service.crashes >= CRASHES_THAT_LAST => Standing::Lasting("crashes".to_owned()),
        State::Starting | State::Running if service.overdue => Standing::Lasting("not ready in time".to_owned()),
        State::Waiting => match refusal {
            Some(refusal) if refusal.lasting || !booting => Standing::Lasting(refusal.code.clone()),
            Some(_) => Standing::Pending,
            None => blocked(service, all, booting),
        },
        State::Running | State::Starting | State::Backoff | State::Stopping | State::Stopped => Standing::Pending,
    }
}

/// Dependencies have no cycle, so this ends.
fn blocked(service: &Service, all: &[Service], booting: bool) -> Standing {
    let stuck = service.depends_on.iter().find(|name| {
        let needed = all.iter().find(|other| other.name == **name);
        needed.is_some_and(|needed| matches!(standing(needed, all, booting), Standing::Lasting(_)))
    });
    stuck.map_or(Standing::Pending, |on| Standing::Lasting(format!("waits for {on}")))
}
