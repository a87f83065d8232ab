//! Every route: what right it needs, and which question it becomes.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::stream::{self, Wanted};
use crate::control::api::{Done, Failed, FailedKind, Reloaded};
use crate::control::call::{Answer, Call, CommandRequest, LogsWanted, Question};
use crate::control::peer::{Caller, Right, Standing};

const BODY_MAX: usize = 1024 * 1024;

/// One connection's: who calls, and the way to the daemon.
pub(super) struct Desk {
    caller: Caller,
    calls: mpsc::Sender<Call>,
}

pub(super) type Shared = State<Arc<Desk>>;

pub(super) fn router(caller: Caller, calls: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/v1/project", get(project))
        .route("/v1/self", get(own_state))
        .route("/v1/services", get(services))
        .route("/v1/services/{name}", get(service))
        .route("/v1/watch", get(watch))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(log_lines))
        .route("/v1/creds", get(creds))
        .route("/v1/credentials/{name}", get(credentials))
        .route("/v1/environment/{name}", get(environment))
        .route("/v1/up", command(Right::Own, CommandRequest::Up))
        .route("/v1/start", command(Right::Operate, CommandRequest::Start))
        .route("/v1/stop", command(Right::Operate, CommandRequest::Stop))
        .route("/v1/restart", command(Right::Operate, CommandRequest::Restart))
        .route("/v1/refresh", command(Right::Own, CommandRequest::Refresh))
        .route("/v1/down", command(Right::Own, CommandRequest::Down))
        .route("/v1/kill", command(Right::Own, CommandRequest::Kill))
        .route("/v1/hold", command(Right::Operate, CommandRequest::Hold))
        .route("/v1/release", command(Right::Operate, CommandRequest::Release))
        .route("/v1/kill-all", post(kill_all))
        .route("/v1/mfa", post(mfa))
        .route("/v1/attach/{service}", post(super::attach::attach))
        .route("/v1/reload", post(reload))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::new(Desk { caller, calls }))
}

pub(super) fn router_of_credentials(caller: Caller, calls: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/v1/project", get(project))
        .route("/v1/credentials/{name}", get(credentials))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(Desk { caller, calls }))
}

impl Desk {
    /// Refuses what this caller may not ask; what a service tried is worth an event.
    pub(super) async fn allow(&self, right: Right<'_>, wanted: &str) -> Result<(), Failed> {
        let refused = match self.caller.may(right) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if matches!(self.caller.standing, Standing::Inside(_) | Standing::Elsewhere) {
            self.tell(Question::Intruded { wanted: wanted.to_owned() }).await;
        }
        Err(refused)
    }

    fn call(&self, question: Question) -> Call {
        Call { caller: self.caller.clone(), question }
    }

    /// Something that is not answered.
    pub(super) async fn tell(&self, question: Question) {
        // The daemon has ended when this fails.
        drop(self.calls.send(self.call(question)).await);
    }

