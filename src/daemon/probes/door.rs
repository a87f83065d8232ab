//! A connection to an address of the manifest: who answers there, and is it the one who is meant?

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::holder::Tree;
use crate::manifest::Address;

/// More addresses of one name are not tried.
const ADDRESSES: usize = 8;

pub(super) struct Door {
    address: Address,
    /// Who is to listen there; `None`: anybody.
    tree: Option<Tree>,
    /// A name is asked for on a thread of its own, which cannot be ended: the next question waits for the same one.
    looking: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Door {
    pub(super) fn new(address: Address, tree: Option<Tree>) -> Self {
        Self { address, tree, looking: None }
    }

    /// May take as long as it likes: to be ended from outside. An error is one sentence.
    pub(super) async fn open(&mut self) -> Result<TcpStream, String> {
        let mut trouble = format!("{}: the name has no address", self.address);
        let mut stranger = None;
        for at in self.addresses().await? {
            match TcpStream::connect(at).await {
                Ok(stream) if is_ourselves(&stream) => trouble = format!("{}: connection refused", self.address),
                Ok(stream) => match self.stranger(&stream) {
                    None => return Ok(stream),
                    Some(who) => stranger = Some(who),
                },
                Err(error) => trouble = format!("{}: {}", self.address, words(&error)),
            }
        }
        Err(stranger.unwrap_or(trouble))
    }

    fn stranger(&mut self, stream: &TcpStream) -> Option<String> {
        let (ours, theirs) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
        self.tree.as_mut()?.stranger(&self.address, ours.ip(), theirs)
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, String> {
        let Address { host, port } = &self.address;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, *port)]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            // Never asked of the network (RFC 6761).
            let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(both.map(|ip| SocketAddr::new(ip, *port)).to_vec());
        }
        let looking = self.looking.get_or_insert_with(|| {
            let name = (host.clone(), *port);
            tokio::task::spawn_blocking(move || {
                use std::net::ToSocketAddrs;
                Ok(name.to_socket_addrs()?.take(ADDRESSES).collect())
            })
        });
        let found = looking.await;
        self.looking = None;
        match found {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(format!("{}: {}", self.address, words(&error))),
            Err(_) => Err(format!("{}: the name could not be asked for", self.address)),
        }
    }
}

/// Nobody listens, and by chance the port we connect from is the one we connect to: TCP lets one meet oneself.
fn is_ourselves(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
}

/// Without the number that the system has for it.
pub(super) fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}
