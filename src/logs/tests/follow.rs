//! Followers: no gap and no double, whatever happens underneath.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::{Logs, await_entries, is_quiet, text};
use crate::logs::{Mark, Reader, Stream};
use crate::sys::clock;
use crate::sys::poll::{self, For};

#[test]
fn a_follower_goes_on_over_folders_rolls_and_runs() {
    let logs = Logs::new();
    let mut reader = logs.reader(&["a", "b"], None, true);
    assert!(is_quiet(&mut reader));
    let mut a = logs.capture("a", 1, 20);
    a.write(Stream::Stdout, b"one\n");
    assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
    let mut b = logs.capture("b", 1, 1000);
    b.write(Stream::Stdout, b"other\n");
    assert_eq!(await_entries(&mut reader, 1), ["b1 other"]);
    for n in 0..20 {
        a.write(Stream::Stdout, format!("number {n}\n").as_bytes());
    }
    let expected: Vec<String> = (0..20).map(|n| format!("a1 number {n}")).collect();
    assert_eq!(await_entries(&mut reader, 20), expected);
    a.mark(&Mark::Ended);
    a.finish();
    let mut a = logs.capture("a", 2, 1000);
    a.write(Stream::Stderr, b"again\n");
    assert_eq!(await_entries(&mut reader, 2), ["a1 [ended]", "a2 !again"]);
    assert!(is_quiet(&mut reader));
}

#[test]
fn what_a_killed_keeper_left_is_shown_when_its_lock_is_free() {
    let logs = Logs::new();
    let lives = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&lives);
    let reader = Reader::open(logs.query(&["a"], None, true)).expect("opened");
    let mut reader = reader.alive(Box::new(move |_, _| asked.load(Ordering::SeqCst)));
    let mut a = logs.capture("a", 1, 1000);
    a.write(Stream::Stdout, b"one\n");
    assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
    append(&logs.folder("a").join("000001.log"), b"two\nthr");
    assert!(is_quiet(&mut reader), "it may be on its way to the index");
    lives.store(false, Ordering::SeqCst);
    drop(a);
    assert_eq!(await_entries(&mut reader, 4), ["a1 [recovered 7]", "a1 two", "a1 thr~", "a1 [killed]"]);
    let mut next = logs.capture("a", 2, 1000);
    next.write(Stream::Stdout, b"on\n");
    assert_eq!(await_entries(&mut reader, 1), ["a2 on"]);
}

#[test]
fn what_a_killed_keeper_left_is_shown_when_a_newer_run_is_there() {
    let logs = Logs::new();
    let mut reader = logs.reader(&["a"], None, true);
    let mut a = logs.capture("a", 1, 1000);
    a.write(Stream::Stdout, b"one\n");
    drop(a);
    append(&logs.folder("a").join("000001.log"), b"two\n");
    assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
    let mut next = logs.capture("a", 2, 1000);
    next.write(Stream::Stdout, b"on\n");
    let mut shown = await_entries(&mut reader, 3);
    shown.sort();
    assert_eq!(shown, ["a1 [recovered 4]", "a1 two", "a2 on"]);
    assert_eq!(logs.history(&["a"], None), ["a1 one", "a1 [recovered 4]", "a1 two", "a2 on"]);
}

#[test]
fn last_lines_that_begin_without_a_record_bring_no_old_run_along() {
    let logs = Logs::new();
    let mut old = logs.capture("a", 1, 1000);
    old.write(Stream::Stdout, b"one\ntwo\n");
    let mut new = logs.capture("a", 2, 1000);
    new.write(Stream::Stdout, b"three\n");
    append(&logs.folder("a").join("000002.log"), b"on its way\n");
    let mut reader = logs.reader(&["a"], Some(1), true);
    old.write(Stream::Stdout, b"four\n");
    assert_eq!(await_entries(&mut reader, 1), ["a1 four"]);
}

/// It rolls, ends and is followed by another after its names were listed: history and follower alike show its rest, and call
/// nobody dead.
#[test]
fn a_run_that_rolled_and_ended_unseen_was_not_killed() {
    for follow in [false, true] {
        let logs = Logs::new();
        let now = Arc::new(AtomicU32::new(1));
        let asked = Arc::clone(&now);
        let mut a = logs.capture("a", 1, 20);
        a.write(Stream::Stdout, b"one\ntwo\n");
        let reader = logs.reader(&["a"], None, follow);
        let mut reader = reader.alive(Box::new(move |_, run| asked.load(Ordering::SeqCst) == run));
        assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
        for n in 0..9 {
            a.write(Stream::Stdout, format!("number {n}\n").as_bytes());
        }
        assert!(crate::logs::files_of(&logs.folder("a"), 1).len() > 2, "it rolls");
        a.mark(&Mark::Ended);
        a.finish();
        let mut b = logs.capture("a", 2, 20);
        now.store(2, Ordering::SeqCst);
        b.write(Stream::Stdout, b"on\n");
        let mut expected: Vec<String> = (0..9).map(|n| format!("a1 number {n}")).collect();
        expected.insert(0, "a1 two".into());
        expected.push("a1 [ended]".into());
        expected.extend(follow.then(|| "a2 on".into()));
        assert_eq!(await_entries(&mut reader, expected.len()), expected, "follow: {follow}");
        assert!(is_quiet(&mut reader));
    }
}

