//! The forwarder between real sockets on loopback.

mod bytes;
mod draining;
mod interleaved;
mod limits;
mod waiting;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::{Accepting, Forwarder, PortId, Stats, Target};
use crate::manifest::Name;
use crate::sys::clock::monotonic;

/// A run whose connections panic.
pub(super) const PANICS: u32 = u32::MAX;

/// Long enough for a busy machine; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A forwarder with one port open, which is routed nowhere.
struct Stage {
    forwarder: Forwarder,
    port: PortId,
    at: SocketAddr,
}

impl Stage {
    fn new() -> Self {
        Self::with(64, DEADLINE)
    }

    fn with(places: usize, wait: Duration) -> Self {
        let forwarder = Forwarder::start(places).expect("a thread");
        let port = port("http");
        let at = open(&forwarder, &port, wait);
        Self { forwarder, port, at }
    }

    fn call(&self) -> TcpStream {
        call(self.at)
    }

    fn route(&self, run: u32, service: &TcpListener) {
        let address = service.local_addr().expect("bound");
        self.forwarder.route(&self.port, Some(Target { run, address }));
    }

    /// One connection, from end to end.
    fn connected(&self, service: &TcpListener) -> (TcpStream, TcpStream) {
        (self.call(), accepted(service))
    }

    fn drain(&self, run: u32) -> Receiver<()> {
        let (done, answer) = channel();
        self.forwarder.drain(&self.port.service, run, move || done.send(()).expect("waited for"));
        answer
    }

    fn stats(&self) -> Stats {
        self.forwarder.stats(&self.port)
    }

    fn empty(&self) {
        until("every place is given back", || self.forwarder.taken() == 0);
        let stats = self.stats();
        assert!(stats.open.is_empty() && stats.waiting == 0, "{stats:?}");
    }
}

fn port(name: &str) -> PortId {
    PortId { service: Name::new("a"), port: name.to_owned() }
}

fn open(forwarder: &Forwarder, port: &PortId, wait: Duration) -> SocketAddr {
    let listener = service();
    let at = listener.local_addr().expect("bound");
    forwarder.open(port.clone(), Accepting::Tcp(listener), wait).expect("opened");
    at
}

fn service() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound")
}

fn call(at: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(at).expect("taken by the backlog"))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.set_write_timeout(Some(DEADLINE)).expect("set");
    stream
}

fn accepted(service: &TcpListener) -> TcpStream {
    service.set_nonblocking(true).expect("set");
    let mut stream = None;
    until("the service is called", || {
        stream = service.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.expect("just seen");
    stream.set_nonblocking(false).expect("set");
    patient(stream)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = monotonic() + DEADLINE;
    while !holds() {
        assert!(monotonic() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn send(stream: &mut impl Write, bytes: &[u8]) {
    stream.write_all(bytes).expect("sent");
}

/// Exactly these come next.
fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).expect("read");
    assert!(read == bytes, "other bytes than were sent");
}

/// No more comes, and that is said in order.
fn expect_end(stream: &mut impl Read) {
    assert_eq!(stream.read(&mut [0; 64]).expect("the end, in order"), 0, "bytes in place of the end");
}

/// It is closed, in whatever way.
fn expect_closed(stream: &mut impl Read) {
    match stream.read(&mut [0; 64]) {
        Ok(count) => assert_eq!(count, 0, "bytes in place of the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

fn answered(answer: &Receiver<()>) {
    answer.recv_timeout(DEADLINE).expect("the drain is answered");
    assert!(answer.recv_timeout(DEADLINE).is_err(), "twice");
}
