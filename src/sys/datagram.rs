//! A socket for datagrams that has a name and no file, and knows who sent.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg,
    setsockopt, socket, sockopt,
};

/// The most descriptors that one message can carry (SCM_MAX_FD).
const DESCRIPTORS: usize = 253;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// 0: in no process namespace that we see into.
    pub pid: u32,
    pub uid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes of the buffer. Descriptors that came along are closed.
    Datagram(usize, Sender),
    /// One that does not fit the buffer, or is nobody's. It is gone.
    Odd,
    /// Nothing now.
    Empty,
    /// It carried more descriptors than we may hold, and nobody knows which those are: the socket is to be closed.
    Flooded,
}

/// Sixteen bytes that nobody guesses, in hexadecimal.
pub fn unguessable() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Never blocks, close-on-exec. `name` is in the abstract namespace: it ends with the socket.
pub fn named(name: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&made, sockopt::PassCred, &true)?;
    bind(made.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    Ok(made)
}

/// Takes one datagram.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Received {
    let mut space = cmsg_space!([RawFd; DESCRIPTORS], UnixCredentials);
    let mut parts = [IoSliceMut::new(buffer)];
    let got = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(got) => break got,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Received::Empty,
            Err(_) => return Received::Odd,
        }
    };
    let Ok(messages) = got.cmsgs() else { return Received::Flooded };
    let mut sender = None;
    for message in messages {
        match message {
            ControlMessageOwned::ScmCredentials(who) => {
                sender = Some(Sender { pid: u32::try_from(who.pid()).unwrap_or(0), uid: who.uid() });
            }
            ControlMessageOwned::ScmRights(descriptors) => {
                for descriptor in descriptors {
                    // It is ours alone, and nobody wants it.
                    nix::unistd::close(descriptor).ok();
                }
            }
            _ => {}
        }
    }
    match sender {
        Some(sender) if !got.flags.contains(MsgFlags::MSG_TRUNC) => Received::Datagram(got.bytes, sender),
        _ => Received::Odd,
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;

    fn pair() -> (OwnedFd, UnixDatagram) {
        let name = format!("devsup-test/{}", unguessable().unwrap());
        let ours = named(&name).unwrap();
        let theirs = UnixDatagram::unbound().unwrap();
        theirs.connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        (ours, theirs)
    }

    fn me() -> Sender {
        Sender { pid: std::process::id(), uid: nix::unistd::getuid().as_raw() }
    }

    #[test]
    fn the_sender_is_known_and_what_is_too_long_is_gone() {
        let (ours, theirs) = pair();
        let mut buffer = [0; 16];
        assert_eq!(receive(&ours, &mut buffer), Received::Empty);
        theirs.send(b"READY=1").unwrap();
        assert_eq!(receive(&ours, &mut buffer), Received::Datagram(7, me()));
        assert_eq!(&buffer[..7], b"READY=1");
        theirs.send(&[b'x'; 17]).unwrap();
        theirs.send(b"").unwrap();
        assert_eq!(receive(&ours, &mut buffer), Received::Odd);
        assert_eq!(receive(&ours, &mut buffer), Received::Datagram(0, me()));
    }

    #[test]
    fn descriptors_sent_along_are_closed() {
        let (ours, theirs) = pair();
        let (given, kept) = rustix::pipe::pipe().unwrap();
        let parts = [io::IoSlice::new(b"READY=1")];
        let rights = [kept.as_raw_fd(); 100];
        let along = [ControlMessage::ScmRights(&rights)];
        sendmsg::<()>(theirs.as_raw_fd(), &parts, &along, MsgFlags::empty(), None).unwrap();
        drop(kept);
        assert_eq!(receive(&ours, &mut [0; 16]), Received::Datagram(7, me()));
        // Nobody can write any more: the end is seen at once.
        assert_eq!(rustix::io::read(&given, &mut [0; 1]), Ok(0));
    }
}
