//! Times, runs, streams and patterns leave out what is not wanted, and nothing else.

use proptest::prelude::*;

use super::{Logs, text};
use crate::logs::{Filter, Mark, Pattern, Query, Reader, Runs, Stream, What};

fn entries(query: Query) -> Vec<super::Entry> {
    let mut reader = Reader::open(query).expect("opened");
    std::iter::from_fn(|| reader.next(None).expect("read")).collect()
}

fn shown(logs: &Logs, tail: Option<usize>, filter: Filter) -> Vec<String> {
    entries(Query { filter, ..logs.query(&["a", "b"], tail, false) }).iter().map(text).collect()
}

/// Two runs of a in small files, one of b.
fn some_logs() -> Logs {
    let logs = Logs::new();
    for run in [1, 2] {
        let mut a = logs.capture("a", run, 64);
        a.mark(&Mark::Started { pid: 1, why: Vec::new() });
        for n in 0..20 {
            let stream = if n % 4 == 3 { Stream::Stderr } else { Stream::Stdout };
            a.write(stream, format!("line {n} of run {run}\n").as_bytes());
        }
        a.mark(&Mark::Ended);
        a.finish();
    }
    let mut b = logs.capture("b", 7, 1000);
    b.write(Stream::Stdout, b"An Error\nall well\n");
    b.finish();
    logs
}

#[test]
fn of_one_run_and_of_the_one_before() {
    let logs = some_logs();
    let of = |runs| shown(&logs, None, Filter { runs, ..Filter::default() });
    assert!(of(Runs::One(1)).iter().all(|line| line.starts_with("a1 ")));
    assert_eq!(of(Runs::One(1)).len(), 22);
    assert_eq!(of(Runs::Previous), of(Runs::One(1)), "b has had one run only");
    assert_eq!(of(Runs::One(7)), ["b7 An Error", "b7 all well"]);
    assert_eq!(of(Runs::One(9)), Vec::<String>::new());
}

#[test]
fn of_one_stream() {
    let logs = some_logs();
    let errors = shown(&logs, None, Filter { stream: Some(Stream::Stderr), ..Filter::default() });
    let lines: Vec<&String> = errors.iter().filter(|line| !line.contains('[')).collect();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.contains('!')), "{errors:?}");
}

#[test]
fn lines_that_match_and_the_last_of_them() {
    let logs = some_logs();
    let pattern = || Some(Pattern::new("line 1[0-9]|error").expect("a pattern"));
    let all = shown(&logs, None, Filter { pattern: pattern(), ..Filter::default() });
    assert_eq!(all.len(), 21, "ten of each run, and one of b whatever its case: {all:?}");
    let last = shown(&logs, Some(2), Filter { pattern: pattern(), ..Filter::default() });
    assert_eq!(last, ["a2 line 18 of run 2", "a2 !line 19 of run 2", "b7 An Error"]);
    assert_eq!(shown(&logs, Some(0), Filter { pattern: pattern(), ..Filter::default() }), Vec::<String>::new());
}

#[test]
fn a_follower_begins_with_the_last_that_match_and_goes_on() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1000);
    a.write(Stream::Stdout, b"yes 1\nno 1\nyes 2\nno 2\nyes 3\nno 3\n");
    let filter = Filter { pattern: Pattern::new("yes").ok(), ..Filter::default() };
    let mut reader = Reader::open(Query { filter, ..logs.query(&["a"], Some(2), true) }).expect("opened");
    assert_eq!(super::await_entries(&mut reader, 2), ["a1 yes 2", "a1 yes 3"]);
    a.write(Stream::Stdout, b"no 4\nyes 4\n");
    assert_eq!(super::await_entries(&mut reader, 1), ["a1 yes 4"]);
    assert!(super::is_quiet(&mut reader));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The binary search finds what reading everything finds.
    #[test]
    fn times_leave_out_what_is_outside(from in 0..45usize, to in 0..45usize, limit in 20..200u64) {
        let logs = Logs::new();
        for run in [1, 2] {
            let mut a = logs.capture("a", run, limit);
            for n in 0..20 {
                a.write(Stream::Stdout, format!("{n}\n").as_bytes());
            }
            a.mark(&Mark::Ended);
            a.finish();
        }
        let all = entries(logs.query(&["a"], None, false));
        let at = |place: usize| all.get(place).map_or(i64::MAX, |entry| entry.time_ns);
        let (since, until) = (at(from), at(to));
        let filter = Filter { since: Some(since), until: Some(until), ..Filter::default() };
        let found = entries(Query { filter, ..logs.query(&["a"], None, false) });
        let expected: Vec<_> =
            all.into_iter().filter(|entry| since <= entry.time_ns && entry.time_ns < until).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_time_within_a_long_line_shows_what_was_written_since() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1 << 20);
    a.write(Stream::Stdout, b"begin");
    a.flush(Stream::Stdout);
    a.write(Stream::Stdout, b" end\nnext\n");
    a.finish();
    let times: Vec<i64> = {
        let all = entries(logs.query(&["a"], None, false));
        all.iter().filter(|entry| matches!(entry.what, What::Line { .. })).map(|entry| entry.time_ns).collect()
    };
    let filter = Filter { since: times.last().copied(), ..Filter::default() };
    let found: Vec<String> = entries(Query { filter, ..logs.query(&["a"], None, false) }).iter().map(text).collect();
    assert_eq!(found, ["a1 begin end", "a1 next"]);
}

