//! What is masked is masked however the writes were cut and whatever was flushed meanwhile.

use proptest::prelude::*;

use super::{Logs, text};
use crate::logs::fuzzed::rebuilt;
use crate::logs::{Capture, Pattern, Secrets, Stream};

fn capture(logs: &Logs, service: &str, redact: Vec<(String, String)>) -> Capture {
    let folder = std::fs::File::open(logs.folder(service)).expect("opened");
    Capture::create(folder.into(), 1, 300, redact).expect("created")
}

/// In pieces of these sizes; after a piece of an even size the unfinished line has waited long enough.
fn write(capture: &mut Capture, text: &[u8], sizes: &[usize], flush: bool) {
    let mut rest = text;
    for size in sizes.iter().cycle() {
        let (piece, further) = rest.split_at((*size).min(rest.len()));
        capture.write(Stream::Stdout, piece);
        if flush && size % 2 == 0 {
            capture.flush(Stream::Stdout);
        }
        rest = further;
        if rest.is_empty() {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// One secret begins another, one ends as another begins, one stands within another.
    #[test]
    fn secrets_that_overlap_across_reads_and_flushes(
        a in "[ab]{8,12}", more in "[ab]{1,8}", text in "[ab\n]{0,120}",
        sizes in proptest::collection::vec(1..9usize, 1..60),
    ) {
        let end = a[a.len() / 2..].to_owned() + &more + "ab";
        let within = a.clone() + &more + &a;
        let secrets = [a.clone(), a.clone() + &more, end.clone(), within.clone()];
        let redact: Vec<(String, String)> =
            secrets.iter().enumerate().map(|(at, secret)| (format!("[{at}]"), secret.clone())).collect();
        let text = format!("{text}{a}{more}ab{text}{within}{end}{text}.\n").into_bytes();
        let logs = Logs::new();
        let mut capture = capture(&logs, "a", redact.clone());
        write(&mut capture, &text, &sizes, true);
        capture.finish();
        let stored = rebuilt(&logs.folder("a")).remove(&false).unwrap_or_default();
        let stored = String::from_utf8_lossy(&stored).into_owned();
        let masked = Secrets::new(redact).mask(&text);
        prop_assert_eq!(&stored, &String::from_utf8_lossy(&masked));
        for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
            prop_assert!(!stored.contains(secret), "{:?} in {:?}", secret, stored);
        }
    }

    /// Lines that are not flushed unfinished are looked at whole.
    #[test]
    fn patterns_see_whole_lines_however_they_come(
        text in "(a|b|pass=|[0-9]{3}| |\n){0,60}", sizes in proptest::collection::vec(1..9usize, 1..60),
    ) {
        let patterns = || ["pass=\\S+", "^[0-9]+", "b$", "a*"].iter().map(|p| Pattern::exact(p).expect("one")).collect();
        let logs = Logs::new();
        for (service, sizes) in [("a", &sizes[..]), ("b", &[usize::MAX])] {
            let mut capture = capture(&logs, service, Vec::new()).masking(patterns());
            write(&mut capture, text.as_bytes(), sizes, false);
            capture.finish();
        }
        let stored = rebuilt(&logs.folder("a"));
        prop_assert_eq!(&stored, &rebuilt(&logs.folder("b")));
        let stored = String::from_utf8(stored.get(&false).cloned().unwrap_or_default()).expect("text");
        prop_assert!(!stored.contains("pass=a") && !stored.contains("pass=0"), "{stored}");
    }
}

#[test]
fn of_two_secrets_that_overlap_no_byte_is_left() {
    let logs = Logs::new();
    let redact = vec![("[one]".to_owned(), "aaaabbbb".to_owned()), ("[two]".to_owned(), "bbbbccccdddd".to_owned())];
    let mut a = capture(&logs, "a", redact);
    a.write(Stream::Stdout, b"x aaaabb");
    a.flush(Stream::Stdout);
    a.write(Stream::Stdout, b"bbcccc");
    a.write(Stream::Stdout, b"dddd y bbbbccccdddd\n");
    a.finish();
    assert_eq!(logs.history(&["a"], None), ["a1 x [one] y [two]"]);
    let mut reader = logs.reader(&["a"], None, false);
    assert!(text(&reader.next(None).expect("read").expect("a line")).starts_with("a1 x"));
}