#[test]
fn history_that_is_removed_unread_is_counted() {
    let logs = Logs::new();
    for run in 1..=5 {
        let mut a = logs.capture("a", run, 1000);
        a.write(Stream::Stdout, b"0123456789\n");
        a.mark(&Mark::Ended);
        a.finish();
    }
    let mut reader = logs.reader(&["a"], None, true);
    assert_eq!(await_entries(&mut reader, 1), ["a1 0123456789"]);
    logs.retain(&[("a", 5)], 1, u64::MAX).expect("bounded");
    // The next two were open already.
    let expected = [
        "a1 [ended]",
        "a2 0123456789",
        "a2 [ended]",
        "a3 0123456789",
        "a3 [ended]",
        "a4 [dropped 11: removed by its bound before it was read]",
        "a5 0123456789",
        "a5 [ended]",
    ];
    assert_eq!(await_entries(&mut reader, 8), expected);
}

#[test]
fn without_inotify_it_looks_by_itself_and_says_so() {
    let logs = Logs::new();
    let mut reader = logs.reader(&["a"], None, true).without_inotify();
    let notice = reader.notice().expect("said");
    assert!(notice.contains("(too many open files): new lines are looked for every 250 ms"), "{notice}");
    let mut a = logs.capture("a", 1, 20);
    for n in 0..10 {
        a.write(Stream::Stdout, format!("number {n}\n").as_bytes());
    }
    let expected: Vec<String> = (0..10).map(|n| format!("a1 number {n}")).collect();
    assert_eq!(await_entries(&mut reader, 10), expected);
    assert!(is_quiet(&mut reader));
}

/// A watch that cannot be had any more: what is watched still wakes whoever waits, and is taken in, so that nobody is woken
/// for ever.
#[test]
fn a_reader_that_loses_its_watches_late_looks_by_itself() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1000);
    let mut reader = logs.reader(&["a"], None, true);
    assert_eq!((reader.notice(), reader.look_within()), (None, None));
    let woken = reader.wakes().expect("duplicated").expect("there is one");
    reader.lose_watches();
    assert!(reader.notice().is_some_and(|notice| notice.contains("(no space left)")) && reader.notice().is_none());
    assert!(reader.look_within().is_some());
    std::fs::create_dir(logs.root().join("other")).expect("made");
    let is_woken = || poll::wait(&[(woken.as_fd(), For::Reading)], Some(Duration::ZERO)).expect("polled") == [true];
    assert!(is_woken(), "the folder above is still watched");
    assert!(is_quiet(&mut reader));
    assert!(!is_woken(), "what woke us was taken in");
    a.write(Stream::Stdout, b"one\n");
    assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
    assert!(is_quiet(&mut reader));
    a.write(Stream::Stdout, b"two\n");
    // By hand, as whoever may not block; wakes put off nothing.
    wait_until_due(&mut reader, logs.root());
    reader.look_again().expect("looked");
    assert_eq!(reader.next(Some(Duration::ZERO)).expect("read").map(|entry| text(&entry)).as_deref(), Some("a1 two"));
}

