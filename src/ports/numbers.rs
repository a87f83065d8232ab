//! Port numbers that devsup chooses: stable ones for `auto`, and private ones for the runs behind the forwarder.
//!
//! A number that is chosen is *reserved* on the whole machine by a name that only one process can have (an abstract unix
//! socket), so that no two devsups choose the same, whoever's they are. Strangers know nothing of that: a number is also
//! looked at before it is chosen. All are below the range the kernel takes for outgoing connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::PathBuf;

use super::PortId;
use crate::manifest::Listen;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A number that is ours for as long as this is kept.
#[derive(Debug)]
pub struct Reserved {
    pub number: u16,
    _name: UnixDatagram,
}

impl Reserved {
    fn take(number: u16) -> Option<Self> {
        let name = UnixAddress::from_abstract_name(format!("devsup-port-{number}")).ok()?;
        UnixDatagram::bind_addr(&name).ok().map(|name| Self { number, _name: name })
    }

    /// If nobody has it, neither a devsup nor a stranger. An error: nobody can bind there.
    fn try_new(ip: IpAddr, number: u16) -> io::Result<Option<Self>> {
        let Some(reserved) = Self::take(number) else { return Ok(None) };
        match TcpListener::bind(SocketAddr::new(ip, number)) {
            Ok(_) => Ok(Some(reserved)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The numbers of one project.
#[derive(Debug)]
pub struct Numbers {
    /// Where the stable ones are remembered.
    file: PathBuf,
    /// Of whose project: two never begin at the same number, but by chance.
    seed: String,
    known: BTreeMap<String, u16>,
    stable: BTreeMap<PortId, Reserved>,
    /// Those that the manifest names.
    fixed: BTreeSet<u16>,
    private: u64,
}

impl Numbers {
    /// `seed`: the user and the project.
    pub fn open(file: PathBuf, seed: String) -> Self {
        // One that cannot be read is as good as none: other numbers are chosen.
        let known = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let private = hash(&seed);
        Self { file, seed, known, stable: BTreeMap::new(), fixed: BTreeSet::new(), private }
    }

    /// Where that is, if it has been chosen.
    pub fn known(&self, port: &PortId, listen: &Listen) -> Option<SocketAddr> {
        let Listen::Auto(ip) = listen else { return None };
        self.stable.get(port).map(|reserved| SocketAddr::new(*ip, reserved.number))
    }

    /// The number of an `auto` port: the same every time, unless a stranger has it. `ours`: what listens there belongs to this
    /// project, and is about to end.
    pub fn stable(&mut self, port: &PortId, ip: IpAddr, ours: &dyn Fn(SocketAddr) -> bool) -> io::Result<u16> {
        if let Some(reserved) = self.stable.get(port) {
            return Ok(reserved.number);
        }
        let name = port.to_string();
        let known = self.known.get(&name).copied();
        let reserved = match known.map(|number| Self::again(ip, number, ours)).transpose()?.flatten() {
            Some(reserved) => reserved,
            None => self.first_free(ip, hash(&format!("{}/{port}", self.seed)), known)?,
        };
        let number = reserved.number;
        self.stable.insert(port.clone(), reserved);
        if known != Some(number) {
            self.known.insert(name, number);
            if let Err(error) = self.remember() {
                tracing::warn!(%error, %port, "its number could not be written down: it may be another one next time");
            }
        }
        Ok(number)
    }

    fn again(ip: IpAddr, number: u16, ours: &dyn Fn(SocketAddr) -> bool) -> io::Result<Option<Reserved>> {
        if let Some(reserved) = Reserved::try_new(ip, number)? {
            return Ok(Some(reserved));
        }
        let left_behind = ours(SocketAddr::new(ip, number));
        Ok(if left_behind { Reserved::take(number) } else { None })
    }

    fn first_free(&self, ip: IpAddr, first: u64, but: Option<u16>) -> io::Result<Reserved> {
        for number in (0..u64::from(COUNT)).map(|at| nth(first, at)) {
            let taken = but == Some(number) || self.known.values().chain(&self.fixed).any(|theirs| *theirs == number);
            if !taken && let Some(reserved) = Reserved::try_new(ip, number)? {
                return Ok(reserved);
            }
        }
        Err(none_left())
    }

    /// Of the manifest as it is now: numbers that it names itself are not chosen, and what is no port any more is let go.
    pub fn keep(&mut self, fixed: BTreeSet<u16>, is_port: impl Fn(&PortId) -> bool) {
        self.fixed = fixed;
        self.stable.retain(|port, _| is_port(port));
    }

    /// A number for one run.
    pub fn private(&mut self) -> io::Result<Reserved> {
        for _ in 0..COUNT {
            // Not the one that was just given back: what is on its way to an earlier run finds nobody.
            self.private = self.private.wrapping_add(1);
            let number = nth(self.private, 0);
            if self.known.values().chain(&self.fixed).any(|known| *known == number) {
                continue;
            }
            if let Some(reserved) = Reserved::try_new(Ipv4Addr::LOCALHOST.into(), number)? {
                return Ok(reserved);
            }
        }
        Err(none_left())
    }

    fn remember(&self) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.known)?)?;
        fs::rename(&beside, &self.file)
    }
}

fn none_left() -> io::Error {
    io::Error::other(format!("no port from {FIRST} to {} is free", FIRST + COUNT - 1))
}

fn nth(first: u64, at: u64) -> u16 {
    let beyond = first.wrapping_add(at) % u64::from(COUNT);
    FIRST + u16::try_from(beyond).unwrap_or_default()
}

/// FNV-1a: the same in every build, for the numbers are to be.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> PortId {
        PortId { service: "a".into(), port: name.to_owned() }
    }

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_stable_number_stays_and_two_projects_never_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        // Of this test run alone: others may run beside it.
        let seed = folder.path().display().to_string();
        let mut first = Numbers::open(file("a"), seed.clone());
        let http = first.stable(&port("http"), HERE, &|_| false).unwrap();
        assert_eq!(first.stable(&port("http"), HERE, &|_| false).unwrap(), http);
        let admin = first.stable(&port("admin"), HERE, &|_| false).unwrap();
        assert_ne!(admin, http);
        // Another devsup that would begin at the very same number.
        let mut other = Numbers::open(file("b"), seed.clone());
        let theirs = other.stable(&port("http"), HERE, &|_| false).unwrap();
        assert_ne!(theirs, http);
        drop(first);
        let mut again = Numbers::open(file("a"), seed);
        assert_eq!(again.stable(&port("http"), HERE, &|_| false).unwrap(), http);
        assert_eq!(again.stable(&port("admin"), HERE, &|_| false).unwrap(), admin);
    }

    #[test]
    fn a_stranger_on_the_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().display().to_string();
        let open = || Numbers::open(folder.path().join("ports"), seed.clone());
        let number = open().stable(&port("http"), HERE, &|_| false).unwrap();
        let stranger = TcpListener::bind((HERE, number)).unwrap();
        let mut numbers = open();
        let other = numbers.stable(&port("http"), HERE, &|_| false).unwrap();
        assert_ne!(other, number);
        drop((stranger, numbers));
        assert_eq!(open().stable(&port("http"), HERE, &|_| false).unwrap(), other, "and from now on it is this one");
    }

    #[test]
    fn what_an_earlier_life_left_there_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().display().to_string();
        let open = || Numbers::open(folder.path().join("ports"), seed.clone());
        let number = open().stable(&port("http"), HERE, &|_| false).unwrap();
        let _left = TcpListener::bind((HERE, number)).unwrap();
        assert_eq!(open().stable(&port("http"), HERE, &|at| at.port() == number).unwrap(), number);
    }

    #[test]
    fn where_nobody_can_bind_it_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::open(folder.path().join("ports"), String::new());
        let nowhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = numbers.stable(&port("http"), nowhere, &|_| false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn private_numbers_differ_while_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::open(folder.path().join("ports"), folder.path().display().to_string());
        let kept: Vec<Reserved> = (0..50).map(|_| numbers.private().unwrap()).collect();
        let mut seen: Vec<u16> = kept.iter().map(|reserved| reserved.number).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 50);
        assert!(seen.iter().all(|number| (FIRST..FIRST + COUNT).contains(number)));
    }
}
