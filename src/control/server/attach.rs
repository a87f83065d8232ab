//! `POST /v1/attach/{service}`: after the answer the connection is no HTTP any more, and belongs to the run's keeper. The
//! daemon has no part in it then, so that no byte of a service passes through it here either.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::routes::{Desk, Shared, usage};
use crate::control::api::Failed;
use crate::control::attach::{Begun, PROTOCOL, Word};
use crate::control::call::Question;
use crate::control::peer::Right;
use crate::sys::pty::Size;

/// How large the terminal is that comes; zero when it does not know.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    rows: u16,
    #[serde(default)]
    cols: u16,
}

pub(super) async fn attach(
    State(desk): Shared,
    Path(service): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    mut request: Request,
) -> Result<Response, Failed> {
    desk.allow(Right::Own, &format!("the terminal of {service}")).await?;
    let Query(Wanted { rows, cols }) = wanted.map_err(|error| usage(&error.body_text()))?;
    if !asks_for_it(request.headers()) {
        return Err(usage(&format!("`attach` needs the headers `connection: upgrade` and `upgrade: {PROTOCOL}`")));
    }
    let begun = desk.ask(|answer| Question::Terminal(service.clone(), answer)).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    drop(tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => hand_over(&desk, service, begun, Size { rows, cols }, upgraded).await,
            Err(error) => tracing::debug!(%error, "attach: the caller left"),
        }
    }));
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn asks_for_it(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()))
}

async fn hand_over(desk: &Arc<Desk>, service: String, begun: Begun, size: Size, upgraded: Upgraded) {
    let run = begun.run;
    match connection(upgraded).and_then(|stream| greet(stream, begun)) {
        Ok(connection) => desk.tell(Question::Attach { service, run, size, connection }).await,
        Err(error) => tracing::debug!(%error, "attach: the caller left"),
    }
}

/// The bare connection. The caller has nothing to say before it was answered.
fn connection(upgraded: Upgraded) -> io::Result<std::os::unix::net::UnixStream> {
    let parts = upgraded.downcast::<TokioIo<UnixStream>>().map_err(|_| io::ErrorKind::Unsupported)?;
    if !parts.read_buf.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    parts.io.into_inner().into_std()
}

fn greet(mut stream: std::os::unix::net::UnixStream, begun: Begun) -> io::Result<OwnedFd> {
    let mut words = Vec::new();
    Word::Run(begun).put(&mut words);
    // A fresh connection takes a line at once.
    stream.write_all(&words)?;
    Ok(stream.into())
}
