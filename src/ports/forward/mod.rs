//! Takes callers to the ready run: accepts on sockets that devsup holds, and forwards bytes to the run's private port.
//!
//! Called by the daemon through a [`Forwarder`], which only says what is to be done: a thread of its own (`forward`) does it, one
//! task for each connection. Nothing wakes while nothing moves; a timer exists only for those who wait, are drained, or have
//! lost their service.
//!
//! ```text
//!             accept             connected                    both have said all
//! (backlog) ──────────▶ waiting ───────────▶ open ───────────────────────────────▶ (ended)
//!    limit, share      │    ▲ │               │ │ one side was reset: so is the other  ▲
//!    of each port      │    └─┘               │ └──────────────────────────────────────┤
//!                      │  refused: again,     │ drained and at rest:                    │
//!                      │  route: at once      │ the caller gets the end                 │
//!                      │                      └──────────────────────▶ farewell ────────┤
//!                      └ `wait` is over, gone, or the port closed ──────────────────────┘
//! ```
//!
//! *At rest* is a connection whose last byte went to the caller (or that never saw one), and that was silent for a second. Bytes
//! of the caller that nothing followed are an unanswered request, however long it takes; so is a caller who said his last and
//! waits for the rest.
//!
//! Must never happen: a byte lost, doubled or changed; a request given to a run after its caller was told the end (the caller
//! may have sent it again elsewhere); a place not given back; a drain unanswered or answered twice; a crash for a flood.

mod accept;
mod caller;
mod crowd;
mod farewell;
mod hall;
mod open;
mod pipe;
mod places;
mod stats;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::hall::Order;
use self::stats::Board;
pub use self::stats::Stats;
use self::stream::Listener;
use crate::manifest::Name;

/// One of a service's ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    pub service: Name,
    pub port: String,
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.port)
    }
}

/// Where a run listens. Never anywhere else: what it does not listen at, a stranger may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub run: u32,
    pub address: SocketAddr,
}

/// A socket that is bound and listens.
#[derive(Debug)]
pub enum Accepting {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Tells the thread what to do. What one handle says is done in that order. The thread ends with the last handle, and all
/// connections with it.
#[derive(Clone)]
pub struct Forwarder {
    orders: UnboundedSender<Order>,
    board: Arc<Board>,
    taken: Arc<AtomicUsize>,
    runtime: Handle,
}

impl Forwarder {
    /// At most so many connections at once, over all ports; each takes two descriptors. Beyond that callers stay in the backlog.
    pub fn start(places: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (orders, inbox) = unbounded_channel();
        let taken = Arc::<AtomicUsize>::default();
        let handle = runtime.handle().clone();
        let counter = Arc::clone(&taken);
        thread::Builder::new()
            .name("forward".to_owned())
            .spawn(move || tokio::task::LocalSet::new().block_on(&runtime, hall::run(inbox, places, counter)))?;
        Ok(Self { orders, board: Arc::default(), taken, runtime: handle })
    }

    /// Accepts callers from now on; each waits at most `wait` to be connected to a run. A port that is open is closed before.
    pub fn open(&self, port: PortId, listener: Accepting, wait: Duration) -> io::Result<()> {
        let listener = {
            let _context = self.runtime.enter();
            Listener::new(listener)?
        };
        let tally = self.board.begin(&port);
        self.say(Order::Open { port, listener, wait, tally });
        Ok(())
    }

    /// New callers go there from now on, also those who wait already; `None`: they wait. Nothing for a port that is not open.
    pub fn route(&self, port: &PortId, to: Option<Target>) {
        self.say(Order::Route { port: port.clone(), to });
    }

    /// Lets the run's connections, over all ports of the service, come to their end. Those at rest are closed in order.
    ///
    /// `done` is called once, on the forwarder's thread: when none is left but such as were told the end, or by [`Self::cut`].
    /// If the last handle is dropped before, it is dropped too.
    pub fn drain(&self, service: &Name, run: u32, done: impl FnOnce() + Send + 'static) {
        self.say(Order::Drain { service: service.clone(), run, done: Box::new(done) });
    }

    /// Gives up the run's drains: nothing more is closed by us, and who waits for them is answered now.
    pub fn cut(&self, service: &Name, run: u32) {
        self.say(Order::Cut { service: service.clone(), run });
    }

    /// Accepts no more: callers who wait are closed, open connections go on until their ends.
    ///
    /// Returns when the listener is closed (at most some milliseconds later), so that its address can be bound again. Not for
    /// the forwarder's own thread, which is where `done` is called.
    pub fn close(&self, port: &PortId) {
        self.board.end(port);
        let (closed, answer) = mpsc::channel();
        self.say(Order::Close { port: port.clone(), closed });
        // An error: the thread has ended, and the listener with it.
        answer.recv().ok();
    }

    /// Nothing but zeros for a port that is not open.
    pub fn stats(&self, port: &PortId) -> Stats {
        self.board.of(port).map(|tally| tally.now()).unwrap_or_default()
    }

    /// Of the callers who waited since the last take, also those who wait still: the longest between being accepted and being
    /// connected to a run. Zero if nobody had to wait.
    pub fn take_worst(&self, port: &PortId) -> Duration {
        self.board.of(port).map(|tally| tally.take_worst()).unwrap_or_default()
    }

    /// Places that are taken, over all ports, with those of callers who wait or were told the end.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn say(&self, order: Order) {
        // The thread ends only with the last handle.
        self.orders.send(order).ok();
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("taken", &self.taken()).finish_non_exhaustive()
    }
}
