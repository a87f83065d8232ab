//! Who is at the other end of a TCP connection that stays on this machine: the kernel is asked about the client's own socket,
//! which has our two addresses the other way round.
//!
//! By sock_diag(7), in some ten microseconds; where that is refused (a seccomp filter) or not there, by `/proc/net/tcp`, which
//! knows no cgroup.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::sockets::address;

/// linux/sock_diag.h, linux/inet_diag.h, linux/netlink.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_CGROUP_ID: u16 = 21;
const ANY: u32 = u32::MAX;
/// `struct nlmsghdr`, `struct inet_diag_req_v2`, and of the answer `struct inet_diag_msg`.
const HEAD: usize = 16;
const ASKED: usize = 56;
const TOLD: usize = 72;

/// What the kernel knows of the socket at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Of who made the socket.
    pub uid: u32,
    /// Names the socket among the descriptors of processes.
    pub inode: u64,
    /// The number of the cgroup in which it was made, where the kernel tells.
    pub cgroup: Option<u64>,
}

/// A way to the kernel that is kept.
#[derive(Debug)]
pub struct Diag {
    /// `None`: it may not be opened here.
    socket: Option<OwnedFd>,
    /// The kernel has answered once: what it does not find is not there.
    works: AtomicBool,
    asked: AtomicU32,
}

impl Default for Diag {
    fn default() -> Self {
        Self { socket: open().ok(), works: AtomicBool::new(false), asked: AtomicU32::new(0) }
    }
}

/// Only the kernel can answer on a socket that is connected to it.
fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

impl Diag {
    /// One that never asks the kernel by netlink.
    pub fn by_proc() -> Self {
        Self { socket: None, works: AtomicBool::new(false), asked: AtomicU32::new(0) }
    }

    /// Whose is the socket that is connected from `theirs` to `ours`? `None`: it is closed already.
    pub fn client(&self, ours: SocketAddrV4, theirs: SocketAddrV4) -> io::Result<Option<Client>> {
        let told = self.socket.as_ref().map(|socket| self.ask(socket, ours, theirs));
        let found = match told {
            Some(Ok(found)) => {
                self.works.store(true, Ordering::Relaxed);
                found
            }
            // The same word for a socket that is not there and for a kernel without the module.
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound && self.works.load(Ordering::Relaxed) => None,
            Some(Err(_)) | None => listed(ours, theirs)?,
        };
        // Nobody's any more: closed, and only the protocol still knows it.
        Ok(found.filter(|client| client.inode != 0))
    }

    fn ask(&self, socket: &OwnedFd, ours: SocketAddrV4, theirs: SocketAddrV4) -> io::Result<Option<Client>> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        rustix::net::send(socket, &question(number, ours, theirs), SendFlags::empty())?;
        let mut answer = [0_u8; 1024];
        // The kernel answers while it is asked: what is there is an answer, perhaps one that was given up before.
        loop {
            let (read, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
            if let Some(told) = told(&answer[..read], number, ours, theirs) {
                return told.map(Some);
            }
        }
    }
}

