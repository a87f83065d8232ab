//! Exec probes: beside the service, as the service is, and gone when nobody needs them.

use std::time::Duration;

use devsup::keeper::protocol::{Order, Report, Which};
use devsup::supervisor::StopWhy;

use crate::keeper::kept::{Kept, Setup, misbehave, wait_until};

const LONG: Duration = Duration::from_mins(1);

fn argv(words: &[&str]) -> Vec<String> {
    [misbehave().as_str()].iter().chain(words).map(|&word| word.to_owned()).collect()
}

/// A service that sleeps, with this ready probe.
fn asked(probe: &[&str]) -> (Setup, Kept) {
    let mut setup = Setup::new();
    setup.spec.probes.ready = Some(argv(probe));
    setup.spec.logs.redact = vec![("[masked]".into(), "a-long-secret".into())];
    let mut kept = setup.start(&["sleep", "60"]);
    kept.started();
    (setup, kept)
}

fn ask(kept: &mut Kept, which: Which, timeout: Duration) {
    kept.order(&Order::Probe { which, timeout });
}

fn answer(kept: &mut Kept, of: Which) -> Option<String> {
    kept.until("an answer", |report| match report {
        Report::Probed { which, trouble } if *which == of => Some(trouble.clone()),
        _ => None,
    })
}

#[test]
fn a_probe_that_ends_well_is_well_and_runs_where_the_service_does() {
    let (setup, mut kept) = asked(&["to", "probe", "cwd", "env", "ids", "fds", "exit", "0"]);
    ask(&mut kept, Which::Ready, LONG);
    assert_eq!(answer(&mut kept, Which::Ready), None);
    let said = setup.read("probe");
    let folder = setup.folder.path().canonicalize().expect("it is there");
    assert!(said.starts_with(&format!("{}\n", folder.display())), "{said}");
    assert!(
        said.contains("DEVSUP_RUN\n") && said.contains("fd 0 /dev/null") && said.contains("fd 1 /dev/null"),
        "{said}"
    );
}

#[test]
fn one_that_fails_says_why_in_its_last_line() {
    let (_setup, mut kept) =
        asked(&["cry", "psql:", "say", "nobody reads this", "cry", "\u{1b}[31mno such table", "cry", "", "exit", "1"]);
    ask(&mut kept, Which::Ready, LONG);
    assert_eq!(answer(&mut kept, Which::Ready).as_deref(), Some("exit 1: no such table"));
    let (_setup, mut kept) = asked(&["die", "SEGV"]);
    ask(&mut kept, Which::Ready, LONG);
    assert_eq!(answer(&mut kept, Which::Ready).as_deref(), Some("SIGSEGV"));
    let (_setup, mut kept) = asked(&["cry", "denied for a-long-secret", "exit", "2"]);
    ask(&mut kept, Which::Ready, LONG);
    assert_eq!(answer(&mut kept, Which::Ready).as_deref(), Some("exit 2: denied for [masked]"));
}

#[test]
fn one_that_cannot_be_started_says_so() {
    let mut setup = Setup::new();
    setup.spec.probes.live = Some(vec!["/no/such/probe".into()]);
    let mut kept = setup.start(&["sleep", "60"]);
    kept.started();
    ask(&mut kept, Which::Live, LONG);
    let what = answer(&mut kept, Which::Live).expect("trouble");
    assert!(what.contains("`/no/such/probe`: no such file"), "{what}");
}

#[test]
fn one_that_takes_too_long_is_killed_with_all_below_it() {
    let (setup, mut kept) =
        asked(&["fork", "setsid", "[", "touch", "below", "sleep", "60", "]", "ignore", "TERM", "sleep", "60"]);
    let service = kept.tree();
    ask(&mut kept, Which::Ready, Duration::from_millis(500));
    setup.wait_for("below");
    assert_eq!(answer(&mut kept, Which::Ready).as_deref(), Some("it did not end in 500ms"));
    wait_until("only the service is left", || kept.tree() == service);
}

#[test]
fn what_a_probe_leaves_behind_is_ended() {
    let (setup, mut kept) =
        asked(&["fork", "[", "touch", "below", "sleep", "60", "]", "wait-for", "below", "exit", "0"]);
    let service = kept.tree();
    ask(&mut kept, Which::Ready, LONG);
    assert_eq!(answer(&mut kept, Which::Ready), None);
    assert!(setup.has("below"));
    wait_until("only the service is left", || kept.tree() == service);
}

#[test]
fn there_is_one_of_each_kind_at_a_time_and_each_has_its_answer() {
    let mut setup = Setup::new();
    setup.spec.probes.ready = Some(argv(&["to", "asked", "say", "ready", "wait-for", "go", "cry", "no", "exit", "1"]));
    setup.spec.probes.live = Some(argv(&["to", "asked", "say", "live", "wait-for", "go", "exit", "0"]));
    let mut kept = setup.start(&["sleep", "60"]);
    kept.started();
    for which in [Which::Ready, Which::Live, Which::Ready, Which::Live] {
        ask(&mut kept, which, LONG);
    }
    wait_until("both ask", || setup.read("asked").lines().count() >= 2);
    std::fs::write(setup.path("go"), "").expect("a file");
    assert_eq!(answer(&mut kept, Which::Ready).as_deref(), Some("exit 1: no"));
    assert_eq!(answer(&mut kept, Which::Live), None);
    assert_eq!(setup.read("asked").lines().count(), 2, "{}", setup.read("asked"));
}

/// Scenario 27.
#[test]
fn a_stop_does_not_wait_for_a_probe() {
    let (setup, mut kept) = asked(&["ignore", "TERM", "touch", "asks", "sleep", "60"]);
    ask(&mut kept, Which::Ready, LONG);
    setup.wait_for("asks");
    kept.tree();
    kept.order(&Order::Stop { timeout: LONG, why: StopWhy::Asked });
    kept.until_gone();
    kept.nothing_is_left();
    // Nobody is asked about a run that is over.
    assert!(!kept.said().iter().any(|report| matches!(report, Report::Took { order } if order == "probe")));
}

#[test]
fn a_run_that_ends_by_itself_takes_its_probe_along() {
    let mut setup = Setup::new();
    setup.spec.probes.ready = Some(argv(&["touch", "asks", "sleep", "60"]));
    let mut kept = setup.start(&["wait-for", "asks", "ms", "100", "exit", "3"]);
    kept.started();
    ask(&mut kept, Which::Ready, LONG);
    setup.wait_for("asks");
    kept.tree();
    kept.until_gone();
    kept.nothing_is_left();
}

#[test]
fn a_signal_to_the_tree_is_not_for_the_probe() {
    const USR1: i32 = 10;
    let mut setup = Setup::new();
    setup.spec.probes.ready =
        Some(argv(&["on", "USR1", "touch", "told", "touch", "asks", "wait-for", "go", "exit", "0"]));
    let mut kept = setup.start(&["on", "USR1", "touch", "service-told", "touch", "up", "sleep", "60"]);
    kept.started();
    setup.wait_for("up");
    ask(&mut kept, Which::Ready, LONG);
    setup.wait_for("asks");
    kept.order(&Order::Signal { signal: USR1, main: false });
    setup.wait_for("service-told");
    std::fs::write(setup.path("go"), "").expect("a file");
    assert_eq!(answer(&mut kept, Which::Ready), None);
    assert!(!setup.has("told"));
}
