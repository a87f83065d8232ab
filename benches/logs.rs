//! How fast a keeper's log writer takes what it read: megabytes a second of `Capture::write` with two secrets set. With
//! `DEVSUP_BENCH_SINCE=10` also how fast a time is found in a log of so many gigabytes, which has to fit on the disk for a
//! minute: `devsup logs SVC --since T | head`, from its start to its end. With `DEVSUP_BENCH_FOLLOW=5` also, in so many
//! rounds, what 1 and 4 of `devsup logs -f` cost a service that writes 10 MB a second, and its keeper.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
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
    if let Some(gigabytes) = number("DEVSUP_BENCH_SINCE")? {
        since(line, gigabytes * 1_000_000_000)?;
    }
    number("DEVSUP_BENCH_FOLLOW")?.map_or(Ok(()), follow)
}

fn number(variable: &str) -> io::Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| io::Error::other(format!("{variable} is a number: {error}")))
}

/// Five seconds each with 0, 1 and 4 followers, in turn, so that all of them see the same machine.
fn follow(rounds: u64) -> io::Result<()> {
    const FOLLOWERS: [usize; 3] = [0, 1, 4];
    let home = tempfile::tempdir()?;
    let path = home.path();
    let numbers = Path::new(env!("CARGO_BIN_EXE_devsup")).with_file_name("examples").join("numbers");
    let command = format!("command = [\"{}\", \".\", \"330\"]", numbers.display());
    fs::write(path.join("services.toml"), format!("name = \"followed\"\n[services.a]\n{command}\n"))?;
    let told = |words: &[&str]| devsup(path, words).stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert!(told(&["up", "-d", "--wait"])?.success(), "cargo build --release --examples");
    let ps = devsup(path, &["ps", "--format", "json"]).output()?.stdout;
    let service: serde_json::Value = serde_json::from_slice(&ps)?;
    let pid = service["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or(io::ErrorKind::NotFound)?;
    let keeper = devsup::sys::tree::look(pid).ok_or(io::ErrorKind::NotFound)?.parent;
    let mut took: [Vec<[f64; 2]>; 3] = Default::default();
    for _ in 0..rounds {
        for (which, followers) in FOLLOWERS.into_iter().enumerate() {
            let follow =
                || devsup(path, &["logs", "-f", "-n", "0", "a"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut children = (0..followers).map(|_| follow()).collect::<io::Result<Vec<_>>>()?;
            thread::sleep(Duration::from_millis(500));
            let (bytes, service, keeping) = (written(path)?, cpu(pid)?, cpu(keeper)?);
            thread::sleep(Duration::from_secs(5));
            let wrote = (written(path)? - bytes) / 1e9;
            took[which].push([(cpu(pid)? - service) / wrote, (cpu(keeper)? - keeping) / wrote]);
            for child in &mut children {
                child.kill()?;
                child.wait()?;
            }
        }
    }
    told(&["down"])?;
    let middle = |of: &[[f64; 2]], which: usize| {
        let mut all: Vec<f64> = of.iter().map(|one| one[which]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let alone = [middle(&took[0], 0), middle(&took[0], 1)];
    for (followers, took) in FOLLOWERS.iter().zip(&took) {
        let [service, keeper] = [middle(took, 0), middle(took, 1)];
        let ratio = (service + keeper) / (alone[0] + alone[1]);
        writeln!(
            io::stdout(),
            "{followers} followers: service {service:.2}, keeper {keeper:.2} CPU s/GB, together {ratio:.3} of alone"
        )?;
    }
    Ok(())
}

/// Seconds of processor that all threads of a process had.
fn cpu(pid: u32) -> io::Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum +=
            text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).ok_or(io::ErrorKind::InvalidData)? / 1e9;
    }
    Ok(sum)
}

/// The bytes of the lines that the service has counted so far: 40 to 159 and their numbers.
fn written(home: &Path) -> io::Result<f64> {
    let counter = fs::read_dir(home)?.flatten().find(|file| file.file_name().to_string_lossy().starts_with("a#"));
    let count = fs::read(counter.ok_or(io::ErrorKind::NotFound)?.path())?;
    let count: [u8; 8] = count.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(u64::from_le_bytes(count) as f64 * 108.0)
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
