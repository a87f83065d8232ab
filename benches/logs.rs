//! How fast a keeper's log writer takes what it read: megabytes a second of `Capture::write` with two secrets set.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use devsup::logs::{Capture, Stream};
use devsup::sys::clock;

const BYTES: usize = 1 << 30;

fn main() -> io::Result<()> {
    let line =
        b"2026-01-01T00:00:00.000Z INFO  request served path=/v1/items/42 status=200 took=1.23ms user=1234 id=9\n";
    for (name, chunk) in [("64 KiB", 64 * 1024), ("256 KiB", 256 * 1024)] {
        for secrets in [0, 2] {
            // A chunk as a pipe gives it: cut anywhere.
            let data: Vec<u8> = line.iter().copied().cycle().take(chunk + line.len()).collect();
            let speed = measure(&data, chunk, line.len(), secrets)?;
            writeln!(io::stdout(), "{name} chunks, {secrets} secrets: {speed:.0} MB/s")?;
        }
    }
    Ok(())
}

fn measure(data: &[u8], chunk: usize, line: usize, secrets: usize) -> io::Result<f64> {
    let folder = tempfile::tempdir()?;
    let redact =
        [("[key]", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()), ("[token]", "IQoJb3JpZ2luX2VjE".repeat(50))];
    let redact = redact.into_iter().take(secrets).map(|(mask, secret)| (mask.to_owned(), secret)).collect();
    let mut capture = Capture::create(File::open(folder.path())?.into(), 1, 64 << 20, redact)?;
    let begin = clock::monotonic();
    let mut written = 0;
    while written < BYTES {
        let from = written % line;
        capture.write(Stream::Stdout, &data[from..from + chunk]);
        written += chunk;
    }
    capture.finish();
    let took: Duration = clock::monotonic().saturating_sub(begin);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(written as f64 / 1e6 / took.as_secs_f64())
}
