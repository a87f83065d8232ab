//! A descriptor the loop can wait for.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `inner` owns its descriptor and neither closes nor replaces it while it is watched: all callers hand over such.
#[expect(
    deprecated,
    reason = "its successor is unsafe, which this crate forbids; the contract above is what it asks for"
)]
pub(crate) fn watched<T: AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(inner)
}

/// The same for less than reading and writing.
#[expect(deprecated, reason = "as above")]
pub(crate) fn watched_for<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}
