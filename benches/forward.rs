//! What forwarding costs: direct, through devsup's forwarder, and through nginx `stream` where there is one, in one run.
//!
//! `cargo bench --bench forward`. Two minutes; loopback only. nginx is looked for in /usr/sbin and in PATH, its stream module
//! where Debian puts it (libnginx-mod-stream); its files are in a temporary folder. All clients and the service
//! are threads of this program, so that only the way between them differs. Rounds of all ways alternate.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use devsup::manifest::Name;
use devsup::ports::forward::{Accepting, Forwarder, PortId, Target};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 7;
const CONNECTIONS: u32 = 16;
const REQUEST: usize = 64;
const BODY: usize = 64 * 1024;
const SMALL: usize = 1024;
const BURST: Duration = Duration::from_secs(2);
/// A second, over so many connections.
const RATE: u32 = 1000;
const CALM_CONNECTIONS: u32 = 4;
const CALM: Duration = Duration::from_secs(2);
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const PATIENCE: Duration = Duration::from_secs(10);
const GOAL_MICROS: f64 = 100.0;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
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

/// The first byte of a request says which answer.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let body = vec![b'x'; BODY];
    let mut request = [0; REQUEST];
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(&body[..if request[0] == b'S' { SMALL } else { BODY }])?;
    }
}

fn service() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Its end is the caller's.
            thread::spawn(move || serve(stream).ok());
        }
    });
    Ok(at)
}

