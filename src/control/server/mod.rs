//! The daemon's side of the control socket: accepts, finds out who calls, and routes. A connection that says nothing costs
//! one small task and no wake-up; garbage ends its own connection only.

mod attach;
mod routes;
mod stream;

pub(crate) use stream::unfold;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::call::Call;
use super::peer::{Caller, Keepers, Rules, Standing};

/// More than this many connections of the owner at once wait in the backlog.
const CONNECTIONS: usize = 1024;
/// More than this many of all others are closed: no service may take the owner's place by sitting on the socket.
const GUESTS: usize = 64;

/// What can be asked at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Everything,
    /// For those who have no way to the project's own socket: their credentials, and nothing of the rest.
    Credentials,
}

/// Binds the socket with this mode. A stale one is removed: the caller holds the project's lock, so nobody listens there.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// How many may talk at once. Full again when everybody has had the last answer.
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS))
}

/// Until nobody is being answered any more.
pub async fn fell_silent(places: &Semaphore) {
    drop(places.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX)).await);
}

/// Serves for ever; the daemon drops it when the last tree is gone.
pub async fn serve(
    listener: UnixListener,
    calls: mpsc::Sender<Call>,
    (keepers, rules): (Keepers, Rules),
    places: Arc<Semaphore>,
    offer: Offer,
) {
    let guests = Arc::new(Semaphore::new(GUESTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors, most likely: they come back when somebody else closes one.
            Err(error) => {
                tracing::warn!(%error, "control socket: accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            }
        };
        let caller = match Caller::of(stream.as_fd(), &keepers, &rules) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::warn!(%error, "control socket: peer unknown");
                continue;
            }
        };
        let owner = caller.standing == Standing::Owner;
        let place = if owner { Some(place) } else { Arc::clone(&guests).try_acquire_owned().ok() };
        if let Some(place) = place {
            let calls = calls.clone();
            drop(tokio::spawn(async move {
                converse(stream, caller, calls, offer).await;
                drop(place);
            }));
        }
    }
}

async fn converse(stream: UnixStream, caller: Caller, calls: mpsc::Sender<Call>, offer: Offer) {
    let router = match offer {
        Offer::Everything => routes::router(caller, calls),
        Offer::Credentials => routes::router_of_credentials(caller, calls),
    };
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "control socket: connection ended");
    }
}
