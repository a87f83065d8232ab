//! Repeatable chance: SplitMix64 (Steele, Lea, Flood 2014) from a seed that is an input.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from zero up to, not including, `end`, in milliseconds.
    pub(super) fn below(&mut self, end: Duration) -> Duration {
        let end = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        if end == 0 { Duration::ZERO } else { Duration::from_millis(self.next() % end) }
    }

    /// `d` ± 20 %.
    pub(super) fn around(&mut self, d: Duration) -> Duration {
        d * 4 / 5 + self.below(d * 2 / 5)
    }
}
