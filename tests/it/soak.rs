//! What a long life leaves behind: nothing. Restarts of one service, and kills at random instants of main processes, keepers
//! and daemons; then descriptors, threads, memory, files and cgroups are as they were, and no process is left.
//!
//! Short by default. `DEVSUP_SOAK=long` is 1,000 restarts and 10,000 kills, `DEVSUP_SOAK=2500` so many kills and a tenth of
//! restarts; `DEVSUP_SOAK_SEED` repeats a storm.

mod place;
mod storm;

use std::env;

use place::Place;

/// `(restarts, kills)`.
fn size() -> (u32, u32) {
    match env::var("DEVSUP_SOAK").as_deref() {
        Err(_) => (60, 150),
        Ok("long") => (1000, 10_000),
        Ok(number) => {
            let kills = number.parse().expect("DEVSUP_SOAK is `long` or a number of kills");
            (kills / 10, kills)
        }
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the numbers of a soak are what it is run for")]
fn restarts_of_one_service_leave_nothing() {
    /// Buffers, the caches of the allocator, the request ids that are remembered.
    const WARM: u32 = 20;
    let (restarts, _) = size();
    let place = Place::new("soak-restarts");
    let mut run = place.settled()[0].run.expect("it runs");
    let mut before = None;
    for turn in 0..WARM + restarts {
        if turn == WARM {
            place.settled();
            before = Some(place.count());
        }
        let pid = place.service("plain").pid;
        place.restart("plain");
        crate::project::wait_until("the next run is there", || {
            let now = place.service("plain");
            now.pid.is_some() && now.pid != pid && now.run > Some(run)
        });
        run += 1;
    }
    let all = place.settled();
    assert_eq!(all[0].run, Some(run), "one restart is one run: {all:#?}");
    assert!(all.iter().all(|one| one.crashes == 0), "{all:#?}");
    let (before, after) = (before.expect("it was warm"), place.count());
    eprintln!("{restarts} restarts\nbefore {before:?}\nafter  {after:?}");
    before.same(&after);
    place.end();
}

#[test]
#[expect(clippy::print_stderr, reason = "the numbers of a soak are what it is run for")]
fn kills_at_random_instants_leave_nothing() {
    let (_, kills) = size();
    let seed = env::var("DEVSUP_SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(storm::seed);
    eprintln!("DEVSUP_SOAK_SEED={seed}");
    let place = Place::new("soak-kills");
    place.settled();
    let before = place.count();
    let struck = storm::rage(&place, seed, kills);
    place.settled();
    let after = place.count();
    eprintln!("{kills} kills: {struck:?}\nbefore {before:?}\nafter  {after:?}");
    assert!(struck.main > 0 && struck.keeper > 0 && struck.daemon > 0 && struck.both > 0, "{struck:?}");
    before.same(&after);
    place.end();
}
