//! The values of options as people write them: durations, moments, numbers of lines, signals.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp, Zoned};

/// `10` (seconds, as docker compose has it), `500ms`, `10s`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    SignedDuration::from_str(text)
        .ok()
        .and_then(|length| Duration::try_from(length).ok())
        .ok_or_else(|| "expected a duration such as `10s`, `5m` or `1h30m`".to_owned())
}

/// The same, and not nothing.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|length| if length.is_zero() { Err("expected more than no time".to_owned()) } else { Ok(length) })
}

/// How many lines of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    All,
    Lines(usize),
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Lines).map_err(|_| "expected a number of lines, or `all`".to_owned()),
        }
    }
}

/// Runs are counted from 1.
pub(crate) fn run_number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected the number of a run, such as `4`: `devsup ps SVC` shows the last ones".to_owned())
}

/// A moment in the past: `10m` (ago), `14:05` (the last time the clock showed it), or RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Ago(Duration),
    Clock(Time),
    At(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if text.contains(':')
            && let Ok(time) = text.parse()
        {
            return Ok(Self::Clock(time));
        }
        duration(text)
            .map(Self::Ago)
            .map_err(|_| "expected `10m`, `14:05` or a time such as `2026-01-31T14:05:00Z`".to_owned())
    }
}

impl Moment {
    pub(crate) fn before(&self, now: &Zoned) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Ago(length) => now
                .timestamp()
                .checked_sub(SignedDuration::try_from(*length).unwrap_or(SignedDuration::MAX))
                .unwrap_or(Timestamp::MIN),
            Self::Clock(time) => {
                let today =
                    now.datetime().with().time(*time).build().and_then(|at| at.to_zoned(now.time_zone().clone()));
                match today {
                    Ok(at) if at <= *now => at.timestamp(),
                    Ok(at) => at.yesterday().map_or(at.timestamp(), |at| at.timestamp()),
                    Err(_) => now.timestamp(),
                }
            }
        }
    }
}

/// A signal by name, with or without `SIG`, or by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(pub i32);

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::sys::tty::signal_number(text)
            .map(Self)
            .ok_or_else(|| "expected a signal such as `TERM`, `SIGHUP` or `10`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds_as_in_docker_compose() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("soon").is_err());
        assert!(duration("-5s").is_err());
        assert!(duration("0s").is_ok() && some_time("0s").is_err() && some_time("0").is_err());
        assert_eq!(some_time("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn a_clock_time_later_than_now_was_yesterday() {
        let now = "2026-03-02T14:00:00Z".parse::<Timestamp>().expect("a time").to_zoned(jiff::tz::TimeZone::UTC);
        let at = |text: &str| text.parse::<Moment>().expect("a moment").before(&now).to_string();
        assert_eq!(at("10m"), "2026-03-02T13:50:00Z");
        assert_eq!(at("13:05"), "2026-03-02T13:05:00Z");
        assert_eq!(at("14:05"), "2026-03-01T14:05:00Z");
        assert_eq!(at("2026-01-31T14:05:00+01:00"), "2026-01-31T13:05:00Z");
        assert!("noonish".parse::<Moment>().is_err());
    }

    #[test]
    fn signals_go_by_name_or_number() {
        assert_eq!("TERM".parse(), Ok(Signal(15)));
        assert_eq!("sighup".parse(), Ok(Signal(1)));
        assert_eq!("9".parse(), Ok(Signal(9)));
        assert!("NOPE".parse::<Signal>().is_err());
        assert!("900".parse::<Signal>().is_err());
    }
}