/// A time within a line shows all of it; within a very long one, the pieces since then.
#[test]
fn a_time_within_a_line_shows_the_line_from_its_beginning() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1 << 20);
    let mut times = Vec::new();
    for word in ["zero\none ", "two ", "three\n", "four\n"] {
        times.push(now());
        a.write(Stream::Stdout, word.as_bytes());
        a.flush(Stream::Stdout);
    }
    times.push(now());
    a.write(Stream::Stderr, b"five ");
    a.flush(Stream::Stderr);
    // Its newline is ours, and no part of what comes then.
    a.write(Stream::Stdout, b"six ");
    a.flush(Stream::Stdout);
    times.push(now());
    a.mark(&Mark::Ended);
    a.write(Stream::Stdout, b"seven\n");
    a.finish();
    let since = |at: usize| {
        let filter = Filter { since: Some(times[at]), ..Filter::default() };
        entries(Query { filter, ..logs.query(&["a"], None, false) })
    };
    let shown = |at: usize| since(at).iter().map(text).collect::<Vec<_>>();
    let after = ["a1 four", "a1 !five ~", "a1 six ~", "a1 [ended]", "a1 seven"];
    for at in [1, 2] {
        assert_eq!(shown(at)[0], "a1 one two three", "{at}");
        assert_eq!(shown(at)[1..], after);
        assert!(since(at)[0].time_ns >= times[at]);
    }
    assert_eq!(shown(3), after);
    assert_eq!(shown(4), after[1..]);
    assert_eq!(shown(5), after[3..], "a mark ends what stands before it");
    // Longer than a piece.
    let mut b = logs.capture("b", 1, 1 << 30);
    b.write(Stream::Stdout, &vec![b'x'; 300 * 1024]);
    let late = now();
    b.write(Stream::Stdout, &vec![b'y'; 70 * 1024]);
    b.finish();
    let filter = Filter { since: Some(late), ..Filter::default() };
    let found = entries(Query { filter, ..logs.query(&["b"], None, false) });
    let bytes: usize = found.iter().map(|entry| text(entry).matches('y').count()).sum();
    assert!(bytes == 70 * 1024 && found.iter().all(|entry| !text(entry).contains('x')), "{bytes}");
}

fn now() -> i64 {
    i64::try_from(crate::sys::clock::realtime().as_nanos()).expect("before 2262")
}

/// A service that ends again and again without a word leaves marks, of which the last are shown.
#[test]
fn the_last_lines_come_with_the_last_marks() {
    let logs = Logs::new();
    for run in 1..=300 {
        let mut a = logs.capture("a", run, 1000);
        a.mark(&Mark::Started { pid: 1, why: Vec::new() });
        if run % 100 == 0 {
            a.write(Stream::Stdout, b"a word\n");
        }
        a.mark(&Mark::Ended);
        a.finish();
    }
    let pattern = || Filter { stream: Some(Stream::Stdout), ..Filter::default() };
    for filter in [Filter::default(), pattern()] {
        for (tail, lines, marks) in [(1, 1, 2), (2, 2, 10), (50, 3, 50)] {
            let found = shown(&logs, Some(tail), filter.clone());
            let (marked, said): (Vec<&String>, Vec<&String>) = found.iter().partition(|line| line.contains('['));
            assert_eq!((said.len(), marked.len()), (lines, marks), "-n {tail}: {found:?}");
            assert_eq!(found.last().map(String::as_str), Some("a300 [ended]"));
        }
        assert_eq!(shown(&logs, Some(0), filter), Vec::<String>::new());
    }
}
