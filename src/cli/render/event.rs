//! `devsup events`: one line of the journal for a person.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::clock;
use crate::cli::paint::Paint;
use crate::control::api::Event;

pub(crate) fn event(event: &Event, now: Timestamp, zone: &TimeZone, paint: Paint) -> String {
    let service = event.service.as_deref().unwrap_or("devsup");
    let what = event.reason.clone().unwrap_or_else(|| event.event.replace('-', " "));
    let mut line = format!("{}  {}  {what}", paint.dim(&clock(&event.time, now, zone)), paint.bold(service));
    if let Some(by) = &event.by {
        line += &paint.dim(&format!(" (by {})", by.user));
    }
    line.push('\n');
    line
}