/// While it is woken again and again by something else.
fn wait_until_due(reader: &mut Reader, noise: &std::path::Path) {
    let until = clock::monotonic() + super::DEADLINE;
    for n in 0.. {
        if reader.look_within() == Some(Duration::ZERO) {
            return;
        }
        assert!(clock::monotonic() < until, "never due");
        assert!(is_quiet(reader));
        std::fs::create_dir(noise.join(format!("noise-{n}"))).expect("made");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// More changes than the kernel keeps for a reader: it looks at everything again.
#[test]
fn a_reader_that_missed_changes_misses_no_line() {
    let logs = Logs::new();
    let mut reader = logs.reader(&["a", "b"], None, true);
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("read");
    let limit: usize = limit.trim().parse().expect("a number");
    let mut a = logs.capture("a", 1, 1 << 20);
    // Each name that comes and goes is an event of its own.
    let noise = logs.folder("a").join("noise");
    for at in 0..limit / 2 + 10 {
        let name = noise.with_extension((at % 2).to_string());
        std::fs::write(&name, "").expect("written");
        std::fs::remove_file(&name).expect("removed");
    }
    a.write(Stream::Stdout, b"one\n");
    let mut b = logs.capture("b", 1, 1000);
    b.write(Stream::Stdout, b"two\n");
    assert_eq!(await_entries(&mut reader, 2), ["a1 one", "b1 two"]);
    b.write(Stream::Stdout, b"three\n");
    assert_eq!(await_entries(&mut reader, 1), ["b1 three"]);
}

/// A writer thread and a follower: every line once, in order, with rolls and new runs under way.
#[test]
fn no_line_is_lost_or_doubled_while_writer_and_reader_run() {
    const LINES: usize = 3000;
    let logs = Logs::new();
    let mut reader = logs.reader(&["a"], None, true);
    let folder = logs.folder("a");
    let writer = std::thread::spawn(move || {
        for run in 1..=3_u32 {
            let open = std::fs::File::open(&folder).expect("opened");
            let mut a = crate::logs::Capture::create(open.into(), run, 10_000, Vec::new()).expect("created");
            for n in 0..LINES {
                a.write(Stream::Stdout, format!("{n}\n").as_bytes());
            }
            a.mark(&Mark::Ended);
            a.finish();
        }
    });
    let shown = await_entries(&mut reader, 3 * (LINES + 1));
    writer.join().expect("written");
    let run = |run: u32| (0..LINES).map(move |n| format!("a{run} {n}")).chain([format!("a{run} [ended]")]);
    let expected: Vec<String> = (1..=3).flat_map(run).collect();
    assert!(shown == expected, "all lines once and in order");
    assert!(is_quiet(&mut reader));
}

/// As long as somebody has a file of it open, the kernel does not say that a folder is gone.
#[test]
fn a_folder_that_was_removed_piece_by_piece_is_followed_when_it_is_there_again() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1000);
    let mut reader = logs.reader(&["a", "b"], None, true);
    for round in 0..6 {
        a.write(Stream::Stdout, format!("before {round}\n").as_bytes());
        assert_eq!(await_entries(&mut reader, 1), [format!("a1 before {round}")]);
        // Whether it looks meanwhile or not.
        let looks = round % 3;
        for file in std::fs::read_dir(logs.folder("a")).expect("listed") {
            std::fs::remove_file(file.expect("a name").path()).expect("removed");
            assert!(looks == 0 || is_quiet(&mut reader));
        }
        std::fs::remove_dir(logs.folder("a")).expect("removed");
        assert!(looks < 2 || is_quiet(&mut reader));
        a.write(Stream::Stdout, format!("after {round}\n").as_bytes());
        assert_eq!(await_entries(&mut reader, 1), [format!("a1 after {round}")]);
        assert!(is_quiet(&mut reader));
    }
    let mut b = logs.capture("b", 1, 1000);
    b.write(Stream::Stdout, b"other\n");
    assert_eq!(await_entries(&mut reader, 1), ["b1 other"]);
}

/// Of a log without an end it is said whose death that was, by whoever knows that nobody writes it any more.
#[test]
fn a_log_without_an_end_says_why() {
    let logs = Logs::new();
    let mut ended = logs.capture("a", 1, 1000);
    ended.write(Stream::Stdout, b"one\n");
    ended.mark(&Mark::Ended);
    ended.finish();
    let mut killed = logs.capture("a", 2, 1000);
    killed.write(Stream::Stdout, b"two\n");
    drop(killed);
    let mut lives = logs.capture("a", 3, 1000);
    lives.write(Stream::Stdout, b"three\n");
    let read = |follow: bool, tail: Option<usize>| {
        let alive = Box::new(|_: &crate::manifest::Name, run| run == 3);
        let mut reader = Reader::open(logs.query(&["a"], tail, follow)).expect("opened").alive(alive);
        let next = || reader.next(Some(Duration::ZERO)).expect("read");
        std::iter::from_fn(next).map(|entry| text(&entry)).collect::<Vec<_>>()
    };
    let all = ["a1 one", "a1 [ended]", "a2 two", "a2 [killed]", "a3 three"];
    for follow in [false, true] {
        assert_eq!(read(follow, None), all);
        assert_eq!(read(follow, Some(2)), all[2..]);
        assert_eq!(read(follow, Some(0)), Vec::<String>::new(), "what was before is not said");
    }
    assert_eq!(
        logs.history(&["a"], None),
        ["a1 one", "a1 [ended]", "a2 two", "a3 three"],
        "who does not know is silent"
    );
}

#[test]
fn a_service_that_comes_later_is_followed_when_all_are() {
    let logs = Logs::new();
    let mut a = logs.capture("a", 1, 1000);
    a.write(Stream::Stdout, b"one\n");
    for polling in [false, true] {
        let all = crate::logs::Query { all: true, ..logs.query(&["a"], None, true) };
        let mut reader = Reader::open(all).expect("opened");
        if polling {
            reader = reader.without_inotify();
        }
        let mut some = logs.reader(&["a"], None, true);
        assert_eq!(await_entries(&mut reader, 1), ["a1 one"]);
        assert_eq!(await_entries(&mut some, 1), ["a1 one"]);
        let name = if polling { "c" } else { "b" };
        let mut later = logs.capture(name, 1, 1000);
        later.write(Stream::Stdout, b"new\n");
        let news = await_entries(&mut reader, if polling { 2 } else { 1 });
        assert!(news.contains(&format!("{name}1 new")), "{news:?}");
        assert!(is_quiet(&mut reader) && is_quiet(&mut some));
    }
}

fn append(path: &std::path::Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("opened");
    file.write_all(bytes).expect("written");
}
