//! A fake world around the supervisor: days of outages, crashes, suspends, clock steps and people, in milliseconds.
//!
//! Each day is a function of its seed; a failure prints it. `DEVSUP_SIM_SEED=n` replays one, `DEVSUP_SIM_RUNS=n` lives more.

mod check;
mod people;
mod ports;
mod services;
mod world;

use world::World;

/// Seeds that once found something; they are always lived again.
const KEPT: &[u64] = &[];

fn live(seed: u64) -> u64 {
    let mut world = World::new(seed);
    while world.advance() {}
    world.steps
}

#[test]
fn ten_thousand_days_keep_every_invariant() {
    if let Some(seed) = std::env::var("DEVSUP_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        live(seed);
        return;
    }
    let days: u64 = std::env::var("DEVSUP_SIM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(10_000);
    for &seed in KEPT {
        live(seed);
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for seed in (thread..days).step_by(usize::try_from(threads).expect("a few")) {
                    let lived = std::panic::catch_unwind(|| live(seed));
                    assert!(lived.is_ok(), "seed {seed}: replay with DEVSUP_SIM_SEED={seed}");
                }
            });
        }
    });
}

#[test]
fn the_same_seed_lives_the_same_day() {
    assert_eq!(live(7), live(7));
}
