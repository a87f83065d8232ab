//! Snapshots of the table, the detail view, JSON and events.

use jiff::tz::TimeZone;

use super::detail::{self, Setting};
use super::sample::{self, NOW};
use super::table::{self, Mode};
use super::{clock, list};
use crate::cli::paint::Paint;
use crate::cli::terminal::json_line;
use crate::control::api::{Event, Service};
use crate::supervisor::By;

fn setting(lines: &[String], mode: Mode) -> Setting<'_> {
    let now = NOW.parse().expect("a time");
    Setting {
        project: "shop",
        base: Some("arn:aws:iam::033145145979:user/dev"),
        mode,
        now,
        zone: TimeZone::UTC,
        lines,
        paint: Paint::Plain,
    }
}

#[test]
fn the_table_shows_every_state() {
    let services = sample::all_states();
    let chosen: Vec<&Service> = services.iter().collect();
    insta::assert_snapshot!(table::services(&chosen, Mode::Real, Paint::Plain));
}

#[test]
fn in_a_sandbox_the_header_says_so_and_ports_come_when_there_are_any() {
    let port = sample::port("none");
    let services = [Service { ports: vec![port], ..sample::running("a", 4121) }, sample::running("b", 4122)];
    let chosen: Vec<&Service> = services.iter().collect();
    insta::assert_snapshot!(table::services(&chosen, Mode::Sandbox, Paint::Plain));
}

#[test]
fn colour_does_not_move_a_column() {
    let services = sample::all_states();
    let chosen: Vec<&Service> = services.iter().collect();
    let coloured = table::services(&chosen, Mode::Real, Paint::Ansi);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').expect("a whole sequence").1;
    }
    plain.push_str(rest);
    assert!(coloured.contains("\x1b[32mrunning (ready)\x1b[0m"));
    assert_eq!(plain, table::services(&chosen, Mode::Real, Paint::Plain));
}

#[test]
fn the_detail_view_of_a_running_service() {
    let lines = ["listening on 8001".to_owned(), "GET / 200".to_owned()];
    insta::assert_snapshot!(detail::service(&sample::running("a", 4121), &setting(&lines, Mode::Sandbox)));
}

#[test]
fn the_detail_view_of_a_refused_service_has_the_mend() {
    insta::assert_snapshot!(detail::service(&sample::refused("b"), &setting(&[], Mode::Real)));
}

#[test]
fn the_detail_view_of_every_other_state() {
    let setting = setting(&[], Mode::Real);
    let text: Vec<String> =
        sample::all_states().iter().skip(2).map(|service| detail::service(service, &setting)).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn json_is_one_object_a_line_with_stable_keys() {
    let text: String =
        [sample::running("a", 4121), sample::refused("b"), sample::held("d")].iter().map(json_line).collect();
    assert_eq!(text.lines().count(), 3);
    insta::assert_snapshot!(text);
}

#[test]
fn events_say_who_did_what() {
    let event = |service: Option<&str>, event: &str, reason: Option<&str>, by: Option<&str>| Event {
        time: "2026-03-02T14:05:12.123Z".into(),
        service: service.map(str::to_owned),
        run: service.map(|_| 4),
        event: event.into(),
        reason: reason.map(str::to_owned),
        by: by.map(|user| By { uid: 1000, user: user.into() }),
        more: std::collections::BTreeMap::new(),
    };
    let events = [
        event(Some("a"), "starting", Some("credentials"), None),
        event(Some("b"), "lease-refused", Some("AccessDenied: not trusted"), None),
        event(None, "commanded", Some("down"), Some("alice")),
    ];
    let now = NOW.parse().expect("a time");
    let text: String =
        events.iter().map(|event| super::event::event(event, now, &TimeZone::UTC, Paint::Plain)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn times_of_another_day_carry_it() {
    let now = NOW.parse().expect("a time");
    assert_eq!(clock("2026-03-02T13:59:12Z", now, &TimeZone::UTC), "13:59:12");
    assert_eq!(clock("2026-03-01T13:59:12Z", now, &TimeZone::UTC), "2026-03-01 13:59:12");
    assert_eq!(clock("soon", now, &TimeZone::UTC), "soon");
}

#[test]
fn lists_read_like_sentences() {
    assert_eq!(list::<&str>(&[]), "");
    assert_eq!(list(&["a"]), "`a`");
    assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
}
