//! Bytes between a caller and a service, both ways, each way ended by itself.
//!
//! What is read goes out at once from a buffer that all connections share; only what the other side does not take is kept, in a
//! buffer of its own, and nothing more is read that way until it is gone. So an idle connection holds no buffer, and a slow
//! reader at most one.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::stream::Caller;
use crate::sys::clock::monotonic;

/// Read at once, and kept at most.
pub(super) const CHUNK: usize = 64 * 1024;
/// In one go; then it is the others' turn.
const TURN: usize = 16;

/// The buffer that all connections of the thread read into.
#[derive(Clone)]
pub(super) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; CHUNK].into_boxed_slice())))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    InOrder,
    /// One side was reset, or takes nothing any more.
    Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nobody,
    Caller,
    Service,
}

pub(super) struct Pipe {
    caller: Caller,
    service: TcpStream,
    /// From the caller to the service.
    there: Way,
    back: Way,
    last: Last,
    /// Of the last byte; at first of the connection.
    since: Duration,
    scratch: Scratch,
}

impl Pipe {
    pub(super) fn new(caller: Caller, service: TcpStream, scratch: Scratch, now: Duration) -> Self {
        let (there, back) = (Way::default(), Way::default());
        Self { caller, service, there, back, last: Last::Nobody, since: now, scratch }
    }

    pub(super) fn into_ends(self) -> (Caller, TcpStream) {
        (self.caller, self.service)
    }

    /// Moves what can be moved. `Pending`: all that had come was taken, or the other side takes no more of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let mut scratch = self.scratch.0.borrow_mut();
        // Answers first: when bytes of both came together, the caller's count as the later ones, as a request unanswered.
        let back = self.back.poll(cx, &mut self.service, &mut self.caller, &mut scratch);
        let there = self.there.poll(cx, &mut self.caller, &mut self.service, &mut scratch);
        drop(scratch);
        let moved = (std::mem::take(&mut self.back.moved), std::mem::take(&mut self.there.moved));
        match moved {
            (_, true) => self.last = Last::Caller,
            (true, false) => self.last = Last::Service,
            (false, false) => {}
        }
        if moved != (false, false) {
            self.since = monotonic();
        }
        match (there, back) {
            (Poll::Ready(Err(Reset)), _) | (_, Poll::Ready(Err(Reset))) => Poll::Ready(Ended::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                let broken = self.there.flow == Flow::Refused || self.back.flow == Flow::Refused;
                Poll::Ready(if broken { Ended::Broken } else { Ended::InOrder })
            }
            _ => Poll::Pending,
        }
    }

    /// The last word was the service's, or nobody has said one; nothing is on its way; and the caller could still ask, so that he
    /// does not wait for the rest of an answer.
    pub(super) fn answered(&self) -> bool {
        let on_the_way = !self.there.kept.is_empty() || !self.back.kept.is_empty();
        self.last != Last::Caller && !on_the_way && self.there.flow == Flow::Open
    }

    /// The service has said its last, and the caller was told.
    pub(super) fn service_has_ended(&self) -> bool {
        self.back.flow == Flow::Ended
    }

    pub(super) fn since(&self) -> Duration {
        self.since
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    /// All was read; the end is told when all was written.
    Ending,
    Ended,
    /// The taker is gone. What he sent before may still be read.
    Refused,
}

/// The giver was reset.
struct Reset;

#[derive(Default)]
struct Way {
    flow: Flow,
    /// What the taker did not take, from `from` on.
    kept: Box<[u8]>,
    from: usize,
    /// Bytes were read or taken in this turn.
    moved: bool,
}

impl Way {
    /// Ready when this way is over.
    fn poll<G, T>(
        &mut self,
        cx: &mut Context<'_>,
        giver: &mut G,
        taker: &mut T,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Reset>>
    where
        G: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        for _ in 0..TURN {
            if !self.kept.is_empty() && ready!(self.give_kept(cx, taker)).is_err() {
                self.refuse();
            }
            match self.flow {
                Flow::Open => {}
                Flow::Ending => {
                    // An error: he is gone, which is seen when he is read.
                    ready!(Pin::new(&mut *taker).poll_shutdown(cx)).ok();
                    self.flow = Flow::Ended;
                    return Poll::Ready(Ok(()));
                }
                Flow::Ended | Flow::Refused => return Poll::Ready(Ok(())),
            }
            let mut read = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut *giver).poll_read(cx, &mut read)) {
                Err(_) => return Poll::Ready(Err(Reset)),
                Ok(()) if read.filled().is_empty() => self.flow = Flow::Ending,
                Ok(()) => self.give(cx, taker, read.filled()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn give(&mut self, cx: &mut Context<'_>, taker: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) {
        self.moved = true;
        while !bytes.is_empty() {
            match Pin::new(&mut *taker).poll_write(cx, bytes) {
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                Poll::Ready(Err(_)) => return self.refuse(),
                Poll::Pending => {
                    (self.kept, self.from) = (bytes.into(), 0);
                    return;
                }
            }
        }
    }

    fn give_kept(&mut self, cx: &mut Context<'_>, taker: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        while self.from < self.kept.len() {
            self.from += ready!(Pin::new(&mut *taker).poll_write(cx, &self.kept[self.from..]))?;
            self.moved = true;
        }
        self.kept = Box::default();
        Poll::Ready(Ok(()))
    }

    fn refuse(&mut self) {
        (self.flow, self.kept) = (Flow::Refused, Box::default());
    }
}
