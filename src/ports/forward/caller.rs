//! A caller, from being accepted to being connected to a run: he waits while none is ready, and no longer than his port says.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::hall::Port;
use super::places::Place;
use super::stats::Waiting;
use super::stream::{self, Caller};
use super::{Target, open};

/// A run that refuses opens its port a bit later, or has just died.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// On one machine a connection is made at once, or the service's backlog is full: all who waited come together, and some
/// services ask for a backlog of 5. The kernel would try again after 1, 3, 7 s.
const FULL: Duration = Duration::from_millis(100);

type Route = watch::Receiver<Option<Target>>;

/// Nobody is left to be served.
struct Closed;

pub(super) async fn attend(caller: Caller, port: Rc<Port>, place: Place, waiting: Waiting) {
    let mut search = Search { route: port.route.clone(), waiting };
    let (target, service) = match timeout(port.wait, search.reach(&caller)).await {
        Ok(Ok(reached)) => reached,
        Ok(Err(Closed)) => return,
        Err(_) => return port.tally.gave_up(port.wait),
    };
    // No port's order comes between: what is drained from now on knows of this one.
    let open = (port.crowds.join(&port.service, target.run), search.waiting.connected(target.run));
    let scratch = port.scratch.clone();
    drop(port);
    #[cfg(test)]
    assert_ne!(target.run, super::tests::PANICS);
    open::serve(caller, service, scratch, open).await;
    drop(place);
}

struct Search {
    route: Route,
    waiting: Waiting,
}

impl Search {
    /// Takes nothing from the caller: all he has sent is for the run that comes.
    async fn reach(&mut self, caller: &Caller) -> Result<(Target, TcpStream), Closed> {
        let mut pause = FIRST_PAUSE;
        loop {
            let to = *self.route.borrow_and_update();
            if let Some(target) = to {
                select! {
                    biased;
                    changed = self.route.changed() => {
                        changed.map_err(|_| Closed)?;
                        pause = FIRST_PAUSE;
                        continue;
                    }
                    service = timeout(FULL, connect(target.address)) => if let Ok(Ok(service)) = service {
                        return Ok((target, service));
                    }
                }
            }
            self.waiting.must_wait();
            select! {
                biased;
                changed = self.route.changed() => {
                    changed.map_err(|_| Closed)?;
                    pause = FIRST_PAUSE;
                }
                () = caller.gone() => return Err(Closed),
                () = sleep(pause), if to.is_some() => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Where nobody listens, a connection may be given the very number it calls, and reach itself (RFC 9293, 3.5). It
    // would keep the service from its port.
    if stream.local_addr().ok() == Some(address) {
        stream::reset(stream);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // One that is gone already is noticed when it is read.
    stream.set_nodelay(true).ok();
    Ok(stream)
}
