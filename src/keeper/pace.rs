//! How long the pipes are left alone after a read, so that a service that writes a line at a time does not wake us for
//! each, and one that writes much never waits for us.
//!
//! The rest is halved while the pipe is found half full after it, and doubled while it is found nearly empty; one that
//! fills even in the shortest is read without a rest for a while.

use std::time::Duration;

const LONGEST: Duration = Duration::from_millis(1);
const SHORTEST: Duration = Duration::from_micros(125);
/// How long it does not rest after the shortest rest was too long.
const HURRY: Duration = Duration::from_millis(200);

pub(super) struct Pace {
    rest: Duration,
    rested: bool,
    hurry_until: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { rest: LONGEST, rested: false, hurry_until: Duration::ZERO }
    }

    /// The pipe was found to hold so many bytes of what it can. Answers how long it may be left alone.
    pub(super) fn found(&mut self, bytes: usize, capacity: usize, now: Duration) -> Option<Duration> {
        if std::mem::take(&mut self.rested) {
            if is_full(bytes, capacity) {
                if self.rest <= SHORTEST {
                    self.hurry_until = now + HURRY;
                }
                self.rest = (self.rest / 2).max(SHORTEST);
            } else if bytes < capacity / 8 {
                self.rest = (self.rest * 2).min(LONGEST);
            }
        } else if is_full(bytes, capacity) && self.hurry_until <= now {
            // It filled while nobody rested: no time for that at all.
            self.hurry_until = now + HURRY;
            self.rest = SHORTEST;
        }
        if self.hurry_until > now {
            return None;
        }
        self.rested = true;
        Some(self.rest)
    }
}

/// Whoever writes is about to wait. Half: a pipe of pages is full at half its bytes when the writes are a little longer
/// than half a page, for none is split over two.
pub(super) fn is_full(bytes: usize, capacity: usize) -> bool {
    bytes >= capacity / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: usize = 256 << 10;

    /// A second of a service that could write so many bytes a microsecond: (bytes it wrote, times it was read).
    fn second(bytes_per_us: usize) -> (usize, u32) {
        let mut pace = Pace::new();
        let (mut now, mut held, mut wrote, mut reads) = (Duration::ZERO, 0, 0, 0);
        while now < Duration::from_secs(1) {
            reads += 1;
            let rest = pace.found(held, PIPE, now);
            held = 0;
            // A read takes its time, too.
            let pause = rest.unwrap_or_default() + Duration::from_micros(20);
            let fits = (bytes_per_us * usize::try_from(pause.as_micros()).expect("short")).min(PIPE - held);
            (held, wrote, now) = (held + fits, wrote + fits, now + pause);
        }
        (wrote, reads)
    }

    #[test]
    fn nobody_is_held_up_and_few_are_the_reads() {
        for bytes_per_us in [1, 10, 50, 100, 250, 500, 1000, 2000] {
            let (wrote, reads) = second(bytes_per_us);
            let could = bytes_per_us * 1_000_000;
            assert!(wrote * 100 > could * 97, "{bytes_per_us} MB/s came to {} MB/s", wrote / 1_000_000);
            if bytes_per_us <= 100 {
                assert!(reads < 2_000, "{reads} reads for {bytes_per_us} MB/s");
            }
        }
    }

    #[test]
    fn after_a_burst_it_rests_again() {
        let mut pace = Pace::new();
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            pace.found(PIPE, PIPE, now);
        }
        assert_eq!(pace.found(1, PIPE, now), None, "it hurries");
        now += HURRY;
        let rests: Vec<_> = (0..5).map(|_| pace.found(1, PIPE, now).expect("a rest").as_micros()).collect();
        assert_eq!(rests, [125, 250, 500, 1000, 1000]);
    }
}
