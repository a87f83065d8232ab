//! The three clocks, as plain numbers. The supervisor never reads one: `now` is an argument.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! clock {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl Add<Duration> for $name {
            type Output = Self;
            fn add(self, by: Duration) -> Self {
                Self(self.0.saturating_add(<$int>::try_from(by.as_millis()).unwrap_or(<$int>::MAX)))
            }
        }

        impl Sub<Duration> for $name {
            type Output = Self;
            fn sub(self, by: Duration) -> Self {
                Self(self.0.saturating_sub(<$int>::try_from(by.as_millis()).unwrap_or(<$int>::MAX)))
            }
        }

        impl $name {
            /// From `earlier` to here; zero if `earlier` is later.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }
        }
    };
}

clock! {
    /// CLOCK_MONOTONIC in milliseconds: grace, backoff, uptime. Stands still while the machine sleeps.
    Mono, u64
}
clock! {
    /// CLOCK_BOOTTIME in milliseconds: the life of leases. Goes on while the machine sleeps.
    Boot, u64
}
clock! {
    /// The wall clock in milliseconds since 1970: to show, and to shorten a lease. May jump either way.
    Wall, i64
}

/// One reading of all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    pub mono: Mono,
    pub boot: Boot,
    pub wall: Wall,
}

/// When [`super::Supervisor::step`] wants to be called again though nothing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    pub mono: Option<Mono>,
    pub boot: Option<Boot>,
}
