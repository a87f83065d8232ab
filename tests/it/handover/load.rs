//! A service is replaced again and again while callers come at a fixed rate, and not one request fails; without a handover some
//! do, which shows that the test can fail.
//!
//! 20 rotations of each; `DEVSUP_ROTATIONS=1000` is so many. Waits are told and never judged: `--nocapture` shows them.

mod callers;

use std::env;
use std::time::Duration;

use devsup::control::api::{Event, Service};
use serde_json::Value;

use self::callers::{Load, Tally};
use crate::project::{Project, misbehave, wait_until};

/// Every so many rotations, some connections are never at rest, so that draining them takes all of `stop_timeout`.
const BUSY: u32 = 5;

fn rotations() -> u32 {
    env::var("DEVSUP_ROTATIONS").map_or(20, |number| number.parse().expect("DEVSUP_ROTATIONS is a number"))
}

/// One service that takes 200 ms to start.
fn project(handover: &str, replace: &str) -> Project {
    let web = misbehave().replace("misbehave", "web");
    assert!(std::path::Path::new(&web).exists(), "{web} is missing: `cargo build --examples`");
    // What is forwarded is drained so long and then told to stop: enough for an upload on a busy machine, in both.
    let (grace, wait) = if handover == "forward" { ("3s", ", wait = '30s'") } else { ("10s", "") };
    let project = Project::new(&format!(
        "name = 'load'\naws = {{ region = 'ap-southeast-2', role_prefix = 'arn:aws:iam::033145145979:role/' }}\n\
         [services.a]\ncommand = ['{web}', '--start-ms', '200']\nrole = 'service-a'\nready.notify = true\n\
         stop_timeout = '{grace}'\nreplace = '{replace}'\n\
         ports.http = {{ listen = '127.0.0.1:auto', handover = '{handover}'{wait} }}\n\
         [sandbox]\nlease = '12h'\n"
    ));
    project.up_sandbox();
    project
}

/// What came of it, for callers and in the words of devsup.
struct Outcome {
    tally: Tally,
    replaced: Vec<Event>,
}

fn rotate(handover: &str, replace: &str, times: u32) -> Outcome {
    let project = project(handover, replace);
    let address = project.service("a").ports[0].listen.parse().expect("an address");
    let load = Load::begin(address);
    wait_until("callers are answered", || load.latest_run() == 1);
    for turn in 1..=times {
        load.busy(turn % BUSY == 0);
        // The two commonest reasons: a person, and credentials.
        let words = if turn % 2 == 0 { &["restart", "a"][..] } else { &["creds", "a", "--refresh"] };
        project.devsup(words).ok();
        // Who waited is taken too, or he would wait for the next one as well.
        let taken = |a: &Service| a.ready && a.ports[0].waiting.is_none_or(|waiting| waiting == 0);
        let over = |a: &Service| taken(a) && a.run == Some(turn + 1) && a.exits.iter().any(|exit| exit.run == turn);
        project.until_one("a", over, "the new run has taken its place");
        wait_until("the new run is called", || load.latest_run() > turn);
    }
    let tally = load.end();
    let a = project.service("a");
    assert_eq!((a.run, a.crashes), (Some(times + 1), 0), "{a:#?}");
    let replaced = project.events().into_iter().filter(|event| event.event == "replaced").collect();
    let outcome = Outcome { tally, replaced };
    outcome.tell(&format!("{handover}+{replace}"), times);
    outcome
}

impl Outcome {
    #[expect(clippy::print_stderr, reason = "the numbers are what a long run is for")]
    fn tell(&self, what: &str, times: u32) {
        let seen = self.noted("waited_ms").max().or(self.noted("gap_ms").max());
        eprintln!("{what}, {times} rotations: {}; devsup saw {seen:?} ms at worst", self.tally);
    }

    fn noted(&self, key: &str) -> impl Iterator<Item = u64> {
        self.replaced.iter().filter_map(move |event| event.more.get(key).and_then(Value::as_u64))
    }

    #[track_caller]
    fn nobody_noticed(&self) {
        assert!(self.tally.failed.is_empty(), "{} failed: {:#?}", self.tally.failed.len(), self.tally.first_failed());
        assert!(self.tally.all_kinds(), "{}", self.tally);
        assert!(self.noted("waited_ms").count() == self.replaced.len(), "{:#?}", self.replaced);
    }
}

#[test]
fn no_request_fails_with_a_socket_that_is_passed_on() {
    rotate("socket", "restart", rotations()).nobody_noticed();
}

#[test]
fn no_request_fails_with_a_passed_socket_and_an_overlap() {
    rotate("socket", "overlap", rotations()).nobody_noticed();
}

#[test]
fn no_request_fails_with_forwarded_callers() {
    let outcome = rotate("forward", "restart", rotations());
    outcome.nobody_noticed();
    // Each new run takes 200 ms to start, and callers never stop to come. Their own clocks begin before and stop after.
    let felt = outcome.tally.worst();
    let so = |ms| ms >= 200 && Duration::from_millis(ms) <= felt;
    assert!(outcome.noted("waited_ms").all(so), "{felt:?} {:#?}", outcome.replaced);
}

#[test]
fn no_request_fails_with_forwarded_callers_and_an_overlap() {
    rotate("forward", "overlap", rotations()).nobody_noticed();
}

/// For contrast: the same callers, the same service.
#[test]
fn requests_fail_without_a_handover() {
    let outcome = rotate("none", "restart", rotations().min(5));
    let refused = outcome.tally.failed.iter().filter(|why| why.contains("refused")).count();
    assert!(refused > 0 && outcome.noted("gap_ms").all(|ms| ms >= 200), "{} {:#?}", outcome.tally, outcome.replaced);
}
