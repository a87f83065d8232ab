//! Waits for three clocks at once and never ticks: a timer per clock, and the wall clock's being set.

use std::io;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::watched::watched;
use crate::supervisor::{Boot, Mono, Now, Wake, Wall};
use crate::sys::clock;
use crate::sys::timer::{Clock, ClockWatch, Timer};

pub(super) fn now() -> Now {
    let ms = |read: Duration| u64::try_from(read.as_millis()).unwrap_or(u64::MAX);
    Now {
        mono: Mono(ms(clock::monotonic())),
        boot: Boot(ms(clock::boottime())),
        wall: Wall(i64::try_from(clock::realtime().as_millis()).unwrap_or(i64::MAX)),
    }
}

pub(super) struct Clocks {
    mono: AsyncFd<Timer>,
    boot: AsyncFd<Timer>,
    wall: AsyncFd<ClockWatch>,
}

impl Clocks {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            mono: watched(Timer::new(Clock::Monotonic)?)?,
            boot: watched(Timer::new(Clock::Boottime)?)?,
            wall: watched(ClockWatch::new()?)?,
        })
    }

    pub(super) fn arm(&mut self, wake: Wake) -> io::Result<()> {
        self.mono.get_mut().arm(wake.mono.map(|at| Duration::from_millis(at.0)))?;
        self.boot.get_mut().arm(wake.boot.map(|at| Duration::from_millis(at.0)))
    }

    /// Until a deadline passes, the wall clock is set, or the machine wakes up. May be cancelled.
    pub(super) async fn ticked(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.mono.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().drain();
                ready.clear_ready();
            }
            ready = self.boot.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().drain();
                ready.clear_ready();
            }
            ready = self.wall.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().drain()?;
                ready.clear_ready();
            }
        }
        Ok(())
    }
}
