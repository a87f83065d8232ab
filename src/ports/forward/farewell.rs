//! The end of a connection at rest, as told by us: first to the caller, then to the service.
//!
//! What the caller sends after he was told is dropped: he sees the end before any byte of an answer, so that he may send it again
//! (RFC 9112, 9.3.1), and the run must not have it as well.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::timeout;

use super::stream::Caller;

/// For each of them to see the end and close. Closing before would reset a request that is on its way, and the caller would be
/// told an error in place of the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket's end is told at once; nothing is buffered here.
pub(super) async fn tell_the_end(mut caller: Caller) -> Caller {
    // An error: he is gone, which is seen when he is heard.
    caller.shutdown().await.ok();
    caller
}

pub(super) async fn part(mut caller: Caller, mut service: TcpStream) {
    let both = async {
        select! {
            () = hear_out(&mut caller) => {}
            // The run has ended meanwhile. The caller has his time all the same.
            () = hear_out(&mut service) => hear_out(&mut caller).await,
        }
    };
    timeout(PATIENCE, both).await.ok();
    service.shutdown().await.ok();
    timeout(PATIENCE, hear_out(&mut service)).await.ok();
}

/// Until the other side says no more; what it says is for nobody.
async fn hear_out(stream: &mut (impl AsyncRead + Unpin)) {
    let mut nothing = [0; 2048];
    while let Ok(1..) = stream.read(&mut nothing).await {}
}
