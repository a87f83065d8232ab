//! The scenarios of `docs/scenarios.md` that no other part's tests show: one invariant each, seen from outside, against the
//! real binary.

mod itself;
mod manifest;
mod output;
mod page;
mod restarts;
mod starts;
mod stops;

use std::path::Path;

use devsup::control::api::Event;

use crate::project::{Foreground, Project};

/// `prlimit --pid PID` with these words: the limit of one living process, which what it starts inherits.
fn limit(project: &Project, pid: u32, words: &[&str]) {
    let pid = pid.to_string();
    let words: Vec<&str> = ["--pid", &pid].into_iter().chain(words.iter().copied()).collect();
    Foreground::start(project.command(Path::new("prlimit"), &words)).finish().ok();
}

/// So many services, each in these words.
fn many(count: u32, words: impl Fn(u32) -> String) -> String {
    (0..count).map(words).collect::<Vec<_>>().concat()
}

fn sleepers(count: u32) -> String {
    many(count, |n| format!("[services.s{n}]\ncommand = [\"sleep\", \"600\"]\n"))
}

/// What the journal says of one service by these words, in order.
fn told(events: &[Event], service: &str, words: &[&str]) -> Vec<(String, u32)> {
    let of = events.iter().filter(|event| event.service.as_deref() == Some(service));
    let these = of.filter(|event| words.contains(&event.event.as_str()));
    these.map(|event| (event.event.clone(), event.run.unwrap_or_default())).collect()
}

/// A run is over before the next begins, whatever was typed how often: seen in the journal.
#[track_caller]
fn one_after_the_other(events: &[Event], service: &str) {
    let mut alive = None;
    for (what, run) in told(events, service, &["started", "exited", "stopped"]) {
        if what == "started" {
            assert_eq!(alive, None, "run {run} began while another lived: {events:#?}");
            alive = Some(run);
        } else if alive == Some(run) {
            alive = None;
        }
    }
}
