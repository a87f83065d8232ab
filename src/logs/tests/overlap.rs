//! Two runs of a service at once, as in an overlap: the older one serves while newer ones begin, and perhaps fail.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::{Logs, text};
use crate::logs::{Capture, Mark, Query, Reader, Stream};

#[derive(Clone, Debug)]
enum Act {
    /// The older one, or the newer one.
    Write(bool),
    /// Beside the one that is there; if there are two, the newer one fails first.
    Begin,
    /// The older of two.
    End,
    /// Somebody begins to follow, with so many lines of history.
    Follow(usize),
    Read,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => any::<bool>().prop_map(Act::Write),
        3 => Just(Act::Begin),
        1 => Just(Act::End),
        2 => (0..9usize).prop_map(Act::Follow),
        2 => Just(Act::Read),
    ]
}

struct World {
    logs: Logs,
    living: Vec<(u32, Capture)>,
    run: u32,
    written: Vec<String>,
    /// Who follows, the lines that were shown, and the first of all that they are to show.
    readers: Vec<(Reader, Vec<String>, usize)>,
    /// Does a reader know which keepers live?
    told: bool,
    /// Those that do.
    keepers: Arc<Mutex<Vec<u32>>>,
}

impl World {
    fn begin(&mut self) {
        if self.living.len() == 2 {
            self.end(1);
        }
        self.run += 1;
        self.keepers.lock().expect("unpoisoned").push(self.run);
        self.living.push((self.run, self.logs.capture("a", self.run, 60)));
    }

    fn end(&mut self, at: usize) {
        let (run, mut capture) = self.living.remove(at);
        capture.mark(&Mark::Ended);
        capture.finish();
        self.keepers.lock().expect("unpoisoned").retain(|keeper| *keeper != run);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Write(newer) => {
                let at = usize::from(*newer).min(self.living.len() - 1);
                let (run, capture) = &mut self.living[at];
                let line = format!("line {}", self.written.len());
                capture.write(Stream::Stdout, format!("{line}\n").as_bytes());
                self.written.push(format!("a{run} {line}"));
            }
            Act::Begin => self.begin(),
            Act::End if self.living.len() == 2 => self.end(0),
            Act::End => {}
            Act::Follow(lines) => {
                let query = Query { ..self.logs.query(&["a"], Some(*lines), true) };
                let mut reader = Reader::open(query).expect("opened");
                if self.told {
                    let keepers = Arc::clone(&self.keepers);
                    reader = reader.alive(Box::new(move |_, run| keepers.lock().expect("unpoisoned").contains(&run)));
                }
                self.readers.push((reader, Vec::new(), self.written.len().saturating_sub(*lines)));
            }
            Act::Read => self.read(),
        }
    }

    fn read(&mut self) {
        for (reader, shown, _) in &mut self.readers {
            while let Some(entry) = reader.next(Some(std::time::Duration::ZERO)).expect("read") {
                let text = text(&entry);
                // Nobody is killed here.
                assert!(!text.contains('[') || text.ends_with("[ended]"), "{text}");
                shown.extend(Some(text).filter(|text| !text.contains('[')));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn who_follows_sees_both_runs_in_the_order_they_wrote(acts in proptest::collection::vec(act(), 1..60), told: bool) {
        let (logs, living, written, readers) = (Logs::new(), Vec::new(), Vec::new(), Vec::new());
        let keepers = Arc::default();
        let mut world = World { logs, living, run: 0, written, readers, told, keepers };
        world.begin();
        for act in &acts {
            world.act(act);
        }
        while !world.living.is_empty() {
            world.end(0);
        }
        world.read();
        for (_, shown, first) in &world.readers {
            prop_assert_eq!(shown, &world.written[*first..]);
        }
    }
}

/// Threads of two keepers, and one who follows from the middle on: the old run's last lines are there, and the new one's.
#[test]
fn no_line_of_two_writers_is_lost_or_doubled() {
    const LINES: u32 = 2000;
    let logs = Logs::new();
    let mut old = logs.capture("a", 1, 10_000);
    old.write(Stream::Stdout, b"before\n");
    let mut new = logs.capture("a", 2, 10_000);
    new.write(Stream::Stdout, b"before\n");
    let mut reader = logs.reader(&["a"], Some(0), true);
    let writers = [old, new].map(|mut capture| {
        std::thread::spawn(move || {
            for n in 0..LINES {
                capture.write(Stream::Stdout, format!("{n}\n").as_bytes());
            }
            capture.mark(&Mark::Ended);
            capture.finish();
        })
    });
    let shown = super::await_entries(&mut reader, 2 * (LINES as usize + 1));
    for writer in writers {
        writer.join().expect("written");
    }
    for run in [1, 2] {
        let of_it: Vec<&String> = shown.iter().filter(|line| line.starts_with(&format!("a{run} "))).collect();
        let expected: Vec<String> =
            (0..LINES).map(|n| format!("a{run} {n}")).chain([format!("a{run} [ended]")]).collect();
        assert!(of_it.iter().copied().eq(&expected), "run {run}: every line once and in order");
    }
    assert!(super::is_quiet(&mut reader));
}
