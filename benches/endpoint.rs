//! The credential endpoint under load: 50 services ask 1,000 times a second in all, each by a new connection, while their leases
//! are renewed and STS comes and goes.
//!
//! `cargo bench --bench endpoint`. Half a minute; nothing of the machine is changed. Fails if an ask was not answered with
//! credentials. The times are the machine's as well: the load average is printed beside them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const DEVSUP: &str = env!("CARGO_BIN_EXE_devsup");
/// The word by which this program is a service.
const ASK: &str = "__ask";

const SERVICES: u32 = 50;
/// A second, of each.
const RATE: u32 = 20;
const SECONDS: u32 = 20;
const LEASE: &str = "16s";
/// STS is there so long, and away so long.
const TURN: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_mins(2);
const GOAL_MS: f64 = 5.0;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some(ASK), Some(folder), Some(number)) => ask(Path::new(&folder), number.parse().unwrap_or_default()),
        _ => measure(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Nobody may be reading.
    drop(writeln!(io::stdout(), "{line}"));
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The service: when it is told to go it asks at its pace, then writes down what each took or what came instead.
fn ask(folder: &Path, number: u32) -> Result<bool> {
    let url = std::env::var("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let token = std::env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN")?;
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("an odd URL")?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n");
    while !folder.join("go").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let pause = Duration::from_secs(1) / RATE;
    // Not all at the same instant.
    let began = now() + pause / SERVICES * number;
    let mut lines = String::new();
    for nth in 0..RATE * SECONDS {
        thread::sleep((began + pause * nth).saturating_sub(now()));
        let asked = now();
        let answer = exchange(host, &request);
        let took = now().saturating_sub(asked).as_micros();
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                let key = answer.split("\"AccessKeyId\":\"").nth(1).and_then(|rest| rest.split('"').next());
                writeln!(lines, "{took} {}", key.ok_or("an answer without a key")?)?;
            }
            Ok(answer) => writeln!(lines, "error {}", answer.replace(['\r', '\n'], " "))?,
            Err(error) => writeln!(lines, "error {error}")?,
        }
    }
    let half = folder.join(format!("half-{number}"));
    fs::write(&half, lines)?;
    fs::rename(half, folder.join(format!("took-{number}")))?;
    loop {
        thread::park();
    }
}

fn exchange(host: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Result<Self> {
        let home = tempfile::Builder::new().prefix("devsup-endpoint-").tempdir()?;
        let (own, folder) = (std::env::current_exe()?.display().to_string(), home.path().display().to_string());
        let mut text = format!(
            "name = \"load\"\n[aws]\nregion = \"eu-central-1\"\n[defaults.role]\ndelivery = \"endpoint\"\n[sandbox]\nlease = \"{LEASE}\"\n"
        );
        for number in 0..SERVICES {
            let role = format!("{{ arn = \"arn:aws:iam::123456789012:role/s{number}\" }}");
            writeln!(
                text,
                "[services.s{number}]\ncommand = [{own:?}, {ASK:?}, {folder:?}, \"{number}\"]\nrole = {role}"
            )?;
        }
        fs::write(home.path().join("services.toml"), text)?;
        Ok(Self(home))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn devsup(&self, arguments: &[&str]) -> Result<String> {
        #[expect(clippy::disallowed_methods, reason = "what is measured is started here")]
        let mut command = std::process::Command::new(DEVSUP);
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command.env("HOME", self.0.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(format!("devsup {arguments:?}: {output:?}").into()) }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.devsup(&["down", "-t", "1s"]));
    }
}

/// STS goes and comes until all services have written down what they saw.
fn flap(project: &Project, sandbox: &str) -> Result<u32> {
    let faults = |faults: &str| {
        let length = faults.len();
        let head = format!("POST /_sandbox/faults HTTP/1.1\r\nHost: {sandbox}\r\nConnection: close\r\n");
        exchange(sandbox, &format!("{head}Content-Length: {length}\r\n\r\n{faults}"))
    };
    let end = now() + PATIENCE;
    let mut outages = 0;
    while !(0..SERVICES).all(|number| project.path(&format!("took-{number}")).exists()) {
        if now() > end {
            return Err("not all services have written down what they saw".into());
        }
        faults(if outages % 2 == 0 { r#"{"down": "drop"}"# } else { r#"{"down": "unavailable"}"# })?;
        outages += 1;
        thread::sleep(TURN);
        faults("{}")?;
        thread::sleep(TURN);
    }
    Ok(outages)
}

fn measure() -> Result<bool> {
    let project = Project::new()?;
    project.devsup(&["up", "-d", "--wait", "--sandbox"])?;
    let env = project.devsup(&["env", "s0"])?;
    let sandbox = env.lines().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL=http://")).ok_or("no sandbox")?;
    let before = fs::read_to_string("/proc/loadavg")?;
    fs::write(project.path("go"), "")?;
    let outages = flap(&project, sandbox.trim_end_matches('/'))?;
    let (mut took, mut errors, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
    for number in 0..SERVICES {
        let text = fs::read_to_string(project.path(&format!("took-{number}")))?;
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("error", what)) => errors.push(what.to_owned()),
                Some((micros, key)) => {
                    took.push(micros.parse::<f64>()? / 1e3);
                    keys.insert(key.to_owned());
                }
                None => errors.push(line.to_owned()),
            }
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |thousandth: usize| took.get((took.len() * thousandth / 1000).min(took.len().saturating_sub(1)));
    let ms = |thousandth| at(thousandth).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2} ms"));
    let verdict = if at(990).is_some_and(|p99| *p99 <= GOAL_MS) { "pass" } else { "MISS" };
    say("| asks | leases seen | outages of STS | p50 | p99 | p99.9 | max | errors | p99 under 5 ms |");
    say("|---|---|---|---|---|---|---|---|---|");
    let (p50, p99, p999, most) = (ms(500), ms(990), ms(999), ms(1000));
    let (asks, leases, wrong) = (took.len() + errors.len(), keys.len(), errors.len());
    say(&format!("| {asks} | {leases} | {outages} | {p50} | {p99} | {p999} | {most} | {wrong} | {verdict} |"));
    say(&format!("load average before and after: {} / {}", before.trim(), fs::read_to_string("/proc/loadavg")?.trim()));
    for error in errors.iter().take(5) {
        say(&format!("error: {error}"));
    }
    Ok(errors.is_empty() && keys.len() > SERVICES as usize)
}
