//! Connections, looked at without taking anything from them, and without waiting.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with};

/// Is there something to read? `Ok(false)` is the end: the other side sends no more. Never waits.
pub fn has_bytes(stream: impl AsFd) -> io::Result<bool> {
    let (_, count) = recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count > 0)
}

/// Does anybody listen at this path? Also one whose backlog is full, at whom a connection would wait for as long as he likes.
pub fn is_answered(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn what_was_looked_at_is_still_there() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(has_bytes(&ours).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        theirs.write_all(b"word").expect("sent");
        assert_eq!((has_bytes(&ours).ok(), has_bytes(&ours).ok()), (Some(true), Some(true)));
        drop(theirs);
        let mut read = String::new();
        ours.read_to_string(&mut read).expect("read");
        assert_eq!((read.as_str(), has_bytes(&ours).ok()), ("word", Some(false)));
    }

    #[test]
    fn a_full_backlog_is_an_answer_and_a_dead_socket_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        assert!(!is_answered(&path).expect("nobody"));
        let listener = UnixListener::bind(&path).expect("bound");
        crate::sys::listening::listen(&listener, 0).expect("a short one");
        let waiting = UnixStream::connect(&path).expect("the first waits in the backlog");
        assert!(is_answered(&path).expect("full"));
        drop((listener, waiting));
        assert!(!is_answered(&path).expect("dead"));
    }
}
