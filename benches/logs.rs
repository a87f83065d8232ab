//! How fast a keeper's log writer takes what it read: megabytes a second of `Capture::write` with two secrets set. With
//! `DEVSUP_BENCH_SINCE=10` also how fast a time is found in a log of so many gigabytes, which has to fit on the disk for a
//! minute: `devsup logs SVC --since T | head`, from its start to its end.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
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
    match std::env::var("DEVSUP_BENCH_SINCE").map(|text| text.parse::<u64>()) {
        Ok(Ok(gigabytes)) => since(line, gigabytes * 1_000_000_000),
        Ok(Err(error)) => Err(io::Error::other(format!("DEVSUP_BENCH_SINCE is a number of gigabytes: {error}"))),
        Err(_) => Ok(()),
    }
}

/// One log in files of 8 MiB, as they are by default, and one in a single file.
fn since(line: &[u8], bytes: u64) -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path();
    fs::write(
        path.join("services.toml"),
        "name = \"long\"\n[services.once]\ncommand = \"true\"\nrestart = \"never\"\n",
    )?;
    for words in [&["up", "-d", "--wait"][..], &["down"]] {
        let ended = devsup(path, words).stderr(Stdio::null()).stdout(Stdio::null()).status()?;
        assert!(ended.success(), "{words:?}");
    }
    let state = fs::read_dir(path.join("state/devsup"))?.next().ok_or(io::ErrorKind::NotFound)??.path();
    let chunk: Vec<u8> = line.iter().copied().cycle().take(line.len() * 2400).collect();
    for (service, file) in [("parts", 8 << 20), ("whole", u64::MAX)] {
        let folder = state.join("logs").join(service);
        fs::create_dir(&folder)?;
        let mut capture = Capture::create(File::open(&folder)?.into(), 1, file, Vec::new())?;
        let mut times = Vec::new();
        for at in 0..bytes / chunk.len() as u64 {
            if at.is_multiple_of(64) {
                times.push(clock::realtime());
            }
            capture.write(Stream::Stdout, &chunk);
        }
        capture.finish();
        // The first is not counted: it reads what the disk has.
        let mut took = Vec::new();
        for turn in 0..41 {
            let from = times[times.len() * turn / 41];
            let from = jiff::Timestamp::from_nanosecond(i128::try_from(from.as_nanos()).unwrap_or(0));
            let from = from.map_err(io::Error::other)?.to_string();
            took.push(first_lines(path, &["logs", service, "--since", &from])?);
        }
        took.remove(0);
        took.sort();
        let (low, middle, high) = (took[0], took[took.len() / 2], took[took.len() - 1]);
        let gigabytes = bytes / 1_000_000_000;
        writeln!(io::stdout(), "--since in {gigabytes} GB, {service}: {middle:.1?} ({low:.1?} to {high:.1?})")?;
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// As `| head`: ten lines, and then nobody reads on.
fn first_lines(home: &Path, words: &[&str]) -> io::Result<Duration> {
    let begin = clock::monotonic();
    let mut child = devsup(home, words).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let lines = BufReader::new(out).lines().take(10).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(lines.len(), 10, "{words:?}");
    assert!(child.wait()?.success());
    Ok(clock::monotonic().saturating_sub(begin))
}

#[expect(clippy::disallowed_methods, reason = "the command line is what is measured")]
fn devsup(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devsup"));
    command.args(words).current_dir(home).env("HOME", home).env("XDG_STATE_HOME", home.join("state"));
    command.stdin(Stdio::null());
    command
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
