//! A service that writes numbered lines as fast as it can, for tests of the log: `numbers FOLDER [MICROSECONDS]`.
//!
//! Lines go out in blocks that a pipe takes whole or not at all, so also SIGKILL tears none. After each block the number of
//! its last line is kept in FOLDER/<service>#<run>: so many lines at least must be in the log. SIGTERM ends it with a last line that says how many.

#![expect(clippy::disallowed_methods, reason = "a program of its own, that ends abruptly")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, process, thread};

/// What a pipe takes in one piece: PIPE_BUF of pipe(7).
const BLOCK: usize = 4096;

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    let mark = env::var("DEVSUP_RUN").expect("run by devsup");
    let run = mark.rsplit('/').next().unwrap_or_default();
    let counter = File::create(Path::new(&words.next().expect("a folder for the counters")).join(run))?;
    let pause = words.next().and_then(|word| word.parse().ok()).map(Duration::from_micros);
    let told = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&told))?;
    // Past the buffer of the language's own stdout.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut number = 0_u64;
    let mut block = Vec::with_capacity(BLOCK);
    while !told.load(Ordering::SeqCst) {
        block.clear();
        loop {
            let line =
                format!("{} {:x<width$}\n", number + 1, "", width = 40 + usize::try_from(number % 120).unwrap_or(0));
            if block.len() + line.len() > BLOCK {
                break;
            }
            block.extend_from_slice(line.as_bytes());
            number += 1;
        }
        out.write_all(&block)?;
        counter.write_all_at(&number.to_le_bytes(), 0)?;
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
    }
    writeln!(out, "end {number}")?;
    process::exit(0);
}