fn call(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// MB of bodies a second.
fn throughput(at: SocketAddr) -> io::Result<f64> {
    let streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| call(at)).collect::<io::Result<_>>()?;
    let began = now();
    let end = began + BURST;
    let done: io::Result<Vec<u32>> = thread::scope(|scope| {
        let threads: Vec<_> = streams.into_iter().map(|stream| scope.spawn(move || load(stream, end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    let bodies: f64 = done?.into_iter().map(f64::from).sum();
    Ok(bodies * 65_536.0 / 1e6 / now().saturating_sub(began).as_secs_f64())
}

fn load(mut stream: TcpStream, end: Duration) -> io::Result<u32> {
    let mut answer = vec![0; BODY];
    let mut count = 0;
    while now() < end {
        stream.write_all(&[b'L'; REQUEST])?;
        stream.read_exact(&mut answer)?;
        count += 1;
    }
    Ok(count)
}

/// Microseconds from when each request was due to the end of its answer.
fn latency(at: SocketAddr) -> io::Result<Vec<f64>> {
    let streams: Vec<TcpStream> = (0..CALM_CONNECTIONS).map(|_| call(at)).collect::<io::Result<_>>()?;
    let began = now() + Duration::from_millis(20);
    let done: io::Result<Vec<Vec<f64>>> = thread::scope(|scope| {
        let paced = (0..).zip(streams);
        let threads: Vec<_> = paced
            .map(|(nth, stream)| scope.spawn(move || pace(stream, began + Duration::from_secs(1) / RATE * nth)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    Ok(done?.concat())
}

fn pace(mut stream: TcpStream, began: Duration) -> io::Result<Vec<f64>> {
    let step = Duration::from_secs(1) * CALM_CONNECTIONS / RATE;
    let mut answer = [0; SMALL];
    let mut took = Vec::new();
    let mut due = began;
    while due < began + CALM {
        thread::sleep(due.saturating_sub(now()));
        stream.write_all(&[b'S'; REQUEST])?;
        stream.read_exact(&mut answer)?;
        took.push(now().saturating_sub(due).as_secs_f64() * 1e6);
        due += step;
    }
    Ok(took)
}

struct Nginx {
    child: Child,
    home: tempfile::TempDir,
    at: SocketAddr,
}

impl Nginx {
    fn start(program: &Path, workers: u32, more: &str, to: SocketAddr) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("devsup-forward-").tempdir()?;
        let folder = home.path().display();
        let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let text = format!(
            "load_module {MODULE};\ndaemon off;\nworker_processes {workers};\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             stream {{ server {{ listen {at}; proxy_pass {to}; {more} }} }}\n"
        );
        let file = home.path().join("nginx.conf");
        fs::write(&file, text)?;
        #[expect(clippy::disallowed_methods, reason = "what is measured is started here")]
        let mut command = std::process::Command::new(program);
        command.arg("-p").arg(home.path()).arg("-e").arg(home.path().join("error.log")).arg("-c").arg(&file);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let nginx = Self { child, home, at };
        let end = now() + PATIENCE;
        while TcpStream::connect(at).is_err() {
            if now() > end {
                return Err(format!("nginx does not listen: {}", fs::read_to_string(nginx.log())?).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("error.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Not by force: that would leave its workers.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("nginx")).find(|program| program.is_file() && Path::new(MODULE).is_file())
}

struct Way {
    name: &'static str,
    at: SocketAddr,
    rates: Vec<f64>,
    took: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, at: SocketAddr) -> Self {
        Self { name, at, rates: Vec::new(), took: Vec::new() }
    }
}

/// `thousandth` 500: the median.
fn at(numbers: &mut [f64], thousandth: usize) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() * thousandth / 1000).copied().unwrap_or(f64::NAN)
}

fn measure() -> Result<()> {
    let to = service()?;
    let forwarder = Forwarder::start(1024)?;
    let port = PortId { service: Name::new("a"), port: "http".to_owned() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = listener.local_addr()?;
    forwarder.open(port.clone(), Accepting::Tcp(listener), PATIENCE)?;
    forwarder.route(&port, Some(Target { run: 1, address: to }));
    let mut ways = vec![Way::new("direct", to), Way::new("devsup", ours)];
    let mut peers = Vec::new();
    if let Some(program) = nginx() {
        let wide = "proxy_buffer_size 64k;";
        let kinds =
            [("nginx, 1 worker", 1, ""), ("nginx, 2 workers", 2, ""), ("nginx, 1 worker, 64k buffers", 1, wide)];
        for (name, workers, more) in kinds {
            let peer = Nginx::start(&program, workers, more, to)?;
            ways.push(Way::new(name, peer.at));
            peers.push(peer);
        }
    } else {
        say(&format!("no nginx with {MODULE} is here: without it"));
    }
    let before = fs::read_to_string("/proc/loadavg")?;
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.rates.push(throughput(way.at)?);
            way.took.extend(latency(way.at)?);
        }
    }
    report(&mut ways);
    say(&format!("load average before and after: {} / {}", before.trim(), fs::read_to_string("/proc/loadavg")?.trim()));
    Ok(())
}

fn report(ways: &mut [Way]) {
    let (mut base_rate, mut base_median) = (f64::NAN, f64::NAN);
    let mut text = String::from(
        "| | 64 KiB answers, 16 connections | of devsup's | p50 at 1,000/s | p99 | p50 added |\n|---|---|---|---|---|---|\n",
    );
    let (mut ours, mut added_by_us, mut best_peer) = (0.0, f64::NAN, 0.0_f64);
    if let [direct, devsup, ..] = ways {
        base_median = at(&mut direct.took, 500);
        base_rate = at(&mut devsup.rates, 500);
    }
    for way in ways {
        let (rate, p50, p99) = (at(&mut way.rates, 500), at(&mut way.took, 500), at(&mut way.took, 990));
        let (name, ratio, added) = (way.name, rate / base_rate, p50 - base_median);
        match name {
            "direct" => {}
            "devsup" => (ours, added_by_us) = (rate, added),
            _ => best_peer = best_peer.max(rate),
        }
        // A String takes all.
        writeln!(text, "| {name} | {rate:.0} MB/s | {ratio:.2} | {p50:.0} µs | {p99:.0} µs | {added:+.0} µs |").ok();
    }
    say(text.trim_end());
    let verdict = |good| if good { "pass" } else { "MISS" };
    say(&format!("throughput at least that of the best nginx here: {}", verdict(ours >= best_peer)));
    say(&format!("under 100 µs added to the median: {}", verdict(added_by_us < GOAL_MICROS)));
}
