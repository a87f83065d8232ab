//! What is deleted, and what never is.

use super::{Logs, Stream, bounds};
use crate::logs::{Retention, last_run};

/// Two files of about 8 KiB for each run.
fn write_runs(logs: &Logs, service: &str, runs: std::ops::RangeInclusive<u32>) {
    let line = [b"x".repeat(4095), b"\n".to_vec()].concat();
    for run in runs {
        let mut capture = logs.capture(service, run, 8192);
        for _ in 0..4 {
            capture.write(Stream::Stdout, &line);
        }
        capture.finish();
    }
}

/// Run and part of each file.
fn files(logs: &Logs, service: &str) -> Vec<(u32, u32)> {
    let found = crate::logs::folder::list(&logs.folder(service)).expect("listed");
    assert_eq!(found.logs, found.indexes, "a log and its index go together");
    found.logs.iter().map(|part| (part.run, part.part)).collect()
}

#[test]
fn the_oldest_go_first_and_never_a_live_runs_newest() {
    let logs = Logs::new();
    write_runs(&logs, "a", 1..=5);
    let names = || files(&logs, "a");
    assert_eq!(names().len(), 10);
    logs.retain(&[("a", 2)], 40 * 1024, u64::MAX);
    assert_eq!(names().last(), Some(&(5, 1)));
    assert!(names().contains(&(2, 1)), "{:?}", names());
    assert!(!names().contains(&(1, 0)) && names().len() < 10, "{:?}", names());
    logs.retain(&[("a", 5)], 0, 0);
    assert_eq!(names(), [(5, 1)]);
    logs.retain(&[], u64::MAX, 0);
    assert_eq!(names(), []);
    assert_eq!(last_run(&logs.folder("a")), 0);
}

#[test]
fn only_those_that_wrote_are_looked_into_until_all_are_too_much() {
    let logs = Logs::new();
    for service in ["a", "b"] {
        write_runs(&logs, service, 1..=3);
    }
    let mut retention = Retention::of(logs.root().into());
    let live = [("a", 3), ("b", 3)];
    let all = bounds(&live, u64::MAX, u64::MAX);
    retention.bound_all(&all).expect("bounded");
    let only_a = ["a".into()].into();
    retention.bound_some(&only_a, &bounds(&live, 0, u64::MAX)).expect("bounded");
    assert_eq!((files(&logs, "a"), files(&logs, "b").len()), (vec![(3, 1)], 6));
    // The oldest of all are those of b, which has not written since.
    write_runs(&logs, "a", 4..=4);
    retention.bound_some(&only_a, &bounds(&[("a", 4), ("b", 3)], u64::MAX, 50 * 1024)).expect("bounded");
    assert_eq!(files(&logs, "a").last(), Some(&(4, 1)));
    let left = files(&logs, "b");
    assert!(left.len() < 6 && left.contains(&(3, 1)), "{left:?}");
}

#[test]
fn a_folder_that_is_gone_is_forgotten() {
    let logs = Logs::new();
    for service in ["a", "b"] {
        write_runs(&logs, service, 1..=3);
    }
    let mut retention = Retention::of(logs.root().into());
    let live = [("a", 3), ("b", 3)];
    retention.bound_all(&bounds(&live, u64::MAX, u64::MAX)).expect("bounded");
    std::fs::remove_dir_all(logs.root().join("b")).expect("removed");
    // Room for one of them: nothing of a goes on account of what b no longer holds.
    let both = ["a".into(), "b".into()].into();
    retention.bound_some(&both, &bounds(&live, u64::MAX, 80 * 1024)).expect("bounded");
    assert_eq!(files(&logs, "a").len(), 6);
}

#[test]
fn one_that_cannot_be_deleted_does_not_keep_the_others_from_their_bounds() {
    let logs = Logs::new();
    for service in ["a", "b"] {
        write_runs(&logs, service, 1..=3);
    }
    // A folder in the place of its oldest file: neither root nor anybody removes it as a file.
    let oldest = logs.root().join("a/000001.log");
    std::fs::remove_file(&oldest).expect("removed");
    std::fs::create_dir(&oldest).expect("made");
    let mut retention = Retention::of(logs.root().into());
    let bounds = bounds(&[("a", 3), ("b", 3)], 0, u64::MAX);
    retention.bound_all(&bounds).expect_err("a folder is in the way");
    assert_eq!(files(&logs, "b"), [(3, 1)]);
    let both = ["a".into(), "b".into()].into();
    write_runs(&logs, "b", 4..=4);
    retention.bound_some(&both, &bounds).expect_err("a folder is in the way");
    assert_eq!(files(&logs, "b"), [(3, 1), (4, 1)], "run 3 is live, and run 4 was begun since");
}
