//! A stranger on the port: is the one who listens there of the run's tree?
//!
//! The listening socket is looked up by its address, then among the descriptors of the tree. It counts as the service's when
//! any of the tree holds it, however many others do (SO_REUSEPORT, an inherited listener), and when it cannot be known:
//! a process of the tree hides its descriptors (a setuid program), or nothing on this machine listens there by itself (a
//! packet filter that redirects).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::keeper::plain;
use crate::manifest::Address;
use crate::ports::Place;
use crate::sys::clock::monotonic;
use crate::sys::sockets::{self, Holds, Listener};
use crate::sys::{process, tree, users};

/// The descendants of a keeper, as far as they listen.
pub(super) struct Tree {
    keeper: u32,
    project: String,
    blamed: Blamed,
}

impl Tree {
    pub(super) fn new(keeper: u32, project: &str) -> Self {
        Self { keeper, project: project.to_owned(), blamed: Blamed::default() }
    }

    /// One sentence, when what we are connected to (`theirs`) is of this machine and not of this tree.
    pub(super) fn stranger(&mut self, address: &Address, ours: IpAddr, theirs: SocketAddr) -> Option<String> {
        if !is_own(ours, theirs.ip()) {
            return None;
        }
        let listeners = answering(sockets::listeners(theirs.port()), theirs.ip());
        let uid = listeners.first()?.uid;
        let inodes = inodes(&listeners);
        for pid in tree::descendants(self.keeper, &[]) {
            match sockets::holds(pid, &inodes) {
                Holds::No => {}
                Holds::Yes | Holds::Unknown => return None,
            }
        }
        let who = self.blamed.said(&listeners, uid, &self.project);
        Some(format!("{address} is held by {who}, not by this service"))
    }
}

/// Nobody was seen to hold it: he hides it, or had it only for a moment. To look through all processes takes long.
const AGAIN: Duration = Duration::from_secs(5);

/// Who was found to hold these sockets, in words: not looked for again while it is still so.
#[derive(Default)]
struct Blamed {
    inodes: Vec<u64>,
    pid: Option<u32>,
    said: String,
    looked: Duration,
}

impl Blamed {
    fn said(&mut self, listeners: &[Listener], uid: u32, project: &str) -> &str {
        let inodes = inodes(listeners);
        let holds = |pid: &u32| sockets::holds(*pid, &inodes) == Holds::Yes;
        let still = self.inodes == inodes
            && match self.pid {
                Some(pid) => holds(&pid),
                None => monotonic() < self.looked + AGAIN,
            };
        if !still {
            let pid = tree::all().into_iter().find(holds);
            *self = Self { pid, said: named(pid, uid, project), looked: monotonic(), inodes };
        }
        &self.said
    }
}

/// Who holds the addresses that are asked for again and again.
#[derive(Default)]
pub(in crate::daemon) struct Holders(BTreeMap<SocketAddr, Blamed>);

impl Holders {
    /// Who listens where one wants to. One sentence; `None`: nobody.
    pub(in crate::daemon) fn held_by(&mut self, at: SocketAddr, project: &str) -> Option<String> {
        Some(format!("{at} is held by {}", self.listener(at, project)?))
    }

    /// Any whose listening would be in the way: `pid 4121 (python3) of bob`.
    pub(in crate::daemon) fn listener(&mut self, at: SocketAddr, project: &str) -> Option<String> {
        let listeners = in_the_way(at);
        let Some(first) = listeners.first() else {
            self.0.remove(&at);
            return None;
        };
        Some(self.0.entry(at).or_default().said(&listeners, first.uid, project).to_owned())
    }
}

/// Is it a process of this project that listens there?
pub(in crate::daemon) fn is_of_project(at: SocketAddr, project: &str) -> bool {
    let inodes = inodes(&in_the_way(at));
    let marked = |pid: u32| {
        let mark = tree::environment(pid, "DEVSUP_RUN");
        mark.is_some_and(|mark| mark.strip_prefix(project).is_some_and(|rest| rest.starts_with('/')))
    };
    !inodes.is_empty() && tree::all().into_iter().any(|pid| sockets::holds(pid, &inodes) == Holds::Yes && marked(pid))
}

/// Does a process of this keeper's tree listen where one wants to?
pub(in crate::daemon) fn listens_below(keeper: u32, place: &Place) -> bool {
    let inodes = match place {
        Place::Tcp(at) => inodes(&in_the_way(*at)),
        Place::Unix(path) => sockets::listening_at(path),
    };
    let holds = |pid: u32| sockets::holds(pid, &inodes) == Holds::Yes;
    !inodes.is_empty() && tree::descendants(keeper, &[]).into_iter().any(holds)
}

