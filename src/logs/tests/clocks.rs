//! Times are found by halves although the clock is set while services write.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Logs, text};
use crate::logs::{Entry, Filter, Mark, Query, Reader, Stream};

thread_local! {
    static WALL: Cell<u64> = const { Cell::new(0) };
}

fn wall() -> Duration {
    Duration::from_nanos(WALL.get())
}

fn by_run(query: Query) -> BTreeMap<u32, Vec<Entry>> {
    let mut reader = Reader::open(query).expect("opened");
    let mut runs: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    while let Some(entry) = reader.next(None).expect("read") {
        runs.entry(entry.run).or_default().push(entry);
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn since_and_until_find_what_a_look_at_everything_finds(
        // How far the clock goes before each line, back too; what it writes.
        steps in proptest::collection::vec((-40..50_i64, 0..6u8), 1..80),
        limit in 20..400u64, from in 0..2000_i64, long in 0..2000_i64,
    ) {
        let logs = Logs::new();
        WALL.set(1000);
        let mut run = 1;
        let mut a = logs.capture("a", run, limit).by_clock(wall);
        for (at, (step, what)) in steps.iter().enumerate() {
            WALL.set(WALL.get().saturating_add_signed(*step).max(1));
            match what {
                0 => a.mark(&Mark::Dropped { bytes: 1, what: "x".repeat(at % 90) }),
                1 => {
                    run += 1;
                    let next = logs.capture("a", run, limit).by_clock(wall);
                    std::mem::replace(&mut a, next).finish();
                }
                _ => a.write(Stream::Stdout, format!("line {at}\n").as_bytes()),
            }
        }
        a.finish();
        let all = by_run(logs.query(&["a"], None, false));
        prop_assert!(all.values().all(|run| run.is_sorted_by_key(|entry| entry.time_ns)), "within a run it never goes back");
        let (since, until) = (from, from.saturating_add(long));
        for (since, until) in [(Some(since), None), (None, Some(until)), (Some(since), Some(until))] {
            let filter = Filter { since, until, ..Filter::default() };
            let found = by_run(Query { filter, ..logs.query(&["a"], None, false) });
            let so = |entry: &&Entry| since.is_none_or(|at| at <= entry.time_ns) && until.is_none_or(|at| entry.time_ns < at);
            let expected = all.iter().map(|(run, entries)| (*run, entries.iter().filter(so).map(text).collect::<Vec<_>>()));
            let expected: BTreeMap<u32, Vec<String>> = expected.filter(|(_, entries)| !entries.is_empty()).collect();
            let found = found.iter().map(|(run, entries)| (*run, entries.iter().map(text).collect::<Vec<_>>()));
            prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
