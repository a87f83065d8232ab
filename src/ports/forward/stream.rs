//! A caller's end and what he calls: TCP or a unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Accepting;
use crate::sys::stream::has_bytes;

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// In the context of the runtime that is to serve it.
    pub(super) fn new(accepting: Accepting) -> io::Result<Self> {
        match accepting {
            Accepting::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
            Accepting::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Self::Unix)
            }
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Caller>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                // One that is gone already is noticed when it is read.
                stream.set_nodelay(true).ok();
                Poll::Ready(Ok(Caller::Tcp(stream)))
            }
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Caller::Unix(stream)),
        }
    }
}

pub(super) enum Caller {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Caller {
    /// Until one who waits has gone away. Takes none of his bytes.
    ///
    /// The end before any byte is going away. After some it may be a whole request whose sender awaits the answer, so that only
    /// a reset tells (TCP; of a unix socket nothing does).
    pub(super) async fn gone(&self) {
        loop {
            let heard = match self {
                Self::Tcp(stream) => match stream.readable().await {
                    Ok(()) => stream.try_io(Interest::READABLE, || has_bytes(stream)),
                    Err(error) => Err(error),
                },
                Self::Unix(stream) => match stream.readable().await {
                    Ok(()) => stream.try_io(Interest::READABLE, || has_bytes(stream)),
                    Err(error) => Err(error),
                },
            };
            match heard {
                Ok(true) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => return,
            }
        }
        match self {
            // Good or bad, it is over.
            Self::Tcp(stream) => drop(stream.ready(Interest::ERROR).await),
            Self::Unix(_) => std::future::pending().await,
        }
    }

    /// As the other side was reset, so is this.
    pub(super) fn reset(self) {
        match self {
            Self::Tcp(stream) => reset(stream),
            Self::Unix(stream) => drop(stream),
        }
    }
}

pub(super) fn reset(stream: TcpStream) {
    // Without it the other side sees an end in place of a reset.
    stream.set_zero_linger().ok();
    drop(stream);
}

macro_rules! either {
    ($self:expr, $stream:ident => $act:expr) => {
        match $self.get_mut() {
            Caller::Tcp($stream) => $act,
            Caller::Unix($stream) => $act,
        }
    };
}

impl AsyncRead for Caller {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, into))
    }
}

impl AsyncWrite for Caller {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
