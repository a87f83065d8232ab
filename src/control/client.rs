//! The command line's side of the control socket. One connection a request: a unix socket costs nothing, and a stream
//! never holds up a command.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::body::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::api::{Failed, FailedKind, Project, VERSION};
use super::attach::PROTOCOL;
use crate::sys::tree;

/// A daemon that has not answered yet is looked at.
const LATE: Duration = Duration::from_secs(2);

/// Both ways to a service's terminal.
pub type Attachment = TokioIo<hyper::upgrade::Upgraded>;

/// A daemon that answered.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    /// `Some`: the daemon is of this other version.
    skew: Option<String>,
}

impl Client {
    /// Asks the daemon who it is.
    pub async fn connect(socket: &Path) -> Result<Self, Failed> {
        let mut client = Self { socket: socket.into(), skew: None };
        let project: serde_json::Value = client.unless_stopped(client.get("/v1/project")).await?;
        let theirs = project.get("version").and_then(serde_json::Value::as_str).unwrap_or("of an unknown version");
        client.skew = (theirs != VERSION).then(|| theirs.to_owned());
        Ok(client)
    }

    /// Where the daemon listens. The file goes when the daemon ends by itself, and stays when it is killed.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A daemon that is busy answers late; one that somebody has stopped (SIGSTOP) never does, and that is said.
    async fn unless_stopped<T>(&self, answer: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let mut answer = pin!(answer);
        loop {
            if let Ok(answer) = timeout(LATE, &mut answer).await {
                return answer;
            }
            if let Some(pid) = self.stopped().await {
                let error = format!("the daemon (pid {pid}) does not answer: it is stopped");
                return Err(Failed::new(FailedKind::Failed, error)
                    .hint(format!("kill -CONT {pid}; its services go on meanwhile")));
            }
        }
    }

    /// The daemon's pid, if it is stopped.
    async fn stopped(&self) -> Option<u32> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        let pid = u32::try_from(stream.peer_cred().ok()?.pid()?).ok()?;
        (tree::look(pid)?.state == 'T').then_some(pid)
    }

    /// One sentence when daemon and command line are of different versions.
    pub fn skew(&self) -> Option<String> {
        let theirs = self.skew.as_ref()?;
        Some(format!(
            "the daemon is devsup {theirs}, this command is {VERSION}: `devsup down` and `devsup up` to renew it"
        ))
    }

    pub async fn project(&self) -> Result<Project, Failed> {
        self.get("/v1/project").await
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.whole(self.send(Method::GET, path, Bytes::new()).await?).await
    }

    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failed> {
        let body = serde_json::to_vec(body).map_err(|error| self.unreadable(&error))?;
        self.whole(self.send(Method::POST, path, body.into()).await?).await
    }

    /// A stream of JSON lines.
    pub async fn lines(&self, path: &str) -> Result<Lines, Failed> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { body: response.into_body(), rest: Vec::new(), searched: 0, skew: self.clone() })
    }

    /// A connection of its own that is no HTTP any more: both sides speak [`super::attach`].
    pub async fn attach(&self, path: &str) -> Result<Attachment, Failed> {
        let response = self.exchange(Method::POST, path, Bytes::new(), Some(PROTOCOL)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refused(response).await);
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| gone(&error))?;
        Ok(TokioIo::new(upgraded))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failed> {
        let response = self.exchange(method, path, body, None).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        upgrade: Option<&str>,
    ) -> Result<Response<Incoming>, Failed> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| gone(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(&error))?;
        // Ends by itself when the response is read or dropped; its error reaches the request as well.
        drop(tokio::spawn(connection.with_upgrades()));
        let mut request = Request::builder().method(method).uri(path).header("host", "devsup");
        request = match upgrade {
            Some(protocol) => request.header("connection", "upgrade").header("upgrade", protocol),
            None => request.header("content-type", "application/json"),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| Failed::new(FailedKind::Usage, format!("`{path}` is no path")).cause(error))?;
        sender.send_request(request).await.map_err(|error| gone(&error))
    }

    async fn refused(&self, response: Response<Incoming>) -> Failed {
        let status = response.status();
        let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut failed = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let kind = if status == StatusCode::NOT_FOUND { FailedKind::Usage } else { FailedKind::Failed };
            Failed::new(kind, format!("the daemon answered {status}"))
        });
        failed.hints.extend(self.skew());
        failed
    }

    async fn whole<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failed> {
        let body = response.into_body().collect().await.map_err(|error| gone(&error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &serde_json::Error) -> Failed {
        let mut failed = Failed::new(FailedKind::Failed, "the daemon and this command do not understand each other");
        failed.causes.push(error.to_string());
        failed.hints.extend(self.skew());
        failed
    }
}

fn gone(error: &(dyn std::error::Error + 'static)) -> Failed {
    Failed::new(FailedKind::Failed, "the daemon does not answer").cause(error).hint("devsup ls shows what is up")
}

/// A stream of JSON lines. Dropping it ends the connection; cancelling [`Lines::next`] loses nothing.
pub struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    searched: usize,
    skew: Client,
}

impl Lines {
    /// The next line as it came; `None` when the daemon has ended.
    pub async fn next(&mut self) -> Result<Option<String>, Failed> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest[self.searched..]) {
                let line: Vec<u8> = self.rest.drain(..=self.searched + end).collect();
                self.searched = 0;
                return Ok(Some(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned()));
            }
            self.searched = self.rest.len();
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                // A daemon that was killed ends the stream in the middle: for the reader that is the same end.
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// The next line, read.
    pub async fn next_value<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failed> {
        let Some(line) = self.next().await? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).map_err(|error| self.skew.unreadable(&error))
    }
}
