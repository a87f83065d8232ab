//! One sentence for every line of the journal.

use std::time::Duration;

use crate::manifest::{Name, span};
use crate::supervisor::{Happening, Note, Reason};

pub(super) fn sentence(note: &Note) -> String {
    // The service stands in a field, and in a column, of its own.
    match note.run {
        Some(run) => format!("run {run} {}", what(&note.what)),
        None => what(&note.what),
    }
}

fn reasons(why: &[Reason]) -> String {
    if why.is_empty() {
        return String::new();
    }
    let why: Vec<String> = why.iter().map(ToString::to_string).collect();
    format!(" ({})", why.join(", "))
}

fn names(word: &str, names: &[Name]) -> Option<String> {
    let joined: Vec<&str> = names.iter().map(Name::as_str).collect();
    (!joined.is_empty()).then(|| format!("{word} {}", joined.join(", ")))
}

fn millis(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

fn what(what: &Happening) -> String {
    match what {
        Happening::Commanded { command } => format!("asked to {command}"),
        Happening::Starting { why } => format!("starts{}", reasons(why)),
        Happening::Started { pid } => format!("started (pid {pid})"),
        Happening::StartFailed { what } => format!("did not start: {what}"),
        Happening::Ready => "is ready".into(),
        Happening::NotReadyInTime { what } => format!("is not ready in time: {what}"),
        Happening::Unhealthy { what } => format!("is unhealthy: {what}"),
        Happening::Healthy => "is healthy again".into(),
        Happening::Away { what } => format!("is not there any more: {what}"),
        Happening::Exited { exit, crash: true } => format!("crashed: {exit}"),
        Happening::Exited { exit, crash: false } => format!("ended: {exit}"),
        Happening::Stopped { exit: Some(exit) } => format!("stopped: {exit}"),
        Happening::Stopped { exit: None } => "stopped".into(),
        Happening::Replaced { why, gap_ms, waited_ms, given_up } => {
            let gap = match (waited_ms, gap_ms) {
                (Some(0), _) => ", nobody waited".to_owned(),
                (Some(ms), _) => format!(", callers waited {} at most", millis(*ms)),
                (None, gap) => gap.map(|ms| format!(", gap {}", millis(ms))).unwrap_or_default(),
            };
            let gone = given_up.map(|count| format!(", {count} of them in vain")).unwrap_or_default();
            format!("replaced{}{gap}{gone}", reasons(why))
        }
        Happening::PortHeld { what } => format!("cannot be started: {what}"),
        Happening::Backoff { crashes, wait_ms } => format!("starts again in {} (crash {crashes})", millis(*wait_ms)),
        Happening::GaveUp { crashes } => format!("is not started again after {crashes} crashes"),
        Happening::Killed => "was killed: SIGKILL to the whole tree".into(),
        Happening::Survived { who } => format!("survives SIGKILL: {}", who.join(", ")),
        Happening::KeeperLost { what } => format!("ended: {what}"),
        Happening::LeaseGranted { expires } => {
            format!("credentials granted, they expire at {}", crate::control::convert::rfc3339(*expires))
        }
        Happening::LeaseRefused { refusal, retry_ms } => {
            format!("credentials refused: {}: {}; asked again in {}", refusal.code, refusal.message, millis(*retry_ms))
        }
        Happening::LeaseExpired => "its credentials have expired".into(),
        Happening::SettledForHeld => "no fresh credentials came in time: the held ones are used".into(),
        Happening::Deferred { what } => format!("is not replaced yet: {what}"),
        Happening::Held { lasts_ms: Some(ms) } => format!("is held for {}", millis(*ms)),
        Happening::Held { lasts_ms: None } => "is held".into(),
        Happening::Released => "is released".into(),
        Happening::Occupied { by } => format!("waits for {by}"),
        Happening::ManifestLoaded { added, changed, removed } => {
            let parts = [names("added", added), names("changed", changed), names("removed", removed)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            if parts.is_empty() {
                "manifest read: nothing changed".into()
            } else {
                format!("manifest read: {}", parts.join("; "))
            }
        }
        Happening::ShuttingDown => "shuts down".into(),
    }
}
