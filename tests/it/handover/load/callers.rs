//! Callers that come at a fixed rate, whatever becomes of those before them (an open loop): each request's time counts from the
//! instant it was due.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};

/// 200 requests a second.
const EACH: Duration = Duration::from_millis(5);
/// Every so many of them is an upload; of the others every second one is on a connection that was used before.
const UPLOAD: u64 = 40;
/// In parts with pauses, in all about 300 ms.
const PARTS: usize = 16;
const PART: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(19);
/// Used in turn, each rests longer than the second after which a connection is at rest.
const KEPT: usize = 150;
/// Nobody waits so long unless something is wrong.
const LIMIT: Duration = Duration::from_secs(45);

#[derive(Default)]
pub(super) struct Tally {
    one_shot: usize,
    kept: usize,
    uploads: usize,
    /// Requests on a used connection that was closed before the first byte of an answer, asked again on a new one.
    retries: usize,
    /// Of answered requests without a body.
    waits: Vec<Duration>,
    slowest_upload: Duration,
    pub(super) failed: Vec<String>,
}

impl Tally {
    pub(super) fn first_failed(&self) -> &[String] {
        &self.failed[..self.failed.len().min(10)]
    }

    pub(super) fn all_kinds(&self) -> bool {
        self.one_shot > 0 && self.kept > 0 && self.uploads > 0
    }

    pub(super) fn worst(&self) -> Duration {
        self.waits.last().copied().unwrap_or_default().max(self.slowest_upload)
    }

    fn quantile(&self, per_cent: usize) -> Duration {
        let at = (self.waits.len() * per_cent / 100).min(self.waits.len().saturating_sub(1));
        self.waits.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.one_shot + self.kept + self.uploads;
        let (median, p99, worst) = (self.quantile(50), self.quantile(99), self.quantile(100));
        write!(f, "{} requests, {} failed, ", answered + self.failed.len(), self.failed.len())?;
        write!(
            f,
            "{} one-shot, {} kept ({} retried), {} uploads answered; ",
            self.one_shot, self.kept, self.retries, self.uploads
        )?;
        write!(f, "p50 {median:.1?}, p99 {p99:.1?}, worst {worst:.1?}, slowest upload {:.1?}", self.slowest_upload)
    }
}

pub(super) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    over: AtomicBool,
    /// The connection that was used last is used next.
    busy: AtomicBool,
    latest: AtomicU32,
    tally: Mutex<Tally>,
    idle: Mutex<VecDeque<TcpStream>>,
}

impl Load {
    pub(super) fn begin(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            address,
            over: AtomicBool::default(),
            busy: AtomicBool::default(),
            latest: AtomicU32::default(),
            tally: Mutex::default(),
            idle: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || runtime.block_on(come(theirs)));
        Self { shared, thread: Some(thread) }
    }

    /// The newest run that has answered.
    pub(super) fn latest_run(&self) -> u32 {
        self.shared.latest.load(Ordering::Relaxed)
    }

    pub(super) fn busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    /// Waits for the last answers.
    pub(super) fn end(mut self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().expect("callers do not panic");
        let mut tally = std::mem::take(&mut *self.shared.tally.lock().expect("no panic"));
        tally.waits.sort_unstable();
        tally
    }
}

/// What callers met until the test failed.
impl Drop for Load {
    #[expect(clippy::print_stderr, reason = "seen when a test fails")]
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if thread::panicking()
            && let Ok(tally) = self.shared.tally.lock()
        {
            eprintln!("{tally}\nthe newest run that answered: {}; {:#?}", self.latest_run(), tally.first_failed());
        }
    }
}

async fn come(shared: Arc<Shared>) {
    let mut ticks = interval(EACH);
    let mut asked = tokio::task::JoinSet::new();
    for number in 1_u64.. {
        let due = ticks.tick().await;
        if shared.over.load(Ordering::Relaxed) {
            break;
        }
        while asked.try_join_next().is_some() {}
        asked.spawn(one(Arc::clone(&shared), number, due));
    }
    asked.join_all().await;
}

