//! An open connection: bytes go both ways until both sides have said all, or it is drained and at rest.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{Instant, Sleep, sleep};

use super::crowd::Member;
use super::farewell;
use super::pipe::{Ended, Pipe, Scratch};
use super::stats::Open;
use super::stream::{Caller, reset};
use crate::sys::clock::monotonic;

/// So long silent, and nothing is on its way.
const REST: Duration = Duration::from_secs(1);
/// A service that has said its last has most often closed altogether, and some callers look only when they call again. So the
/// kernel does with such a connection (`tcp_fin_timeout`).
const ABANDONED: Duration = Duration::from_mins(1);

enum Outcome {
    Ended(Ended),
    AtRest,
}

pub(super) async fn serve(caller: Caller, service: TcpStream, scratch: Scratch, (member, counted): (Member, Open)) {
    let mut line = Line { pipe: Pipe::new(caller, service, scratch, monotonic()), alarm: None };
    let outcome = loop {
        let news = member.news();
        let draining = member.draining();
        select! {
            biased;
            () = news => {}
            outcome = poll_fn(|cx| line.poll(cx, draining)) => break outcome,
        }
    };
    let (caller, service) = line.pipe.into_ends();
    match outcome {
        Outcome::Ended(Ended::InOrder) => {}
        Outcome::Ended(Ended::Broken) => {
            caller.reset();
            reset(service);
        }
        Outcome::AtRest => {
            let caller = farewell::tell_the_end(caller).await;
            // Those who wait for the drain may go on: no request reaches the run here any more.
            drop((member, counted));
            farewell::part(caller, service).await;
        }
    }
}

struct Line {
    pipe: Pipe,
    /// Only while there is a deadline.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Line {
    fn poll(&mut self, cx: &mut Context<'_>, draining: bool) -> Poll<Outcome> {
        if let Poll::Ready(ended) = self.pipe.poll(cx) {
            return Poll::Ready(Outcome::Ended(ended));
        }
        // All that had come was taken, so the silence is one.
        let (allowed, outcome) = if draining && self.pipe.answered() {
            (REST, Outcome::AtRest)
        } else if self.pipe.service_has_ended() {
            (ABANDONED, Outcome::Ended(Ended::InOrder))
        } else {
            self.alarm = None;
            return Poll::Pending;
        };
        let left = (self.pipe.since() + allowed).saturating_sub(monotonic());
        if left.is_zero() {
            return Poll::Ready(outcome);
        }
        self.wake_in(left, cx);
        Poll::Pending
    }

    fn wake_in(&mut self, left: Duration, cx: &mut Context<'_>) {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(left)));
        let at = Instant::now() + left;
        alarm.as_mut().reset(at);
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
