//! Connections, looked at without taking anything from them.

use std::io;
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, recv};

/// Is there something to read? `Ok(false)` is the end: the other side sends no more. Never waits.
pub fn has_bytes(stream: impl AsFd) -> io::Result<bool> {
    let (_, count) = recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

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
}
