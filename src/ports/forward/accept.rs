//! Takes callers from a backlog, as long as there is a place for them.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

use super::caller;
use super::hall::Port;
use super::stream::{Caller, Listener};

/// Descriptors and memory come back when somebody, perhaps not we, gives them back.
const NO_MEANS: Duration = Duration::from_millis(100);

pub(super) async fn keep(listener: Listener, port: Rc<Port>) {
    loop {
        match next(&listener, &port).await {
            Some(Ok(caller)) => {
                let place = port.share.take();
                let waiting = port.tally.accepted();
                drop(tokio::task::spawn_local(caller::attend(caller, Rc::clone(&port), place, waiting)));
            }
            Some(Err(error)) if of_the_caller(&error) => {}
            // Over, or something of ours was given back: both are worth a try.
            Some(Err(_)) => drop(timeout(NO_MEANS, port.share.freed()).await),
            None => port.share.freed().await,
        }
    }
}

/// `None`: there is no place.
async fn next(listener: &Listener, port: &Port) -> Option<io::Result<Caller>> {
    // Other ports take places while this one waits for a caller, so it is asked each time.
    poll_fn(|cx| {
        if !port.share.may_take() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(ready!(listener.poll_accept(cx))))
    })
    .await
}

/// He was gone before he was taken (accept(2) hands such errors on).
fn of_the_caller(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
