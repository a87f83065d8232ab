//! Takes connections, each for one request and a short time. Whoever is slow keeps nobody else waiting: there is room for many,
//! and when it is full the one that has been silent longest goes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::answer::Answer;
use super::serve::Desk;

/// Connections at once.
const ROOM: usize = 256;
/// Beyond that so many are told to come again; others are closed.
const TURNED_AWAY: usize = 64;
const HEAD_WITHIN: Duration = Duration::from_secs(2);
const IN_ALL: Duration = Duration::from_secs(5);
const TURNED_AWAY_WITHIN: Duration = Duration::from_millis(500);
/// A request of an SDK has some hundred bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Descriptors come back when somebody else closes one.
const NO_DESCRIPTORS: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Lobby {
    next: Cell<u64>,
    inside: Cell<usize>,
    turned_away: Cell<usize>,
    /// Those who have not said what they want, oldest first.
    silent: RefCell<BTreeMap<u64, AbortHandle>>,
}

/// One connection's, until it is dropped.
struct Place<'a> {
    number: u64,
    lobby: &'a Lobby,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.lobby.inside.set(self.lobby.inside.get() - 1);
        self.lobby.silent.borrow_mut().remove(&self.number);
    }
}

impl Lobby {
    /// Is there room, or can there be?
    fn makes_room(&self) -> bool {
        if self.inside.get() < ROOM {
            return true;
        }
        let oldest = self.silent.borrow_mut().pop_first();
        oldest.inspect(|(_, silent)| silent.abort()).is_some()
    }
}

/// For the daemon's life.
pub(super) async fn keep(listener: TcpListener, desk: Rc<Desk>) {
    let lobby = Rc::new(Lobby::default());
    loop {
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(theirs))) => admit(stream, theirs, &desk, &lobby),
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                tracing::warn!(%error, "credential endpoint: accept failed");
                sleep(NO_DESCRIPTORS).await;
            }
        }
        // Those who are inside go first: whoever was let in and speaks at once is heard before the next is let in.
        tokio::task::yield_now().await;
    }
}

fn admit(stream: TcpStream, theirs: SocketAddrV4, desk: &Rc<Desk>, lobby: &Rc<Lobby>) {
    if !lobby.makes_room() {
        return turn_away(stream, lobby);
    }
    let number = lobby.next.get();
    lobby.next.set(number + 1);
    lobby.inside.set(lobby.inside.get() + 1);
    let (desk, shared) = (Rc::clone(desk), Rc::clone(lobby));
    let task = tokio::task::spawn_local(async move {
        let place = Place { number, lobby: &shared };
        let serve = |request: Request<Incoming>| {
            place.lobby.silent.borrow_mut().remove(&number);
            let desk = &desk;
            async move { Ok(desk.answer(theirs, &request.into_parts().0).await.into_response()) }
        };
        converse(stream, IN_ALL, serve).await;
    });
    lobby.silent.borrow_mut().insert(number, task.abort_handle());
}

fn turn_away(stream: TcpStream, lobby: &Rc<Lobby>) {
    if lobby.turned_away.get() >= TURNED_AWAY {
        return;
    }
    lobby.turned_away.set(lobby.turned_away.get() + 1);
    let lobby = Rc::clone(lobby);
    drop(tokio::task::spawn_local(async move {
        converse(stream, TURNED_AWAY_WITHIN, async |_| Ok(Answer::overloaded().into_response())).await;
        lobby.turned_away.set(lobby.turned_away.get() - 1);
    }));
}

async fn converse<F>(stream: TcpStream, within: Duration, serve: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN.min(within))
        .serve_connection(TokioIo::new(stream), service_fn(serve));
    match timeout(within, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "credential endpoint: connection ended"),
        Err(_) => tracing::debug!("credential endpoint: a connection took too long"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::daemon::endpoint::tests::{Scene, play};

    async fn visit(scene: &Scene, listener: &TcpListener, lobby: &Rc<Lobby>) -> TcpStream {
        let client = TcpStream::connect(scene.at).await.expect("it listens");
        let (stream, theirs) = listener.accept().await.expect("a client");
        let SocketAddr::V4(theirs) = theirs else { panic!("{theirs}") };
        admit(stream, theirs, &scene.desk, lobby);
        client
    }

    async fn told(mut client: TcpStream, request: &str) -> String {
        let mut text = String::new();
        // It may be closed before it is asked.
        drop(client.write_all(request.as_bytes()).await);
        drop(client.read_to_string(&mut text).await);
        text
    }

    #[test]
    fn when_all_who_are_inside_speak_the_next_is_told_to_come_again() {
        play(async |scene, listener| {
            let lobby = Rc::new(Lobby::default());
            lobby.inside.set(ROOM);
            let client = visit(&scene, &listener, &lobby).await;
            let answer = told(client, &scene.request()).await;
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"Code\":\"SlowDown\""), "{answer}");
            lobby.turned_away.set(TURNED_AWAY);
            let client = visit(&scene, &listener, &lobby).await;
            assert_eq!(told(client, &scene.request()).await, "");
            assert_eq!(lobby.inside.get(), ROOM, "neither took a place");
        });
    }

    #[test]
    fn when_it_is_full_the_oldest_who_is_silent_goes() {
        play(async |scene, listener| {
            let lobby = Rc::new(Lobby::default());
            let silent = visit(&scene, &listener, &lobby).await;
            lobby.inside.set(ROOM);
            let client = visit(&scene, &listener, &lobby).await;
            assert_eq!(told(silent, "").await, "");
            let answer = told(client, &scene.request()).await;
            assert!(answer.contains("ServiceNotRunning"), "the next is heard: {answer}");
        });
    }
}
