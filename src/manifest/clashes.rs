//! No two ports of a manifest may be the same address.

// The addresses alone: nothing here opens a socket.
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Listen;
use super::desk::Desk;
use super::node::Place;

/// A port of the manifest as it is said to people, and where it stands.
#[derive(Clone)]
struct Taken {
    by: String,
    listen: Listen,
    place: Place,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u16),
    Path(PathBuf),
}

/// Each port that comes to an address which another one, read before it, listens at already.
pub(super) fn check(desk: &mut Desk<'_>) {
    let mut taken: BTreeMap<Key, Vec<Taken>> = BTreeMap::new();
    let mut clashing = Vec::new();
    for (service, list) in &desk.ports {
        for (name, listed) in list {
            let key = match &listed.port.listen {
                Listen::At(at) => Key::Number(at.port()),
                Listen::Unix(path) => Key::Path(path.clone()),
                Listen::Auto(_) => continue,
            };
            let listen = listed.port.listen.clone();
            let this = Taken { by: format!("`{service}.{name}`"), listen, place: listed.listen };
            let others = taken.entry(key).or_default();
            match others.iter().find(|other| meet(&other.listen, &this.listen)) {
                Some(other) => clashing.push((service.clone(), this, other.clone())),
                None => others.push(this),
            }
        }
    }
    for (service, this, other) in clashing {
        desk.about(&service, |desk| refuse(desk, &this, &other));
    }
}

fn refuse(desk: &mut Desk<'_>, this: &Taken, other: &Taken) {
    let label = if this.listen == other.listen {
        format!("{} listens there already", other.by)
    } else {
        format!("{} listens at {} already, which takes this one too", other.by, other.listen)
    };
    let draft = desk.refuse(this.place, format!("{} comes to an address that is taken", this.by));
    draft.label(label).at(other.place, "here");
    if let Listen::At(at) = this.listen {
        draft.help(format!("`\"{}\"` is a free one, the same every time", Listen::Auto(at.ip())));
    }
}

fn meet(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::At(one), Listen::At(other)) => {
            one.port() == other.port() && (takes(*one, other.ip()) || takes(*other, one.ip()))
        }
        (one, other) => one == other,
    }
}

/// Does who listens there take what comes to that address of this machine?
pub(super) fn takes(listen: SocketAddr, ip: IpAddr) -> bool {
    match (listen.ip().to_canonical(), ip.to_canonical()) {
        // Every address, and of both kinds: sockets are dual unless it is asked otherwise.
        (IpAddr::V6(any), _) if any.is_unspecified() => true,
        (IpAddr::V4(any), IpAddr::V4(_)) if any.is_unspecified() => true,
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_takes_each_of_its_kind() {
        for (one, other, clash) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
        ] {
            let [a, b] = [one, other].map(|text| Listen::At(text.parse().expect("an address")));
            assert_eq!((meet(&a, &b), meet(&b, &a)), (clash, clash), "{one} {other}");
        }
    }
}