fn in_the_way(at: SocketAddr) -> Vec<Listener> {
    let overlaps = |listener: &Listener| {
        let theirs = listener.at.ip();
        // A socket of all IPv6 addresses takes those of IPv4 too, unless it was told not to.
        theirs.to_canonical() == at.ip().to_canonical()
            || at.ip().is_unspecified()
            || theirs.is_unspecified() && (theirs.is_ipv6() || at.is_ipv4())
    };
    sockets::listeners(at.port()).into_iter().filter(overlaps).collect()
}

/// Always in the same order.
fn inodes(listeners: &[Listener]) -> Vec<u64> {
    let mut inodes: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
    inodes.sort_unstable();
    inodes
}

fn named(pid: Option<u32>, uid: u32, project: &str) -> String {
    let Some(pid) = pid else { return format!("a process of {}", users::name(uid)) };
    if pid == process::own_pid() {
        return "devsup itself".to_owned();
    }
    let comm = tree::look(pid).map_or_else(|| "?".to_owned(), |process| plain(process.comm.as_bytes()));
    let user = users::name(tree::owner(pid).unwrap_or(uid));
    let service = tree::environment(pid, "DEVSUP_RUN").and_then(|mark| {
        let (service, _) = mark.strip_prefix(project)?.strip_prefix('/')?.split_once('#')?;
        Some(format!(" (service `{}`)", plain(service.as_bytes())))
    });
    format!("pid {pid} ({comm}) of {user}{}", service.unwrap_or_default())
}

/// Does a connection from `ours` to `theirs` stay on this machine? To an address of its own the kernel connects from the same
/// one.
fn is_own(ours: IpAddr, theirs: IpAddr) -> bool {
    theirs.to_canonical().is_loopback() || ours == theirs
}

/// Those among the listeners of a port who get the connections to this address: a socket of exactly this address goes before
/// one of all addresses, and one of the older protocol before one of both.
fn answering(all: Vec<Listener>, to: IpAddr) -> Vec<Listener> {
    let to = to.to_canonical();
    let rank = |listener: &Listener| {
        let at = listener.at.ip();
        match at.to_canonical() {
            exact if exact == to => Some(0),
            IpAddr::V4(any) if any == Ipv4Addr::UNSPECIFIED => to.is_ipv4().then_some(1),
            IpAddr::V6(any) if any.is_unspecified() => Some(2),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    };
    let best = all.iter().filter_map(rank).min();
    all.into_iter().filter(|listener| best.is_some() && rank(listener) == best).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener(at: &str, inode: u64) -> Listener {
        Listener { at: at.parse().unwrap(), uid: 0, inode }
    }

    fn answer(all: &[Listener], to: &str) -> Vec<u64> {
        inodes(&answering(all.to_vec(), to.parse().unwrap()))
    }

    #[test]
    fn the_nearest_address_answers_with_all_who_share_it() {
        let all = [
            listener("127.0.0.1:80", 1),
            listener("127.0.0.1:80", 2),
            listener("0.0.0.0:80", 3),
            listener("[::]:80", 4),
            listener("[::ffff:127.0.0.3]:80", 5),
        ];
        assert_eq!(answer(&all, "127.0.0.1"), [1, 2]);
        assert_eq!(answer(&all, "127.0.0.2"), [3]);
        assert_eq!(answer(&all, "127.0.0.3"), [5]);
        assert_eq!(answer(&all, "::1"), [4]);
        assert_eq!(answer(&all[3..4], "127.0.0.1"), [4]);
        assert!(answer(&all[..2], "127.0.0.2").is_empty());
    }

    fn stranger(keeper: u32, listener: &TcpListener) -> Option<String> {
        let at = listener.local_addr().unwrap();
        let address = Address { host: at.ip().to_string(), port: at.port() };
        Tree::new(keeper, "shop-1").stranger(&address, at.ip(), at)
    }

    #[test]
    fn a_listener_of_the_tree_is_ours_and_one_of_another_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(stranger(process::parent(), &listener), None);
        let said = stranger(u32::MAX, &listener).unwrap();
        assert_eq!(said, format!("{} is held by devsup itself, not by this service", listener.local_addr().unwrap()));
    }

    #[test]
    fn who_holds_it_now_is_named_and_not_who_held_it() {
        let mut holders = Holders::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut held_by = || holders.held_by(at, "shop-1");
        let ours = Some(format!("{at} is held by devsup itself"));
        assert_eq!((held_by(), held_by()), (ours.clone(), ours));
        drop(listener);
        assert_eq!(held_by(), None);
    }

    #[test]
    fn what_is_elsewhere_or_hidden_is_not_judged() {
        let mut tree = Tree::new(u32::MAX, "shop-1");
        let (ours, theirs) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        assert_eq!(tree.stranger(&Address { host: "x".into(), port: 80 }, ours, theirs), None);
        // Nobody listens here any more.
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(tree.stranger(&Address { host: "x".into(), port: 80 }, gone.ip(), gone), None);
    }
}
