//! SIGKILL out of a clear sky.

use std::thread;
use std::time::Duration;

use devsup::sys::tree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::place::Place;

/// How often whom.
#[derive(Debug, Default)]
pub(super) struct Struck {
    pub(super) main: u32,
    pub(super) keeper: u32,
    pub(super) daemon: u32,
    /// The daemon and all its keepers, one right after the other.
    pub(super) both: u32,
}

impl Struck {
    /// The keepers that were killed together with their daemon are one with it.
    fn all(&self) -> u32 {
        self.main + self.keeper + self.daemon + self.both
    }
}

pub(super) fn seed() -> u64 {
    devsup::sys::daemonize::seed()
}

/// xorshift64*: good enough to choose a victim, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

pub(super) fn rage(place: &Place, seed: u64, kills: u32) -> Struck {
    let mut dice = Dice(seed | 1);
    let mut struck = Struck::default();
    while struck.all() < kills {
        thread::sleep(Duration::from_micros(dice.below(20_000)));
        let daemon = place.daemon().expect("there is one");
        // Now and then all are allowed to come up, so that grown trees are struck too.
        if dice.below(50) == 0 {
            place.settled();
        }
        match dice.below(20) {
            0 => {
                strike(daemon);
                struck.daemon += 1;
                place.up(daemon);
            }
            1 => {
                let keepers = keepers(daemon);
                strike(daemon);
                keepers.into_iter().for_each(strike);
                struck.both += 1;
                place.up(daemon);
            }
            2..8 => struck.keeper += one_of(&mut dice, &keepers(daemon)),
            _ => {
                // The first child: the others are orphans of it that the keeper adopted.
                let mains = keepers(daemon).into_iter().filter_map(|keeper| tree::children(keeper).first().copied());
                let mains: Vec<u32> = mains.collect();
                struck.main += one_of(&mut dice, &mains);
            }
        }
    }
    struck
}

fn keepers(daemon: u32) -> Vec<u32> {
    let keeper = |pid: &u32| tree::look(*pid).is_some_and(|process| process.comm.starts_with("keep:"));
    tree::children(daemon).into_iter().filter(keeper).collect()
}

fn one_of(dice: &mut Dice, pids: &[u32]) -> u32 {
    let Some(&pid) = u64::try_from(pids.len()).ok().filter(|many| *many > 0).and_then(|many| {
        let at = usize::try_from(dice.below(many)).ok()?;
        pids.get(at)
    }) else {
        return 0;
    };
    strike(pid);
    1
}

/// It may have ended since it was looked for.
fn strike(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
}