    pub(super) async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, Failed> {
        let gone = || Failed::new(FailedKind::NotRunning, "devsup is shutting down");
        let (answer, answered) = oneshot::channel();
        self.calls.send(self.call(question(answer))).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn project(State(desk): Shared) -> Result<Response, Failed> {
    desk.allow(Right::Look, "project").await?;
    Ok(Json(desk.ask(Question::Project).await?).into_response())
}

async fn own_state(State(desk): Shared) -> Result<Response, Failed> {
    desk.allow(Right::Own, "self").await?;
    Ok(Json(desk.ask(Question::OwnState).await?).into_response())
}

async fn services(State(desk): Shared) -> Result<Response, Failed> {
    desk.allow(Right::Look, "services").await?;
    Ok(Json(desk.ask(Question::Services).await?).into_response())
}

async fn service(State(desk): Shared, Path(name): Path<String>) -> Result<Response, Failed> {
    desk.allow(Right::Look, "services").await?;
    Ok(Json(desk.ask(|answer| Question::Service(name, answer)).await?).into_response())
}

async fn watch(State(desk): Shared) -> Result<Response, Failed> {
    desk.allow(Right::Look, "watch").await?;
    Ok(lines(stream::watch(desk.ask(Question::Watch).await?)))
}

#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    follow: bool,
    since: Option<jiff::Timestamp>,
}

async fn events(
    State(desk): Shared,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failed> {
    desk.allow(Right::Look, "events").await?;
    let Query(query) = query.map_err(|error| usage(&error.body_text()))?;
    let wanted = Wanted { since: query.since, follow: query.follow };
    Ok(lines(stream::events(desk.ask(Question::Events).await?, wanted)))
}

async fn log_lines(State(desk): Shared, Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Failed> {
    desk.allow(Right::Look, "logs").await?;
    let wanted = LogsWanted::of(pairs).map_err(|error| usage(&error))?;
    Ok(lines(desk.ask(|answer| Question::Logs(wanted, answer)).await?))
}

/// `service` may come several times, which form decoding into a struct cannot say.
async fn creds(State(desk): Shared, Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Failed> {
    let mut names = Vec::new();
    for (key, value) in pairs {
        if key != "service" {
            return Err(usage(&format!("`{key}` is no parameter of creds; there is `service`")));
        }
        names.push(value);
    }
    if names.is_empty() {
        desk.allow(Right::Creds(None), "creds").await?;
    }
    for name in &names {
        desk.allow(Right::Creds(Some(name)), &format!("creds of {name}")).await?;
    }
    Ok(Json(desk.ask(|answer| Question::Creds(names, answer)).await?).into_response())
}

#[derive(Deserialize)]
struct Reveal {
    #[serde(default)]
    reveal: bool,
    #[serde(default)]
    command: bool,
}

async fn environment(
    State(desk): Shared,
    Path(service): Path<String>,
    Query(Reveal { reveal, command }): Query<Reveal>,
) -> Result<Response, Failed> {
    desk.allow(Right::Secrets(&service), &format!("environment of {service}")).await?;
    let answer = desk.ask(|answer| Question::Environment { service, reveal, command, answer }).await?;
    Ok(unstored(Json(answer)))
}

async fn credentials(State(desk): Shared, Path(service): Path<String>) -> Result<Response, Failed> {
    desk.allow(Right::Secrets(&service), &format!("credentials of {service}")).await?;
    Ok(unstored(Json(desk.ask(|answer| Question::Credentials(service, answer)).await?)))
}

/// There are secrets in it.
fn unstored(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response()
}

async fn kill_all(State(desk): Shared) -> Result<Json<Done>, Failed> {
    desk.allow(Right::Own, "kill-all").await?;
    Ok(Json(desk.ask(|answer| Question::Command(CommandRequest::KillAll, answer)).await?))
}

/// Answered when AWS has.
async fn mfa(State(desk): Shared, request: Request) -> Result<Json<Done>, Failed> {
    desk.allow(Right::Own, "mfa").await?;
    let request = body(request).await?;
    Ok(Json(desk.ask(|answer| Question::Mfa(request, answer)).await?))
}

/// Everything that the daemon is to do at once is done when this answers.
async fn reload(State(desk): Shared, request: Request) -> Result<Json<Reloaded>, Failed> {
    desk.allow(Right::Own, "reload").await?;
    let request = body(request).await?;
    Ok(Json(desk.ask(|answer| Question::Reload(request, answer)).await?))
}

/// A route whose body becomes a command. The right is checked before the body is read.
fn command<B>(right: Right<'static>, wrap: fn(B) -> CommandRequest) -> axum::routing::MethodRouter<Arc<Desk>>
where
    B: DeserializeOwned + Send + 'static,
{
    post(move |State(desk): Shared, request: Request| async move {
        desk.allow(right, request.uri().path()).await?;
        let mut command = wrap(body(request).await?);
        if desk.caller.standing != Standing::Owner {
            command.forget_environment();
        }
        Ok::<_, Failed>(Json(desk.ask(|answer| Question::Command(command, answer)).await?))
    })
}

async fn body<B: DeserializeOwned>(request: Request) -> Result<B, Failed> {
    let body = axum::body::to_bytes(request.into_body(), BODY_MAX)
        .await
        .map_err(|_| usage(&format!("the request is larger than {BODY_MAX} bytes, or was cut off")))?;
    serde_json::from_slice(&body).map_err(|error| usage(&format!("the request is not understood: {error}")))
}

async fn nothing_here(State(desk): Shared, request: Request) -> Response {
    if let Err(refused) = desk.allow(Right::Look, request.uri().path()).await {
        return refused.into_response();
    }
    (StatusCode::NOT_FOUND, Json(usage(&format!("`{}` is no path of this socket", request.uri().path()))))
        .into_response()
}

async fn wrong_method(request: Request) -> Response {
    let sentence = format!("`{}` does not take {}", request.uri().path(), request.method());
    (StatusCode::METHOD_NOT_ALLOWED, Json(usage(&sentence))).into_response()
}

pub(super) fn usage(error: &str) -> Failed {
    Failed::new(FailedKind::Usage, error)
}

fn lines(body: axum::body::Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.kind {
            FailedKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            FailedKind::Usage => StatusCode::BAD_REQUEST,
            FailedKind::NotRunning | FailedKind::CredentialsRefused => StatusCode::CONFLICT,
            FailedKind::NoSuchService => StatusCode::NOT_FOUND,
            FailedKind::NotPermitted => StatusCode::FORBIDDEN,
        };
        (status, Json(self)).into_response()
    }
}
