//! Answers that go on: one JSON line after another, pulled by the client at its own pace.

use std::convert::Infallible;
use std::fs::File;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use crate::control::call::EventsFrom;

pub(crate) type Pulled<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// A body whose next piece is made only when the client wants it, and which is dropped with the connection.
struct Unfolded<S, F> {
    pulling: Option<Pulled<S>>,
    pull: F,
}

/// `pull` makes the next piece and the next state from this state; `None` ends the body.
pub(crate) fn unfold<S, F>(state: S, pull: F) -> Body
where
    S: Send + 'static,
    F: Fn(S) -> Pulled<S> + Send + Unpin + 'static,
{
    Body::new(Unfolded { pulling: Some(pull(state)), pull })
}

impl<S, F> hyper::body::Body for Unfolded<S, F>
where
    F: Fn(S) -> Pulled<S> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(pulling) = &mut this.pulling else { return Poll::Ready(None) };
        match pulling.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.pulling = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((bytes, state))) => {
                this.pulling = Some((this.pull)(state));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }
}

/// The state now, then after every change. Whoever reads slowly misses what was overtaken, never the newest.
pub(super) fn watch(mut states: watch::Receiver<Bytes>) -> Body {
    states.mark_changed();
    unfold(states, |mut states| {
        Box::pin(async move {
            states.changed().await.ok()?;
            let line = states.borrow_and_update().clone();
            Some((line, states))
        })
    })
}

/// Which events, and whether to stay for those to come.
pub(super) struct Wanted {
    pub(super) since: Option<Timestamp>,
    pub(super) follow: bool,
}

struct Reading {
    /// Oldest last, so that it is popped first.
    files: Vec<BufReader<std::io::Take<File>>>,
    live: broadcast::Receiver<Bytes>,
    wanted: Wanted,
}

/// The journal: history from its files as they were at the call, then what is live, without a seam.
pub(super) fn events(from: EventsFrom, wanted: Wanted) -> Body {
    let files = from.files.into_iter().rev().map(|(file, length)| BufReader::new(file.take(length))).collect();
    unfold(Reading { files, live: from.live, wanted }, |mut reading| {
        Box::pin(async move {
            if let Some(piece) = history(&mut reading) {
                return Some((piece, reading));
            }
            if !reading.wanted.follow {
                return None;
            }
            let piece = live(&mut reading.live).await?;
            Some((piece, reading))
        })
    })
}

/// Up to 64 KiB of whole lines that are wanted; `None` at the end of history.
fn history(reading: &mut Reading) -> Option<Bytes> {
    let mut piece = Vec::new();
    while let Some(file) = reading.files.last_mut() {
        let mut line = Vec::new();
        match file.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => {
                reading.files.pop();
            }
            Ok(_) => {
                if line.ends_with(b"\n") && late_enough(&line, reading.wanted.since) {
                    piece.extend_from_slice(&line);
                }
                if piece.len() >= 64 * 1024 {
                    break;
                }
            }
        }
    }
    (!piece.is_empty()).then(|| piece.into())
}

fn late_enough(line: &[u8], since: Option<Timestamp>) -> bool {
    #[derive(serde::Deserialize)]
    struct Timed {
        time: Timestamp,
    }
    let Some(since) = since else { return true };
    serde_json::from_slice::<Timed>(line).is_ok_and(|timed| timed.time >= since)
}

/// A reader that fell behind the bounded buffer is told how many lines it missed.
async fn live(live: &mut broadcast::Receiver<Bytes>) -> Option<Bytes> {
    match live.recv().await {
        Ok(line) => Some(line),
        Err(broadcast::error::RecvError::Closed) => None,
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            let reason = format!("{missed} events were not read in time and are skipped here");
            let line = serde_json::json!({
                "time": format!("{:.3}", Timestamp::UNIX_EPOCH), "service": null, "run": null,
                "event": "skipped", "reason": reason, "by": null, "missed": missed,
            });
            Some(format!("{line}\n").into())
        }
    }
}
