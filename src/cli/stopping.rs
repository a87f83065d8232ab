//! Bringing a project down and watching it go: who is waited for, what a second Ctrl-C does, and who survives.

use std::time::Duration;

use tokio::time::timeout;

use super::context::{Context, milliseconds, request_id};
use super::failure::{Code, Failure, Kind};
use super::outcome::{Explained, survivor};
use super::patience::{Spoken, tell};
use super::project::{Watching, gone};
use super::render::list;
use crate::control::Client;
use crate::control::api::{Done, DownRequest, Failed, Service, Watch};
use crate::supervisor::State;
use crate::sys::clock;
use crate::sys::tty::{Interruption, Interruptions};

/// Within this long the stream of a daemon that is going ends.
const GOING: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How the end came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stopped,
    /// A second Ctrl-C: every tree was killed.
    Killed,
    /// Our terminal is gone or we were told to end; the project goes on stopping.
    Left(Code),
}

/// Asks for the end of everything and stays until the daemon has gone.
pub(crate) async fn bring_down(
    context: &Context,
    client: &Client,
    watching: &mut Watching,
    interruptions: &mut Interruptions,
    timeout: Option<Duration>,
) -> Result<End, Failure> {
    let request = DownRequest { request: request_id(), timeout_ms: timeout.map(milliseconds) };
    let mut left = None;
    match unless_gone(client.post("/v1/down", &request).await, watching, &mut left).await? {
        Some(done) => say_notes(context, &done),
        None => return over(client, left.as_deref(), End::Stopped).await,
    }
    see_it_end(context, client, watching, interruptions).await
}

/// A daemon that had nothing left to stop may be gone before its answer is out: that is the end that was asked for.
async fn unless_gone(
    answer: Result<Done, Failed>,
    watching: &mut Watching,
    left: &mut Option<Vec<Service>>,
) -> Result<Option<Done>, Failure> {
    let failed = match answer {
        Ok(done) => return Ok(Some(done)),
        Err(failed) => failed,
    };
    let ends = async {
        while let Ok(Some(watch)) = watching.next().await {
            *left = Some(remaining(watch));
        }
    };
    match timeout(GOING, ends).await {
        Ok(()) => Ok(None),
        Err(_) => Err(failed.into()),
    }
}

/// The stream has ended. A daemon that ends by itself has shown before that nobody is left, or has at least taken its socket
/// away; one that was killed has done neither, and its keepers may still be at work.
async fn over(client: &Client, left: Option<&[Service]>, end: End) -> Result<End, Failure> {
    let shown = left.is_some_and(<[Service]>::is_empty);
    // Others may have been told the last state; the socket goes a moment after the streams.
    let until = clock::monotonic() + GOING;
    while !shown && client.socket().exists() {
        if clock::monotonic() >= until {
            return Err(gone());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(end)
}

/// Watches an end that was already asked for.
pub(crate) async fn see_it_end(
    context: &Context,
    client: &Client,
    watching: &mut Watching,
    interruptions: &mut Interruptions,
) -> Result<End, Failure> {
    let mut spoken = Spoken::begin();
    let mut left: Option<Vec<Service>> = None;
    let mut end = End::Stopped;
    loop {
        let names: Vec<String> = left.iter().flatten().map(|service| service.name.clone()).collect();
        tokio::select! {
            seen = watching.next() => match seen {
                Ok(Some(watch)) => {
                    let left = left.insert(remaining(watch));
                    let survivors: Vec<String> = left.iter().filter_map(survivor).collect();
                    if !survivors.is_empty() && survivors.len() == left.len() {
                        return Err(survived(survivors));
                    }
                }
                Ok(None) | Err(_) => return over(client, left.as_deref(), end).await,
            },
            () = spoken.due() => tell(context, client, &names, &mut Explained::default()).await,
            why = interruptions.next() => match why {
                Interruption::Interrupt => {
                    context.terminal.say(format_args!("killing every process of {}", if names.is_empty() { "the project".to_owned() } else { list(&names) }));
                    end = End::Killed;
                    let request = serde_json::json!({ "request": request_id() });
                    if unless_gone(client.post("/v1/kill-all", &request).await, watching, &mut left).await?.is_none() {
                        return over(client, left.as_deref(), end).await;
                    }
                }
                Interruption::Terminate => return Ok(End::Left(Code::TERMINATED)),
                Interruption::HangUp => return Ok(End::Left(Code::HUNG_UP)),
            },
        }
    }
}

fn remaining(watch: Watch) -> Vec<Service> {
    let over = |service: &Service| {
        service.pid.is_none() && matches!(service.state, State::Stopped | State::Done | State::Failed)
    };
    watch.services.into_iter().filter(|service| !over(service)).collect()
}

fn survived(survivors: Vec<String>) -> Failure {
    let mut failure = Failure::new(Kind::Failed, "not everything could be ended, SIGKILL included");
    failure.causes = survivors;
    failure.hint("a process in state D waits for its disk or network file system; one that became root needs root: sudo kill -9 PID")
}

/// Those of whom no note has said already that they are where they should be.
pub(crate) fn unsaid(names: &[String], notes: &[String]) -> Vec<String> {
    let said = |name: &str| {
        let words = notes.iter().filter_map(|note| note.strip_prefix(name));
        words.into_iter().any(|words| words.starts_with(" is ") && words.ends_with(" already"))
    };
    names.iter().filter(|name| !said(name)).cloned().collect()
}

pub(crate) fn say_notes(context: &Context, done: &Done) {
    for note in &done.notes {
        context.terminal.say(note);
    }
}
