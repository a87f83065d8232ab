//! The listener, its connections, and the two ways to run it: in a process of its own, and beside a test.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::calls::Calls;
use super::config::{Config, Ready};
use super::dispatch::dispatch;
use super::faults::Faults;
use super::world::World;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 512;

/// Bound, and not yet serving: clients that come already wait in the kernel's queue.
pub struct Server {
    listener: TcpListener,
    world: Arc<World>,
    url: String,
}

impl Server {
    /// Binds 127.0.0.1 at `config.port` and makes the base identity: a session of `base_role_arn` that does not expire.
    pub fn bind(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, world: Arc::new(World::new(config)?), url })
    }

    /// How to be the base identity there.
    pub fn ready(&self) -> Ready {
        self.world.ready(self.url.clone())
    }

    /// Serves until it is dropped; fails only when the runtime refuses the listener.
    pub async fn serve(self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let world = Arc::clone(&self.world);
                    // A panic ends this task, so this connection, and nothing else.
                    tokio::spawn(async move {
                        connection(world, stream).await;
                        drop(place);
                    });
                }
                // Out of files, or the client was quicker to leave: others may still be served.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn connection(world: Arc<World>, stream: TcpStream) {
    // How a connection ends is the client's business: hyper has answered what could be answered.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| dispatch(Arc::clone(&world), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(1))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(served);
}

/// Serves on this thread until `stop` is done.
pub fn run_blocking(server: Server, stop: impl Future<Output = ()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            served = server.serve() => served,
            () = stop => Ok(()),
        }
    })
}

/// A sandbox on a thread of its own, for tests in the same process; dropping it ends it.
pub struct Handle {
    world: Arc<World>,
    ready: Ready,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Handle {
    pub fn start(config: Config) -> io::Result<Self> {
        let server = Server::bind(config)?;
        let (ready, world) = (server.ready(), Arc::clone(&server.world));
        let (stop, stopped) = oneshot::channel();
        let wait = async move { drop(stopped.await) };
        let thread = std::thread::Builder::new().name("sandbox".into()).spawn(move || run_blocking(server, wait))?;
        Ok(Self { world, ready, stop: Some(stop), thread: Some(thread) })
    }

    pub fn url(&self) -> &str {
        &self.ready.url
    }

    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.world.set_faults(faults);
    }

    pub fn calls(&self) -> Calls {
        self.world.ledger().calls.clone()
    }

    /// Faults and counts as at the very start; sessions and objects stay.
    pub fn reset(&self) {
        self.world.reset();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