fn question(number: u32, ours: SocketAddrV4, theirs: SocketAddrV4) -> Vec<u8> {
    let length = u32::try_from(HEAD + ASKED).unwrap_or_default();
    let mut out = Vec::with_capacity(HEAD + ASKED);
    out.extend(length.to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend(NLM_F_REQUEST.to_ne_bytes());
    out.extend(number.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend([AF_INET, IPPROTO_TCP, 0, 0]);
    out.extend(ANY.to_ne_bytes());
    out.extend(addresses(ours, theirs));
    out.extend(0_u32.to_ne_bytes());
    out.extend(ANY.to_ne_bytes());
    out.extend(ANY.to_ne_bytes());
    out
}

/// As the client's socket has them: its own first. The start of `struct inet_diag_sockid`, in network order.
fn addresses(ours: SocketAddrV4, theirs: SocketAddrV4) -> [u8; 36] {
    let mut out = [0; 36];
    out[0..2].copy_from_slice(&theirs.port().to_be_bytes());
    out[2..4].copy_from_slice(&ours.port().to_be_bytes());
    out[4..8].copy_from_slice(&theirs.ip().octets());
    out[20..24].copy_from_slice(&ours.ip().octets());
    out
}

/// `None`: an answer to something else.
fn told(answer: &[u8], number: u32, ours: SocketAddrV4, theirs: SocketAddrV4) -> Option<io::Result<Client>> {
    if word(answer, 8) != Some(number) {
        return None;
    }
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "sock_diag answers something else");
    let kind = half(answer, 4);
    if kind == Some(NLMSG_ERROR) {
        let code = word(answer, HEAD).unwrap_or_default().cast_signed();
        return Some(Err(io::Error::from_raw_os_error(code.wrapping_neg())));
    }
    let length = word(answer, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let body = answer.get(HEAD..length).filter(|body| kind == Some(SOCK_DIAG_BY_FAMILY) && body.len() >= TOLD);
    let Some(body) = body else { return Some(Err(odd())) };
    // Behind four bytes of state and such; only as much of an IPv4 address counts as it has.
    let (id, wanted) = (&body[4..], addresses(ours, theirs));
    if id[..8] != wanted[..8] || id[20..24] != wanted[20..24] {
        return Some(Err(odd()));
    }
    let (uid, inode) = (word(body, 64).unwrap_or(ANY), word(body, 68).unwrap_or_default());
    Some(Ok(Client { uid, inode: inode.into(), cgroup: cgroup(&body[TOLD..]) }))
}

/// Among the attributes behind the answer.
fn cgroup(mut attributes: &[u8]) -> Option<u64> {
    const NAME: usize = 4;
    loop {
        let length = usize::from(half(attributes, 0)?);
        let value = attributes.get(NAME..length)?;
        if half(attributes, 2)? == INET_DIAG_CGROUP_ID {
            return Some(u64::from_ne_bytes(value.try_into().ok()?));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The same by `/proc`. A socket of both protocols (Java's are) is in the second table.
fn listed(ours: SocketAddrV4, theirs: SocketAddrV4) -> io::Result<Option<Client>> {
    let first = fs::File::open("/proc/self/net/tcp")?;
    if let Some(found) = in_table(BufReader::new(first), ours, theirs) {
        return Ok(Some(found));
    }
    // A machine without IPv6 has no second table.
    let second = fs::File::open("/proc/self/net/tcp6").ok();
    Ok(second.and_then(|file| in_table(BufReader::new(file), ours, theirs)))
}

fn in_table(table: impl BufRead, ours: SocketAddrV4, theirs: SocketAddrV4) -> Option<Client> {
    table.lines().map_while(Result::ok).find_map(|line| client(&line, ours, theirs))
}

/// `1: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000 1000 0 12345 …`
fn client(line: &str, ours: SocketAddrV4, theirs: SocketAddrV4) -> Option<Client> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let mut is = |wanted: SocketAddrV4| {
        let (ip, port) = fields.next()?.split_once(':')?;
        let same = address(ip)?.to_canonical() == *wanted.ip() && u16::from_str_radix(port, 16).ok()? == wanted.port();
        same.then_some(())
    };
    is(theirs)?;
    is(ours)?;
    let uid = fields.nth(4)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Client { uid, inode, cgroup: None })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::sys::sockets::{Holds, holds};

    struct Pair {
        client: TcpStream,
        _server: TcpStream,
        ours: SocketAddrV4,
        theirs: SocketAddrV4,
    }

    fn four(address: SocketAddr) -> SocketAddrV4 {
        let IpAddr::V4(ip) = address.ip().to_canonical() else { panic!("{address}") };
        SocketAddrV4::new(ip, address.port())
    }

    use std::net::IpAddr;

    fn pair(to: impl Fn(u16) -> String) -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(to(listener.local_addr().expect("bound").port())).expect("it listens");
        let (server, theirs) = listener.accept().expect("a client");
        let ours = four(server.local_addr().expect("connected"));
        Pair { client, _server: server, ours, theirs: four(theirs) }
    }

    fn both() -> [Diag; 2] {
        [Diag::default(), Diag::by_proc()]
    }

    #[test]
    fn a_client_is_found_by_its_own_socket() {
        for diag in both() {
            let (one, two) = (pair(|port| format!("127.0.0.1:{port}")), pair(|port| format!("127.0.0.1:{port}")));
            let [first, second] = [&one, &two].map(|pair| {
                let found = diag.client(pair.ours, pair.theirs).expect("the kernel tells").expect("it is connected");
                assert_eq!(found.uid, nix::unistd::getuid().as_raw());
                assert_eq!(holds(std::process::id(), &[found.inode]), Holds::Yes);
                found.inode
            });
            assert_ne!(first, second);
        }
    }

    #[test]
    fn a_socket_of_both_protocols_is_found_as_well() {
        for diag in both() {
            // A machine without IPv6 has none.
            if std::net::UdpSocket::bind("[::1]:0").is_err() {
                return;
            }
            let pair = pair(|port| format!("[::ffff:127.0.0.1]:{port}"));
            let found = diag.client(pair.ours, pair.theirs).expect("the kernel tells").expect("it is connected");
            assert_eq!(holds(std::process::id(), &[found.inode]), Holds::Yes);
        }
    }

    #[test]
    fn who_has_closed_is_nobody() {
        for diag in both() {
            let pair = pair(|port| format!("127.0.0.1:{port}"));
            assert!(diag.client(pair.ours, pair.theirs).expect("the kernel tells").is_some());
            drop(pair.client);
            assert_eq!(diag.client(pair.ours, pair.theirs).expect("the kernel tells"), None);
        }
    }

    #[test]
    fn the_server_is_not_taken_for_its_client() {
        for diag in both() {
            let pair = pair(|port| format!("127.0.0.1:{port}"));
            let of = |ours, theirs| diag.client(ours, theirs).expect("the kernel tells").expect("connected").inode;
            assert_ne!(of(pair.ours, pair.theirs), of(pair.theirs, pair.ours));
        }
    }

    #[test]
    fn the_cgroup_is_ours_where_the_kernel_tells() {
        use std::os::unix::fs::MetadataExt;
        let pair = pair(|port| format!("127.0.0.1:{port}"));
        let found = Diag::default().client(pair.ours, pair.theirs).expect("the kernel tells").expect("connected");
        let own = crate::sys::cgroup::own().and_then(|own| fs::metadata(own).ok()).map(|folder| folder.ino());
        if let (Some(own), Some(cgroup)) = (own, found.cgroup) {
            assert_eq!(cgroup, own);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let at = "127.0.0.1:80".parse().expect("an address");
        assert!(told(&[], 1, at, at).is_none());
        let mut answer = question(1, at, at);
        assert!(told(&answer, 2, at, at).is_none(), "another's");
        assert!(told(&answer, 1, at, at).expect("ours").is_err(), "too short");
        answer.resize(HEAD + TOLD, 0);
        let length = u32::try_from(answer.len()).expect("small");
        answer[..4].copy_from_slice(&length.to_ne_bytes());
        assert!(told(&answer, 1, at, at).expect("ours").is_err(), "of another socket");
        assert_eq!(cgroup(&[]), None);
        assert_eq!(cgroup(&[0, 0, 21, 0]), None, "a length that leads nowhere");
    }
}
