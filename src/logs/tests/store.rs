//! Bytes in, bytes out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Logs, text};
use crate::logs::fuzzed::rebuilt;
use crate::logs::{Mark, Pattern, Stream, What};
use crate::supervisor::{Exit, Reason};

#[derive(Clone, Debug)]
enum Act {
    Write(bool, Vec<u8>),
    Flush(bool),
    Mark,
}

fn act() -> impl Strategy<Value = Act> {
    let byte = prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()];
    prop_oneof![
        6 => (any::<bool>(), proptest::collection::vec(byte, 0..60)).prop_map(|(err, bytes)| Act::Write(err, bytes)),
        2 => any::<bool>().prop_map(Act::Flush),
        1 => Just(Act::Mark),
    ]
}

fn stream(err: bool) -> Stream {
    if err { Stream::Stderr } else { Stream::Stdout }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_exact_bytes_of_each_stream_can_be_rebuilt(acts in proptest::collection::vec(act(), 0..60), limit in 1..400u64) {
        let logs = Logs::new();
        let mut capture = logs.capture("a", 1, limit);
        let mut written: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
        let mut marks = 0;
        for act in acts {
            match act {
                Act::Write(err, bytes) => {
                    capture.write(stream(err), &bytes);
                    if !bytes.is_empty() {
                        written.entry(err).or_default().extend(bytes);
                    }
                }
                Act::Flush(err) => capture.flush(stream(err)),
                Act::Mark => {
                    capture.mark(&Mark::Started { pid: 7, why: vec![Reason::Restart { by: "alice".repeat(9) }] });
                    marks += 1;
                }
            }
        }
        capture.mark(&Mark::Ended);
        capture.finish();
        prop_assert_eq!(rebuilt(&logs.root().join("a")), written.clone());

        // And the reader shows the same bytes: lines with their ends, pieces without.
        let mut shown: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
        let mut seen = 0;
        let mut reader = logs.reader(&["a"], None, false);
        while let Some(entry) = reader.next(None).expect("read") {
            match entry.what {
                What::Line { stream, bytes, whole } => {
                    let out = shown.entry(stream == Stream::Stderr).or_default();
                    out.extend(bytes);
                    if whole { out.push(b'\n') }
                }
                What::Mark(_) => seen += 1,
            }
        }
        prop_assert_eq!(shown, written);
        prop_assert_eq!(seen, marks + 1);
    }

    /// Whatever stands in an index, a reader neither panics nor hides a byte that it says is there.
    #[test]
    fn a_corrupt_index_harms_nobody(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
        tail in proptest::option::of(0..5usize),
    ) {
        let logs = Logs::new();
        let mut capture = logs.capture("a", 1, 1 << 20);
        for n in 0..20 {
            capture.write(Stream::Stdout, format!("line {n}\n").as_bytes());
            capture.mark(&Mark::Exited { exit: Exit::Code(n) });
        }
        capture.finish();
        let path = logs.folder("a").join("000001.idx");
        let mut index = std::fs::read(&path).expect("read");
        for (at, byte) in damage {
            let at = at.index(index.len());
            index[at] = byte;
        }
        index.truncate(cut.index(index.len()) + 1);
        std::fs::write(&path, index).expect("written");
        logs.capture("a", 2, 100).finish();
        let shown = logs.history(&["a"], tail);
        if tail.is_none() {
            let lines: Vec<_> = shown.iter().filter(|line| line.starts_with("a1 line") || line.starts_with("a1 !line")).collect();
            prop_assert_eq!(lines.len(), 20, "{:?}", shown);
        }
    }
}

/// Each byte of an index, made another one by one: no line is hidden, and none is shown twice.
#[test]
fn one_wrong_byte_anywhere_in_an_index_hides_no_line() {
    let logs = Logs::new();
    let mut capture = logs.capture("a", 1, 1 << 20);
    for n in 0..4 {
        capture.write(stream(n % 2 == 1), format!("line {n}\nhalf {n}").as_bytes());
        capture.flush(stream(n % 2 == 1));
        capture.mark(&Mark::Exited { exit: Exit::Code(n) });
    }
    capture.finish();
    logs.capture("a", 2, 100).finish();
    let path = logs.folder("a").join("000001.idx");
    let sound = std::fs::read(&path).expect("read");
    for at in 0..sound.len() {
        for by in [1, 0x80, sound[at].max(1)] {
            let mut index = sound.clone();
            index[at] ^= by;
            std::fs::write(&path, index).expect("written");
            let shown = logs.history(&["a"], None).concat();
            for n in 0..4 {
                for words in [format!("line {n}"), format!("half {n}")] {
                    assert_eq!(shown.matches(&words).count(), 1, "byte {at}: {words} in {shown}");
                }
            }
        }
    }
}

