//! Packets and descriptors over a `SOCK_SEQPACKET` socketpair whose ends never block.
//!
//! End of file, ECONNRESET and EPIPE are one thing here: the other side is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
};

/// The largest packet that is read whole.
pub const LARGEST: usize = 64 << 10;

/// The most descriptors in one packet.
const DESCRIPTORS: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Sent,
    /// The socket is full; try again when it can be written.
    Full,
    Closed,
}

#[derive(Debug)]
pub enum Received {
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// Nothing now.
    Empty,
    Closed,
}

pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Sent> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        return match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(Sent::Sent),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN | Errno::NOBUFS) => Ok(Sent::Full),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Ok(Sent::Closed),
            Err(e) => Err(e.into()),
        };
    }
}

/// Takes one packet. Descriptors arrive close-on-exec.
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut bytes = vec![0; LARGEST];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut resets = 0;
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(got) => got,
            Err(Errno::INTR) => continue,
            // It is told once, before what the other side sent last and we have not read yet.
            Err(Errno::CONNRESET) if resets < 2 => {
                resets += 1;
                continue;
            }
            Err(Errno::AGAIN) => return Ok(Received::Empty),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Ok(Received::Closed),
            Err(e) => return Err(e.into()),
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        if got.bytes == 0 {
            return Ok(Received::Closed);
        }
        bytes.truncate(got.bytes);
        return Ok(Received::Packet(bytes, descriptors));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(received: Received) -> (Vec<u8>, Vec<OwnedFd>) {
        match received {
            Received::Packet(bytes, fds) => (bytes, fds),
            other => panic!("no packet but {other:?}"),
        }
    }

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (a, b) = pair().unwrap();
        let memfd = crate::sys::memfd::sealed("test", b"hello").unwrap();
        assert!(matches!(receive(&b).unwrap(), Received::Empty));
        assert_eq!(send(&a, b"words", &[memfd.as_fd(), memfd.as_fd()]).unwrap(), Sent::Sent);
        let (bytes, fds) = packet(receive(&b).unwrap());
        assert_eq!((bytes.as_slice(), fds.len()), (&b"words"[..], 2));
        assert_eq!(crate::sys::memfd::read(&fds[1]).unwrap(), b"hello");
    }

    #[test]
    fn the_last_words_are_read_although_ours_were_not() {
        let (a, b) = pair().unwrap();
        send(&b, b"never read", &[]).unwrap();
        send(&a, b"last words", &[]).unwrap();
        drop(a);
        assert_eq!(packet(receive(&b).unwrap()).0, b"last words");
        assert!(matches!(receive(&b).unwrap(), Received::Closed));
        assert_eq!(send(&b, b"x", &[]).unwrap(), Sent::Closed);
    }

    #[test]
    fn a_full_socket_says_so_and_does_not_block() {
        let (a, _b) = pair().unwrap();
        let sent = (0..100_000).map(|_| send(&a, &[0; 1000], &[]).unwrap()).find(|sent| *sent != Sent::Sent);
        assert_eq!(sent, Some(Sent::Full));
    }
}
