//! Whoever reads our stdout: when they have left, there is nobody to follow for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::failure::Failure;
use crate::daemon::watched_for;

/// Nothing but a file can be written to for ever: that one has no reader who could leave.
pub(crate) struct Audience(Option<AsyncFd<OwnedFd>>);

impl Audience {
    pub(crate) fn of_stdout() -> Self {
        let copy = io::stdout().as_fd().try_clone_to_owned();
        Self(copy.and_then(|copy| watched_for(copy, Interest::ERROR)).ok())
    }

    /// Returns when they have left, and says it as a write would.
    pub(crate) async fn left(&self) -> Failure {
        let Some(stdout) = &self.0 else { return std::future::pending().await };
        while let Ok(mut ready) = stdout.ready(Interest::ERROR).await {
            if ready.ready().is_error() {
                return io::Error::from(io::ErrorKind::BrokenPipe).into();
            }
            ready.clear_ready();
        }
        std::future::pending().await
    }
}