#[test]
fn history_is_merged_by_time_over_services_and_runs() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1000);
    let mut b = logs.capture("b", 3, 1000);
    a.mark(&Mark::Started { pid: 1, why: Vec::new() });
    a.write(Stream::Stdout, b"one\n");
    b.write(Stream::Stderr, b"two\n");
    a.write(Stream::Stdout, b"three\n");
    // An overlap: run 2 of a begins before run 1 has ended.
    let mut newer = logs.capture("a", 2, 1000);
    newer.write(Stream::Stdout, b"four\n");
    a.write(Stream::Stdout, b"five\n");
    b.write(Stream::Stdout, b"six");
    b.end(Stream::Stdout);
    for capture in [&mut a, &mut newer] {
        capture.mark(&Mark::Ended);
    }
    let expected =
        ["a1 [started]", "a1 one", "b3 !two", "a1 three", "a2 four", "a1 five", "b3 six~", "a1 [ended]", "a2 [ended]"];
    assert_eq!(logs.history(&["a", "b"], None), expected);
    assert_eq!(std::fs::read_link(logs.root().join("a/current")).expect("a link").to_str(), Some("000002.log"));
    assert_eq!(crate::logs::last_run(&logs.folder("b")), 3);
}

#[test]
fn the_tail_counts_lines_over_rolls_and_runs() {
    let logs = Logs::new();
    for run in 1..=3 {
        let mut capture = logs.capture("a", run, 30);
        for n in 0..10 {
            capture.write(Stream::Stdout, format!("line {run}.{n}\n").as_bytes());
        }
        capture.mark(&Mark::Ended);
        capture.finish();
    }
    let all: Vec<String> = logs.history(&["a"], None).into_iter().filter(|line| line.contains("line")).collect();
    assert_eq!(all.len(), 30);
    for n in [1, 2, 3, 9, 10, 11, 29, 30, 31, 500] {
        let shown: Vec<String> =
            logs.history(&["a"], Some(n)).into_iter().filter(|line| line.contains("line")).collect();
        assert_eq!(shown, all[30 - n.min(30)..], "the last {n}");
    }
    assert_eq!(logs.history(&["a"], Some(0)), Vec::<String>::new());
}

/// Somebody else holds the pipe, and may still end the line.
#[test]
fn what_was_written_before_the_exit_stands_before_it() {
    let logs = Logs::new();
    let mut capture = logs.capture("a", 1, 1000);
    capture.write(Stream::Stdout, b"whole\nhalf a ");
    capture.mark(&Mark::Exited { exit: Exit::Code(1) });
    capture.write(Stream::Stdout, b"line\n");
    capture.finish();
    assert_eq!(logs.history(&["a"], None), ["a1 whole", "a1 half a ~", "a1 [exited exit 1]", "a1 line"]);
}

#[test]
fn a_line_without_end_comes_in_pieces_and_memory_stays_small() {
    let logs = Logs::new();
    let mut capture = logs.capture("a", 1, 1 << 30);
    let chunk = vec![b'x'; 256 * 1024];
    for _ in 0..16 {
        capture.write(Stream::Stdout, &chunk);
    }
    capture.write(Stream::Stdout, b"end\n");
    capture.finish();
    let mut reader = logs.reader(&["a"], None, false);
    let mut total = 0;
    while let Some(entry) = reader.next(None).expect("read") {
        let What::Line { bytes, whole, .. } = &entry.what else { panic!("{}", text(&entry)) };
        assert!(bytes.len() <= 64 * 1024);
        total += bytes.len() + usize::from(*whole);
    }
    assert_eq!(total, 16 * chunk.len() + 4);
}

#[test]
fn secrets_do_not_reach_the_file_and_a_dot_does_not_wait_for_a_line() {
    let logs = Logs::new();
    let secret = "wJalrXUtnFEMI/K7MDENG";
    let folder = std::fs::File::open(logs.folder("a")).expect("opened");
    let mask = "[devsup: secret access key of a]";
    let redact = vec![(mask.to_owned(), secret.to_owned())];
    let mut capture = crate::logs::Capture::create(folder.into(), 1, 1000, redact).expect("created");
    capture.write(Stream::Stdout, b"key: wJalrX");
    assert!(capture.due().is_some_and(|due| due <= std::time::Duration::from_secs(2)));
    capture.flush(Stream::Stdout);
    assert_eq!(std::fs::read(logs.folder("a").join("000001.log")).expect("read"), b"key: ");
    assert_eq!(capture.due(), None, "what may begin a secret waits without a timer");
    capture.write(Stream::Stdout, b"UtnFEMI/K7MDENG.\n");
    capture.finish();
    assert_eq!(logs.history(&["a"], None), [format!("a1 key: {mask}.")]);
}

#[test]
fn what_a_users_pattern_matches_is_masked_line_by_line() {
    let logs = Logs::new();
    let patterns = ["password=\\S+", "(?s)begin.*end"].map(|pattern| Pattern::exact(pattern).expect("a pattern"));
    let mut a = logs.capture("a", 1, 1000).masking(patterns.into());
    a.write(Stream::Stdout, b"user=x pass");
    a.write(Stream::Stdout, b"word=hunter2 ok\nbegin\nend\nbegin end\npassword=");
    a.write(Stream::Stderr, b"plain\n");
    a.finish();
    assert_eq!(
        logs.history(&["a"], None),
        [
            "a1 user=x [devsup: redacted] ok",
            "a1 begin",
            "a1 end",
            "a1 [devsup: redacted]",
            "a1 !plain",
            "a1 password=~"
        ]
    );
}
