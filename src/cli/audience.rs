//! Whoever reads our stdout: when they have left, there is nobody to follow for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::failure::Failure;
use crate::daemon::watched_for;

/// Of a pipe whose reader has left the kernel says that it is in error, of a socket that it is closed.
const LEFT: Interest = Interest::ERROR.add(Interest::WRITABLE);

/// Nothing but a file can be written to for ever: that one has no reader who could leave.
pub(crate) struct Audience(Option<AsyncFd<OwnedFd>>);

impl Audience {
    pub(crate) fn of_stdout() -> Self {
        let copy = io::stdout().as_fd().try_clone_to_owned();
        Self(copy.and_then(|copy| watched_for(copy, LEFT)).ok())
    }

    /// Returns when they have left, and says it as a write would.
    pub(crate) async fn left(&self) -> Failure {
        let Some(stdout) = &self.0 else { return std::future::pending().await };
        while let Ok(mut ready) = stdout.ready(LEFT).await {
            if ready.ready().is_error() || ready.ready().is_write_closed() {
                return io::Error::from(io::ErrorKind::BrokenPipe).into();
            }
            // It can be written to: that is not what we wait for.
            ready.clear_ready();
        }
        std::future::pending().await
    }
}
