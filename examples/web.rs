//! A small web server, for tests: what a well-behaved service does around its port.
//!
//! ```text
//! web [--start-ms 200]
//! ```
//!
//! It listens on the socket it was passed (`LISTEN_FDS`), else on `127.0.0.1:$PORT`, and says `READY=1` when it does. `GET /` tells
//! the run and the pid, `GET /slow?ms=500` takes its time, a body is read whole and answered with its length.
//!
//! At SIGTERM it takes no more connections: who waits in the backlog of a passed socket is for the next run. It answers what was
//! asked and says `Connection: close`, ends the connections that are idle, and waits for the first request of one it has just taken,
//! for whose caller may not send it again. Then it ends.

#![expect(clippy::print_stderr, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::SIGTERM;

/// A caller who says nothing is left alone after so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        assert_eq!(word, "--start-ms", "the only option");
        let ms = words.next().and_then(|ms| ms.parse().ok()).expect("a number");
        thread::sleep(Duration::from_millis(ms));
    }
    let (told, tell) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, tell)?;
    let listener = listener()?;
    // Another run may be faster at the same socket.
    listener.set_nonblocking(true)?;
    ready()?;
    let server = Arc::<Server>::default();
    serve(&listener, &told, &server)?;
    drop(listener);
    server.finish();
    Ok(())
}

fn listener() -> io::Result<TcpListener> {
    if let Some(passed) = listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        return Ok(passed);
    }
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok());
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.expect("a socket or a PORT")))
}

fn ready() -> io::Result<()> {
    let Ok(name) = env::var("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

/// Until it is told to stop.
fn serve(listener: &TcpListener, told: &UnixStream, server: &Arc<Server>) -> io::Result<()> {
    loop {
        let mut both = [PollFd::new(told, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => continue,
            done => drop(done?),
        }
        if !both[0].revents().is_empty() {
            return Ok(());
        }
        match listener.accept() {
            Ok((stream, _)) => Server::take(server, stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => eprintln!("not accepted: {error}"),
        }
    }
}

#[derive(Default)]
struct Server {
    open: Mutex<Open>,
    closed: Condvar,
}

#[derive(Default)]
struct Open {
    stopping: bool,
    taken: u64,
    count: usize,
    /// Those whose last request was answered.
    idle: BTreeMap<u64, Arc<TcpStream>>,
}

impl Server {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(server: &Arc<Self>, stream: TcpStream) {
        let id = {
            let mut open = server.open();
            open.count += 1;
            open.taken += 1;
            open.taken
        };
        let server = Arc::clone(server);
        thread::spawn(move || {
            // An error: the caller has gone away.
            server.attend(id, stream).ok();
            let mut open = server.open();
            open.idle.remove(&id);
            open.count -= 1;
            server.closed.notify_all();
        });
    }

    fn attend(&self, id: u64, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        let mut reader = BufReader::new(&*stream);
        while let Some(request) = Request::read(&mut reader)? {
            let body = request.answer();
            let close = request.close || self.open().stopping;
            let connection = if close { "close" } else { "keep-alive" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
                body.len()
            );
            reader.get_mut().write_all(format!("{head}{body}").as_bytes())?;
            if close || !self.rests(id, &stream) {
                return Ok(());
            }
            let more = !reader.fill_buf()?.is_empty();
            self.open().idle.remove(&id);
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Not when the server stops.
    fn rests(&self, id: u64, stream: &Arc<TcpStream>) -> bool {
        let mut open = self.open();
        if !open.stopping {
            open.idle.insert(id, Arc::clone(stream));
        }
        !open.stopping
    }

    fn finish(&self) {
        let mut open = self.open();
        open.stopping = true;
        for stream in open.idle.values() {
            // What has come already is still read and answered.
            stream.shutdown(Shutdown::Read).ok();
        }
        while open.count > 0 {
            open = self.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Request {
    path: String,
    /// Of its body, which was read.
    length: Option<u64>,
    close: bool,
}

impl Request {
    /// `None`: there are no more.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let path = line.split_whitespace().nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
        let mut request = Self { path, length: None, close: false };
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => request.length = value.trim().parse().ok(),
                "connection" => request.close = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        if let Some(length) = request.length
            && io::copy(&mut reader.take(length), &mut io::sink())? < length
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(request))
    }

    fn answer(&self) -> String {
        if let Some(ms) = self.path.strip_prefix("/slow?ms=").and_then(|ms| ms.parse().ok()) {
            thread::sleep(Duration::from_millis(ms));
        }
        if let Some(length) = self.length {
            return format!("length {length}\n");
        }
        let run = env::var("DEVSUP_RUN").unwrap_or_default();
        let number = run.rsplit('#').next().unwrap_or_default();
        format!("run {number} pid {}\n", process::id())
    }
}
