//! A random day of keepers, followers and the daemon, against what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::Logs;
use crate::logs::{Capture, Entry, Mark, Reader, Stream, What};

const SERVICES: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Act {
    Write(usize, u8),
    /// An unfinished line is flushed.
    Flush(usize),
    /// The run ends and another begins.
    Replace(usize),
    /// The keeper is killed: the last so many bytes of its index were never written. Another run begins.
    Kill(usize, usize),
    Retain,
    Read(u8),
    /// Somebody opens the history, and reads it only after what comes until the next does.
    Open,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => (0..2usize, any::<u8>()).prop_map(|(at, n)| Act::Write(at, n)),
        3 => (0..2usize).prop_map(Act::Flush),
        1 => (0..2usize).prop_map(Act::Replace),
        1 => (0..2usize, 0..100usize).prop_map(|(at, cut)| Act::Kill(at, cut)),
        1 => Just(Act::Retain),
        5 => any::<u8>().prop_map(Act::Read),
        2 => Just(Act::Open),
    ]
}

type Bytes = BTreeMap<(String, u32), Vec<u8>>;

struct World {
    logs: Logs,
    captures: Vec<Capture>,
    runs: [u32; 2],
    living: Arc<Mutex<[u32; 2]>>,
    killed: BTreeSet<(String, u32)>,
    history: Option<Reader>,
    written: Bytes,
    shown: Bytes,
    dropped: u64,
    count: u32,
}

impl World {
    fn new() -> Self {
        let logs = Logs::new();
        let captures = SERVICES.map(|name| logs.capture(name, 1, 120)).into();
        let living = Arc::new(Mutex::new([1, 1]));
        let (written, shown) = (Bytes::new(), Bytes::new());
        let (killed, history) = (BTreeSet::new(), None);
        Self { logs, captures, runs: [1, 1], living, killed, history, written, shown, dropped: 0, count: 0 }
    }

    fn reader(&self, follow: bool) -> Reader {
        let living = Arc::clone(&self.living);
        let alive = move |name: &crate::manifest::Name, run| {
            let at = usize::from(name.as_str() == "b");
            living.lock().expect("unpoisoned")[at] == run
        };
        self.logs.reader(&SERVICES, None, follow).alive(Box::new(alive))
    }

    fn next_run(&mut self, at: usize) -> Capture {
        self.runs[at] += 1;
        self.living.lock().expect("unpoisoned")[at] = self.runs[at];
        let next = self.logs.capture(SERVICES[at], self.runs[at], 120);
        std::mem::replace(&mut self.captures[at], next)
    }

    fn act(&mut self, act: &Act, reader: &mut Reader) {
        match *act {
            Act::Write(at, n) => {
                self.count += 1;
                let end = if n % 3 == 0 { "" } else { "\n" };
                let text = format!("<{}{}>{end}", self.count, "x".repeat(usize::from(n % 40)));
                self.captures[at].write(Stream::Stdout, text.as_bytes());
                let run = (SERVICES[at].to_owned(), self.runs[at]);
                self.written.entry(run).or_default().extend(text.bytes());
            }
            Act::Flush(at) => self.captures[at].flush(Stream::Stdout),
            Act::Replace(at) => {
                self.captures[at].end(Stream::Stdout);
                self.captures[at].mark(&Mark::Ended);
                self.next_run(at).finish();
            }
            Act::Kill(at, cut) => {
                // What is held in the keeper's memory would be lost: the model flushes it.
                self.captures[at].flush(Stream::Stdout);
                let run = self.runs[at];
                self.killed.insert((SERVICES[at].to_owned(), run));
                let parts = crate::logs::folder::list(&self.logs.folder(SERVICES[at])).expect("listed").logs;
                let last = parts.iter().rfind(|part| part.run == run).expect("a file");
                let index = last.index_in(&self.logs.folder(SERVICES[at]));
                drop(self.next_run(at));
                let file = std::fs::OpenOptions::new().write(true).open(index).expect("opened");
                let length = file.metadata().expect("seen").len();
                file.set_len(length.saturating_sub(cut as u64)).expect("cut");
            }
            Act::Retain => {
                self.logs.retain(&[("a", self.runs[0]), ("b", self.runs[1])], 40 * 1024, u64::MAX).expect("bounded");
            }
            Act::Read(n) => {
                for _ in 0..n % 8 {
                    self.read(reader, Duration::ZERO);
                }
            }
            Act::Open => {
                let next = self.reader(false);
                self.read_history();
                self.history = Some(next);
            }
        }
    }

    fn read_history(&mut self) {
        let Some(mut reader) = self.history.take() else { return };
        let mut last = BTreeMap::new();
        while let Some(entry) = reader.next(None).expect("read") {
            let run = self.mourned_rightly(&entry);
            if let What::Line { bytes, .. } = &entry.what {
                for number in numbers(bytes) {
                    let before = last.insert(run.clone(), number);
                    assert!(before < Some(number), "doubled or out of order: {run:?}, {number}");
                }
            }
        }
    }

    /// Nobody is called dead who was not killed.
    fn mourned_rightly(&self, entry: &Entry) -> (String, u32) {
        let run = (entry.service.to_string(), entry.run);
        assert!(entry.what != What::Mark(Mark::KeeperKilled) || self.killed.contains(&run), "not killed: {run:?}");
        run
    }

    fn read(&mut self, reader: &mut Reader, patience: Duration) -> bool {
        let Some(entry) = reader.next(Some(patience)).expect("read") else { return false };
        let run = self.mourned_rightly(&entry);
        match entry.what {
            What::Line { bytes, whole, .. } => {
                let out = self.shown.entry(run).or_default();
                out.extend(bytes);
                if whole {
                    out.push(b'\n');
                }
            }
            What::Mark(Mark::Dropped { bytes, .. }) => self.dropped += bytes,
            What::Mark(_) => {}
        }
        true
    }
}

/// The numbers of the lines, as far as they are there.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(bytes);
    let number = |rest: &str| rest.split(['x', '>', '\n']).next().and_then(|number| number.parse().ok());
    text.split('<').skip(1).filter_map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_follower_shows_every_byte_once(acts in proptest::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        let mut reader = world.reader(true);
        for act in &acts {
            world.act(act, &mut reader);
        }
        for at in 0..2 {
            world.act(&Act::Replace(at), &mut reader);
        }
        while world.read(&mut reader, Duration::ZERO) {}
        world.read_history();
        let retained = acts.iter().any(|act| matches!(act, Act::Retain));
        if retained {
            // A removed file counts with the size it had when it was last looked at.
            let total = |bytes: &Bytes| bytes.values().map(|bytes| bytes.len() as u64).sum::<u64>();
            prop_assert!(total(&world.shown) + world.dropped <= total(&world.written));
            for bytes in world.shown.values() {
                let numbers = numbers(bytes);
                prop_assert!(numbers.is_sorted_by(|a, b| a < b), "doubled or out of order: {:?}", numbers);
            }
        } else {
            prop_assert_eq!(&world.shown, &world.written);
            prop_assert_eq!(world.dropped, 0);
        }
    }
}
