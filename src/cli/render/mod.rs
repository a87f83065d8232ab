//! What people read, as pure functions from the API's shapes to text; snapshot-tested, so that wording is reviewed like code.

pub(crate) mod detail;
pub(crate) mod event;
pub(crate) mod grid;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `arn:aws:iam::033145145979:role/path/service-a` → `service-a`.
pub(crate) fn short_role(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// An RFC 3339 time as a person near the machine reads it: the clock, with the day if it is another than `now`'s.
pub(crate) fn clock(time: &str, now: Timestamp, zone: &TimeZone) -> String {
    let Ok(at) = time.parse::<Timestamp>() else { return time.to_owned() };
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = if at.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    at.strftime(form).to_string()
}

/// `1 service`, `2 services`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// `` `a` ``, `` `a` and `b` ``, `` `a`, `b` and `c` ``.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
