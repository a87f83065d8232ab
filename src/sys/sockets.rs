//! Who listens on a port of this machine, as `/proc` tells it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::tree;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub at: SocketAddr,
    pub uid: u32,
    /// Names the socket among the descriptors of processes.
    pub inode: u64,
}

/// Does a process hold one of some sockets?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// Nor does a process that is gone.
    No,
    /// Its descriptors are not shown to us.
    Unknown,
}

/// All that listen on this port, in our network namespace.
pub fn listeners(port: u16) -> Vec<Listener> {
    let mut found = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        // A machine without IPv6 has no second table.
        if let Ok(file) = fs::File::open(table) {
            found.extend(listening(BufReader::new(file), port));
        }
    }
    found
}

/// Does anybody listen on the unix socket at this path?
pub fn listens(path: &Path) -> bool {
    !listening_at(path).is_empty()
}

/// The sockets that listen at this path, by their inodes.
pub fn listening_at(path: &Path) -> Vec<u64> {
    /// include/linux/net.h: SO_ACCEPTON
    const ACCEPTS: u32 = 1 << 16;
    let Ok(table) = fs::read("/proc/self/net/unix") else { return Vec::new() };
    // Num RefCount Protocol Flags Type St Inode Path
    let inode = |line: &[u8]| {
        let (fields, theirs) = line.split_at_checked(line.iter().position(|byte| *byte == b'/')?)?;
        let mut fields = str::from_utf8(fields).ok()?.split_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let listens = flags & ACCEPTS != 0 && theirs == path.as_os_str().as_bytes();
        fields.nth(2)?.parse().ok().filter(|_| listens)
    };
    table.split(|byte| *byte == b'\n').filter_map(inode).collect()
}

/// The kernel shows listening sockets first. There may be many thousand others, so it is read up to the first of those.
fn listening(table: impl BufRead, port: u16) -> Vec<Listener> {
    const HEAD: usize = 1;
    let lines = table.lines().map_while(Result::ok).skip(HEAD);
    lines.map_while(|line| listener(&line)).filter(|listener| listener.at.port() == port).collect()
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 12345 …`; `None`: not listening.
fn listener(line: &str) -> Option<Listener> {
    const LISTENING: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let at = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    if fields.nth(1)? != LISTENING {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Listener { at, uid, inode })
}

/// Words of 32 bits, each printed as this machine reads it from memory.
pub(super) fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
        four.copy_from_slice(&word(at * 8)?);
    }
    Some(Ipv6Addr::from(bytes).into())
}

/// Does the process hold one of these sockets?
pub fn holds(pid: u32, inodes: &[u64]) -> Holds {
    let hidden = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) if hidden(&error) => return unless_ended(pid),
        Err(_) => return Holds::No,
    };
    for entry in entries {
        match entry.and_then(|entry| fs::read_link(entry.path())) {
            Ok(to) if to.to_str().and_then(socket).is_some_and(|inode| inodes.contains(&inode)) => return Holds::Yes,
            Err(error) if hidden(&error) => return unless_ended(pid),
            // A descriptor may be closed while we look.
            Ok(_) | Err(_) => {}
        }
    }
    Holds::No
}

/// One that has ended and was not waited for holds nothing, and shows even that to root only.
fn unless_ended(pid: u32) -> Holds {
    match tree::look(pid) {
        Some(process) if process.state != 'Z' => Holds::Unknown,
        Some(_) | None => Holds::No,
    }
}

/// `socket:[12345]`
fn socket(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_tables_are_read_up_to_the_last_that_listens() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 77 1 0 100 0 0 10 0\n\
             1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n\
             2: 00000000:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000  1000        0 79 1 0 100 0 0 10 0\n";
        let found = listening(table.as_bytes(), 8080);
        let at = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(found, [Listener { at, uid: 1000, inode: 77 }]);
    }

    #[test]
    fn addresses_are_those_of_this_machine() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        assert_eq!(address(&word([127, 0, 0, 1])), Some(Ipv4Addr::LOCALHOST.into()));
        let six = [word([0; 4]), word([0; 4]), word([0; 4]), word([0, 0, 0, 1])].concat();
        assert_eq!(address(&six), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("12"), None);
    }

    #[test]
    fn we_hold_what_we_listen_on_and_nobody_else_does() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = ours.local_addr().unwrap();
        let found: Vec<Listener> = listeners(at.port()).into_iter().filter(|listener| listener.at == at).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].uid, nix::unistd::getuid().as_raw());
        let inodes = [found[0].inode];
        assert_eq!(holds(std::process::id(), &inodes), Holds::Yes);
        assert_eq!(holds(std::process::id(), &[0]), Holds::No);
        assert_eq!(holds(u32::MAX, &inodes), Holds::No);
    }
}
