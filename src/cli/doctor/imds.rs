//! Asks instance metadata as any program on this machine can: IMDSv2, a token and then the role's name; never the role's
//! credentials. By hand, on a blocking socket, for this is also done by a process that has become somebody else.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::sys::clock::monotonic;

/// On an instance it answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reach {
    /// It gives credentials of this role to whoever asks.
    Role(String),
    /// It answers, and this instance has no role.
    NoRole,
    /// It answers, and gives nothing: switched off.
    Refuses(u16),
    Closed(String),
}

/// `place`: `http://169.254.169.254`.
pub(super) fn reach(place: &str) -> Reach {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds: 60";
    let Some(at) = place.strip_prefix("http://").map(|at| at.split('/').next().unwrap_or_default()) else {
        return Reach::Closed("it is no http:// address".to_owned());
    };
    let token = match ask(at, "PUT", "/latest/api/token", TTL) {
        Ok((200, token)) => token,
        Ok((status, _)) => return Reach::Refuses(status),
        Err(error) => return Reach::Closed(why(&error)),
    };
    let shown = Zeroizing::new(format!("x-aws-ec2-metadata-token: {}", token.trim()));
    match ask(at, "GET", "/latest/meta-data/iam/security-credentials/", &shown) {
        Ok((200, names)) => match names.lines().next().map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => Reach::Role(name.chars().filter(|c| !c.is_control()).take(64).collect()),
            None => Reach::NoRole,
        },
        Ok((404, _)) => Reach::NoRole,
        Ok((status, _)) => Reach::Refuses(status),
        Err(error) => Reach::Closed(why(&error)),
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in 1s".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "no route".to_owned(),
        _ => error.to_string(),
    }
}

/// Status and body.
fn ask(at: &str, method: &str, path: &str, header: &str) -> io::Result<(u16, Zeroizing<String>)> {
    let until = monotonic() + PATIENCE;
    let with_port = if at.ends_with(']') || !at.contains(':') { format!("{at}:80") } else { at.to_owned() };
    let address = with_port.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    let request = Zeroizing::new(format!(
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\n{header}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    ));
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Zeroizing::new(Vec::with_capacity(4096));
    let mut buffer = Zeroizing::new([0; 4096]);
    while whole(&answer).is_none() && answer.len() < LONGEST {
        let left = until.saturating_sub(monotonic());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer.as_mut_slice())? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak HTTP"))
}

fn head(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    Some((str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]))
}

/// All is there, as far as the answer says how long it is; a server may leave the connection open.
fn whole(answer: &[u8]) -> Option<()> {
    let (head, body) = head(answer)?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length =
        length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    let length: usize = length.next_back()?.parse().ok()?;
    (body.len() >= length).then_some(())
}

fn parse(answer: &[u8]) -> Option<(u16, Zeroizing<String>)> {
    let (head, body) = head(answer)?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, Zeroizing::new(String::from_utf8_lossy(body).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_over_where_it_says_so() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(whole(&answer[..answer.len() - 1]).is_none() && whole(answer).is_some());
        assert_eq!(parse(answer).map(|(status, body)| (status, body.to_string())), Some((200, "abc".to_owned())));
        assert!(parse(b"220 mail.example ESMTP\r\n\r\n").is_none(), "another protocol");
    }

    #[test]
    fn nobody_there_is_closed() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
        assert_eq!(reach(&format!("http://{free}")), Reach::Closed("connection refused".into()));
        assert!(matches!(reach("https://127.0.0.1"), Reach::Closed(_)));
    }
}
