//! What is deleted, and what never is.

use super::{Logs, Stream};
use crate::logs::last_run;

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
    logs.retain(&[("a", 2)], 40 * 1024, u64::MAX).expect("bounded");
    assert_eq!(names().last(), Some(&(5, 1)));
    assert!(names().contains(&(2, 1)), "{:?}", names());
    assert!(!names().contains(&(1, 0)) && names().len() < 10, "{:?}", names());
    // Two at once.
    logs.retain(&[("a", 2), ("a", 5)], 0, 0).expect("bounded");
    assert_eq!(names(), [(2, 1), (5, 1)]);
    logs.retain(&[], u64::MAX, 0).expect("bounded");
    assert_eq!(names(), []);
    assert_eq!(last_run(&logs.folder("a")), 0);
}

#[test]
fn of_all_services_the_oldest_files_go_first() {
    let logs = Logs::new();
    for service in ["b", "a"] {
        write_runs(&logs, service, 1..=3);
    }
    logs.retain(&[("a", 3), ("b", 3)], u64::MAX, 100 * 1024).expect("bounded");
    let (a, b) = (files(&logs, "a"), files(&logs, "b"));
    assert!(a.len() == 6 && b.len() < 6 && b.contains(&(3, 1)), "{a:?} {b:?}");
}

#[test]
fn one_that_cannot_be_deleted_does_not_keep_the_others_from_their_bounds() {
    let logs = Logs::new();
    for service in ["a", "b"] {
        write_runs(&logs, service, 1..=3);
    }
    // A folder in the place of a's oldest file: neither root nor anybody removes it as a file.
    let oldest = logs.root().join("a/000001.log");
    std::fs::remove_file(&oldest).expect("removed");
    std::fs::create_dir(&oldest).expect("made");
    let error = logs.retain(&[("a", 3), ("b", 3)], 0, u64::MAX).expect_err("a folder is in the way");
    assert!(error.to_string().contains("a/000001.log"), "{error}");
    assert_eq!(files(&logs, "b"), [(3, 1)]);
    assert_eq!(files(&logs, "a"), [(1, 0), (3, 1)]);
}

#[test]
fn an_index_is_alone_only_when_its_run_is_over() {
    let logs = Logs::new();
    write_runs(&logs, "a", 1..=3);
    let index = |name: &str| logs.root().join("a").join(name);
    for name in ["000001.2.idx", "000002.2.idx"] {
        std::fs::write(index(name), "").expect("made");
    }
    logs.retain(&[("a", 2), ("a", 3)], u64::MAX, u64::MAX).expect("bounded");
    assert!(!index("000001.2.idx").exists(), "what a removal left");
    assert!(index("000002.2.idx").exists(), "its log is about to be made");
}
