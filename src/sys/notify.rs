//! What a unit of `Type=notify` says to systemd: sd_notify(3), one datagram.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// `address` is what `NOTIFY_SOCKET` says: a path, or `@` and a name of the abstract kind. Never blocks.
pub fn send(address: &OsStr, text: &str) -> io::Result<()> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_address_are_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let heard = |socket: &UnixDatagram| {
            let mut buffer = [0; 64];
            let count = socket.recv(&mut buffer).expect("a datagram");
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let named = UnixDatagram::bind(&path).expect("bound");
        send(path.as_os_str(), "READY=1").expect("sent");
        assert_eq!(heard(&named), "READY=1");
        let name = format!("devsup-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let hidden = UnixDatagram::bind_addr(&address).expect("bound");
        send(OsStr::new(&format!("@{name}")), "STATUS=up").expect("sent");
        assert_eq!(heard(&hidden), "STATUS=up");
    }
}
