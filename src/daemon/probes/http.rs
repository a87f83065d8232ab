//! One GET, of which only the status is wanted.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::door::words;
use crate::control::api::VERSION;
use crate::keeper::plain;
use crate::manifest::HttpUrl;

/// A status line, and before it perhaps some interim answers, are shorter.
const LONGEST: usize = 16 << 10;
/// So much of the answer is read after its status, so that the other side is not cut off while it writes.
const POLITELY: usize = 64 << 10;
const POLITE_TIME: Duration = Duration::from_millis(200);

/// Ok: 2xx or 3xx. An error is one sentence.
pub(super) async fn get(stream: &mut TcpStream, url: &HttpUrl) -> Result<(), String> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: devsup/{VERSION}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path, url.target
    );
    let broken = |error: io::Error| format!("GET {url}: {}", words(&error));
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let status = loop {
        match status(&answer) {
            Found::Status(status) => break status,
            Found::Odd => return Err(format!("GET {url}: what answers does not speak HTTP/1 (TLS, perhaps)")),
            Found::More if answer.len() >= LONGEST => return Err(format!("GET {url}: the answer has no status")),
            Found::More => {}
        }
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err(format!("GET {url}: the connection was closed without an answer"));
        }
    };
    drop(tokio::time::timeout(POLITE_TIME, read_on(stream)).await);
    if (200..400).contains(&status.code) {
        return Ok(());
    }
    Err(format!("GET {url}: {}", plain(format!("{} {}", status.code, status.reason).as_bytes())))
}

async fn read_on(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let mut left = POLITELY;
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        left = left.saturating_sub(n);
        if left == 0 {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    reason: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Status(Status),
    /// It is not there yet.
    More,
    Odd,
}

/// The first status that is not an interim one (100 Continue, 103 Early Hints).
fn status(answer: &[u8]) -> Found {
    const BEGINS: &[u8] = b"HTTP/1.";
    let known = answer.len().min(BEGINS.len());
    if answer.get(..known) != BEGINS.get(..known) {
        return Found::Odd;
    }
    let Some(end) = memchr::memchr(b'\n', answer) else { return Found::More };
    let line = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    let mut words = line.trim_end().splitn(3, ' ');
    let code = words.nth(1).and_then(|code| code.parse::<u16>().ok()).filter(|code| (100..1000).contains(code));
    let Some(code) = code else { return Found::Odd };
    if code >= 200 {
        return Found::Status(Status { code, reason: words.next().unwrap_or_default().to_owned() });
    }
    match memchr::memmem::find(answer, b"\r\n\r\n") {
        Some(at) => status(answer.get(at + 4..).unwrap_or_default()),
        None => Found::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_however_little_there_is_of_it() {
        for (answer, code) in [
            ("HTTP/1.1 200 OK\r\n", 200),
            ("HTTP/1.0 204\r\nX: y\r\n", 204),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 No\r\n", 503),
        ] {
            for end in 0..answer.len() - 1 {
                let found = status(&answer.as_bytes()[..end]);
                assert!(found == Found::More || matches!(found, Found::Status(_)), "{:?}: {found:?}", &answer[..end]);
            }
            let Found::Status(status) = status(answer.as_bytes()) else { panic!("{answer}") };
            assert_eq!(status.code, code);
        }
    }

    #[test]
    fn what_is_not_http_is_known_at_once() {
        for answer in ["\x15\x03\x01", "SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n", "HTTP/1.1 ok\r\n", "HTTP/1.1 20\r\n"] {
            assert_eq!(status(answer.as_bytes()), Found::Odd, "{answer:?}");
        }
    }
}
