//! A stranger on the port: is the one who listens there of the run's tree?
//!
//! The listening socket is looked up by its address, then among the descriptors of the tree. It counts as the service's when
//! any of the tree holds it, however many others do (SO_REUSEPORT, an inherited listener), and when it cannot be known:
//! a process of the tree hides its descriptors (a setuid program), or nothing on this machine listens there by itself (a
//! packet filter that redirects).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::keeper::plain;
use crate::manifest::Address;
use crate::ports::Place;
use crate::sys::sockets::{self, Holds, Listener};
use crate::sys::{process, tree, users};

/// The descendants of a keeper, as far as they listen.
pub(super) struct Tree {
    keeper: u32,
    project: String,
    /// Who was found the last time: looking through all processes is not done again while it is still so.
    blamed: Option<u32>,
}

impl Tree {
    pub(super) fn new(keeper: u32, project: &str) -> Self {
        Self { keeper, project: project.to_owned(), blamed: None }
    }

    /// One sentence, when what we are connected to (`theirs`) is of this machine and not of this tree.
    pub(super) fn stranger(&mut self, address: &Address, ours: IpAddr, theirs: SocketAddr) -> Option<String> {
        if !is_own(ours, theirs.ip()) {
            return None;
        }
        let listeners = answering(sockets::listeners(theirs.port()), theirs.ip());
        let uid = listeners.first()?.uid;
        let inodes: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
        for pid in tree::descendants(self.keeper, &[]) {
            match sockets::holds(pid, &inodes) {
                Holds::No => {}
                Holds::Yes | Holds::Unknown => return None,
            }
        }
        let holds = |pid: &u32| sockets::holds(*pid, &inodes) == Holds::Yes;
        self.blamed = self.blamed.filter(holds).or_else(|| tree::all().into_iter().find(holds));
        Some(format!("{address} is held by {}, not by this service", self.name(uid)))
    }

    /// `pid 4121 (python3) of bob`, as far as it is known.
    fn name(&self, uid: u32) -> String {
        named(self.blamed, uid, &self.project)
    }
}

/// Who holds the addresses that are asked for again and again: looked for among all processes once, while it is the same socket.
#[derive(Default)]
pub(in crate::daemon) struct Holders(BTreeMap<SocketAddr, (Vec<u64>, String)>);

impl Holders {
    /// Who listens where one wants to. One sentence; `None`: nobody.
    pub(in crate::daemon) fn held_by(&mut self, at: SocketAddr, project: &str) -> Option<String> {
        let mut inodes: Vec<u64> = in_the_way(at).iter().map(|listener| listener.inode).collect();
        inodes.sort_unstable();
        if let Some((_, sentence)) = self.0.get(&at).filter(|(known, _)| *known == inodes && !inodes.is_empty()) {
            return Some(sentence.clone());
        }
        self.0.remove(&at);
        let sentence = format!("{at} is held by {}", listener(at, project)?);
        self.0.insert(at, (inodes, sentence.clone()));
        Some(sentence)
    }
}

/// Is it a process of this project that listens there?
pub(in crate::daemon) fn is_of_project(at: SocketAddr, project: &str) -> bool {
    let inodes: Vec<u64> = in_the_way(at).iter().map(|listener| listener.inode).collect();
    let marked = |pid: u32| {
        let mark = tree::environment(pid, "DEVSUP_RUN");
        mark.is_some_and(|mark| mark.strip_prefix(project).is_some_and(|rest| rest.starts_with('/')))
    };
    !inodes.is_empty() && tree::all().into_iter().any(|pid| sockets::holds(pid, &inodes) == Holds::Yes && marked(pid))
}

/// Any whose listening would be in the way: `pid 4121 (python3) of bob`.
pub(in crate::daemon) fn listener(at: SocketAddr, project: &str) -> Option<String> {
    let listeners = in_the_way(at);
    let uid = listeners.first()?.uid;
    let inodes: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
    let pid = tree::all().into_iter().find(|pid| sockets::holds(*pid, &inodes) == Holds::Yes);
    Some(named(pid, uid, project))
}

/// Does a process of this keeper's tree listen where one wants to?
pub(in crate::daemon) fn listens_below(keeper: u32, place: &Place) -> bool {
    let inodes = match place {
        Place::Tcp(at) => in_the_way(*at).iter().map(|listener| listener.inode).collect(),
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

    fn inodes(all: &[Listener], to: &str) -> Vec<u64> {
        answering(all.to_vec(), to.parse().unwrap()).into_iter().map(|listener| listener.inode).collect()
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
        assert_eq!(inodes(&all, "127.0.0.1"), [1, 2]);
        assert_eq!(inodes(&all, "127.0.0.2"), [3]);
        assert_eq!(inodes(&all, "127.0.0.3"), [5]);
        assert_eq!(inodes(&all, "::1"), [4]);
        assert_eq!(inodes(&all[3..4], "127.0.0.1"), [4]);
        assert!(inodes(&all[..2], "127.0.0.2").is_empty());
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
    fn what_is_elsewhere_or_hidden_is_not_judged() {
        let mut tree = Tree::new(u32::MAX, "shop-1");
        let (ours, theirs) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        assert_eq!(tree.stranger(&Address { host: "x".into(), port: 80 }, ours, theirs), None);
        // Nobody listens here any more.
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(tree.stranger(&Address { host: "x".into(), port: 80 }, gone.ip(), gone), None);
    }
}
