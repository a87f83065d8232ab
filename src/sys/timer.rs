//! One-shot timers as descriptors, so that one loop can wait for three clocks without a tick.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Monotonic,
    Boottime,
}

#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    armed: Option<Duration>,
}

impl Timer {
    pub fn new(clock: Clock) -> io::Result<Self> {
        let clock = match clock {
            Clock::Monotonic => TimerfdClockId::Monotonic,
            Clock::Boottime => TimerfdClockId::Boottime,
        };
        Ok(Self { fd: timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?, armed: None })
    }

    /// Fires once at this reading of its clock; `None` disarms. A reading in the past fires at once.
    pub fn arm(&mut self, at: Option<Duration>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        // All zero would disarm, so the very first instant becomes one nanosecond later.
        let value = at.map_or(Duration::ZERO, |at| at.max(Duration::from_nanos(1)));
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once(value))?;
        self.armed = at;
        Ok(())
    }

    /// Takes the tick, so that the descriptor is no longer readable.
    pub fn drain(&mut self) {
        self.armed = None;
        drain(&self.fd);
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Becomes readable when somebody sets the wall clock, or the machine wakes up from sleep.
#[derive(Debug)]
pub struct ClockWatch(OwnedFd);

impl ClockWatch {
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let watch = Self(fd);
        watch.rearm()?;
        Ok(watch)
    }

    /// So far away that it never fires by itself: only the cancellation is wanted.
    fn rearm(&self) -> io::Result<()> {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &once(Duration::from_secs(u64::from(u32::MAX) * 2)))?;
        Ok(())
    }

    pub fn drain(&self) -> io::Result<()> {
        drain(&self.0);
        self.rearm()
    }
}

impl AsRawFd for ClockWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn once(at: Duration) -> Itimerspec {
    Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at.subsec_nanos()),
        },
    }
}

/// EAGAIN (no tick) and ECANCELED (the clock was set) mean the same here: nothing more to take.
fn drain(fd: &OwnedFd) {
    let mut tick = [0_u8; 8];
    if let Err(errno) = rustix::io::read(fd, &mut tick) {
        debug_assert!(matches!(errno, rustix::io::Errno::AGAIN | rustix::io::Errno::CANCELED), "timerfd: {errno}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_past_deadline_fires_at_once_and_a_drained_timer_is_silent() {
        let mut timer = Timer::new(Clock::Boottime).expect("timer");
        timer.arm(Some(Duration::from_millis(1))).expect("armed");
        let ready = |timer: &Timer, wait: i64| {
            poll(&mut [PollFd::new(&timer.fd, PollFlags::IN)], Some(&Timespec { tv_sec: wait, tv_nsec: 0 }))
        };
        assert_eq!(ready(&timer, 10), Ok(1));
        timer.drain();
        assert_eq!(ready(&timer, 0), Ok(0));
    }
}
