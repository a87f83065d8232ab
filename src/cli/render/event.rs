//! `devsup events`: one line of the journal for a person.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::clock;
use crate::cli::paint::Paint;
use crate::cli::seam::api::Event;

pub(crate) fn event(event: &Event, now: Timestamp, zone: &TimeZone, paint: Paint) -> String {
    let mut words = vec![paint.dim(&clock(&event.time, now, zone))];
    if let Some(service) = &event.service {
        words.push(paint.bold(service));
    }
    words.push(event.event.replace('-', " "));
    let mut line = words.join("  ");
    if let Some(reason) = &event.reason {
        line.extend([": ", reason]);
    }
    let mut aside = Vec::new();
    aside.extend(event.run.map(|run| format!("run {run}")));
    aside.extend(event.by.as_ref().map(|by| format!("by {}", by.user)));
    if !aside.is_empty() {
        line += &paint.dim(&format!(" ({})", aside.join(", ")));
    }
    line.push('\n');
    line
}