async fn one(shared: Arc<Shared>, number: u64, due: Instant) {
    let kind = match number {
        _ if number.is_multiple_of(UPLOAD) => Kind::Upload,
        _ if number.is_multiple_of(2) => Kind::Kept,
        _ => Kind::OneShot,
    };
    let (retried, done) = match timeout(LIMIT, shared.ask(kind)).await {
        Ok(done) => done,
        Err(_) => (false, Err(Lost { answered: false, why: format!("no answer in {LIMIT:?}") })),
    };
    let took = due.elapsed();
    let mut tally = shared.tally.lock().expect("no panic");
    tally.retries += usize::from(retried);
    match (done, kind) {
        (Err(lost), _) => tally.failed.push(format!("{kind:?} after {took:.1?}: {}", lost.why)),
        (Ok(()), Kind::Upload) => {
            tally.uploads += 1;
            tally.slowest_upload = tally.slowest_upload.max(took);
        }
        (Ok(()), Kind::Kept) => {
            tally.kept += 1;
            tally.waits.push(took);
        }
        (Ok(()), Kind::OneShot) => {
            tally.one_shot += 1;
            tally.waits.push(took);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    OneShot,
    Kept,
    Upload,
}

struct Lost {
    /// At least one byte of an answer came.
    answered: bool,
    why: String,
}

impl Lost {
    fn at(what: &str, answered: bool) -> impl Fn(io::Error) -> Self {
        move |error| Self { answered, why: format!("{what}: {error}") }
    }
}

impl Shared {
    /// And whether it was asked twice.
    async fn ask(&self, kind: Kind) -> (bool, Result<(), Lost>) {
        let used = match kind {
            Kind::Kept => self.used(),
            Kind::OneShot | Kind::Upload => None,
        };
        let Some(mut stream) = used else { return (false, self.ask_new(kind).await) };
        match self.exchange(&mut stream, kind).await {
            Ok(kept) => {
                self.keep(stream, kept);
                (false, Ok(()))
            }
            // As HTTP clients do: it was closed while it was idle (RFC 9112, 9.3.1).
            Err(lost) if !lost.answered => (true, self.ask_new(kind).await),
            Err(lost) => (false, Err(lost)),
        }
    }

    fn used(&self) -> Option<TcpStream> {
        let mut idle = self.idle.lock().expect("no panic");
        if self.busy.load(Ordering::Relaxed) {
            return idle.pop_back();
        }
        // One of them is under way: at first each is a new one.
        if idle.len() + 1 < KEPT { None } else { idle.pop_front() }
    }

    fn keep(&self, stream: TcpStream, kept: bool) {
        let mut idle = self.idle.lock().expect("no panic");
        // After a wait many come back at once.
        if kept && idle.len() < KEPT {
            idle.push_back(stream);
        }
    }

    async fn ask_new(&self, kind: Kind) -> Result<(), Lost> {
        let mut stream = TcpStream::connect(self.address).await.map_err(Lost::at("connect", false))?;
        stream.set_nodelay(true).ok();
        let kept = self.exchange(&mut stream, kind).await?;
        self.keep(stream, kept);
        Ok(())
    }

    /// Whether the connection may be used again.
    async fn exchange(&self, stream: &mut TcpStream, kind: Kind) -> Result<bool, Lost> {
        let failed = || Lost::at("request", false);
        match kind {
            Kind::Upload => {
                let length = PARTS * PART;
                let head =
                    format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.map_err(failed())?;
                let part = vec![b'x'; PART];
                for _ in 0..PARTS {
                    stream.write_all(&part).await.map_err(failed())?;
                    sleep(PAUSE).await;
                }
            }
            Kind::OneShot => {
                let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                stream.write_all(head).await.map_err(failed())?;
            }
            Kind::Kept => stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.map_err(failed())?,
        }
        let answer = Answer::read(stream).await?;
        match kind {
            Kind::Upload if answer.body == format!("length {}\n", PARTS * PART) => Ok(false),
            Kind::OneShot | Kind::Kept if self.saw(&answer.body) => Ok(!answer.close),
            Kind::OneShot | Kind::Kept | Kind::Upload => {
                Err(Lost { answered: true, why: format!("{:?}", answer.body) })
            }
        }
    }

    /// `run 4 pid 812`
    fn saw(&self, body: &str) -> bool {
        let run = body.strip_prefix("run ").and_then(|rest| rest.split_once(' ')).and_then(|(run, _)| run.parse().ok());
        run.is_some_and(|run| self.latest.fetch_max(run, Ordering::Relaxed) > 0 || run > 0)
    }
}

struct Answer {
    close: bool,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Result<Self, Lost> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = Self::whole(&bytes) {
                return answer;
            }
            let count = stream.read_buf(&mut bytes).await.map_err(Lost::at("answer", !bytes.is_empty()))?;
            if count == 0 {
                return Err(Lost { answered: !bytes.is_empty(), why: format!("it ended after {} bytes", bytes.len()) });
            }
        }
    }

    /// `None`: there is more to come.
    fn whole(bytes: &[u8]) -> Option<Result<Self, Lost>> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        if lines.next() != Some("HTTP/1.1 200 OK") {
            return Some(Err(Lost { answered: true, why: head.to_owned() }));
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: usize = field("Content-Length")?.parse().ok()?;
        let close = field("Connection") == Some("close");
        (body.len() >= length).then(|| Ok(Self { close, body: body.to_owned() }))
    }
}
