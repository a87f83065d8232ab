//! The only reader of the clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> Duration {
    let t = clock_gettime(clock);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// Since boot, standing still while the machine sleeps.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Since boot, going on while the machine sleeps.
pub fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// Since 1970, as the wall clock says.
pub fn realtime() -> Duration {
    read(ClockId::Realtime)
}
