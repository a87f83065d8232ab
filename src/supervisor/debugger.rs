//! Nobody's debugging is cut short: before a run is replaced by itself its keeper is asked whether a debugger is attached.

use std::time::Duration;

use super::event::Reason;
use super::service::Run;
use super::time::{Mono, Now};

/// A look is good for so long; a debugger is looked for again so often; a keeper that hangs is not waited for longer.
const LOOK_GOOD: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(15);
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(2);

pub(super) enum Look {
    Ask,
    Wait,
    Done,
}

pub(super) fn by_person(why: &[Reason]) -> bool {
    why.iter().any(|reason| matches!(reason, Reason::Restart { .. }))
}

/// Nobody's debugging is cut short by a replacement that nobody asked for.
pub(super) fn look(run: &Run, why: &[Reason], now: Now) -> Look {
    if by_person(why) || run.looked.is_some_and(|at| now.mono.since(at) < LOOK_GOOD) {
        return Look::Done;
    }
    match run.look_asked.filter(|&at| run.looked.is_none_or(|looked| looked < at)) {
        None => Look::Ask,
        Some(at) if now.mono.since(at) < LOOK_WITHIN => Look::Wait,
        // A keeper that does not answer does not keep a service on old credentials.
        Some(_) => Look::Done,
    }
}

/// While a debugger is attached, whether it still is.
pub(super) fn look_again(run: &Run, why: &[Reason], now: Now) -> bool {
    run.traced.is_some() && !why.is_empty() && look_again_at(run).is_some_and(|at| at <= now.mono)
}

pub(super) fn look_again_at(run: &Run) -> Option<Mono> {
    run.traced.as_ref().and(run.look_asked).map(|at| at + LOOK_AGAIN)
}
