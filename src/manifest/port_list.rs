//! `[services.NAME.ports]` out of its table: each port by its name, with where it was said.

use std::collections::BTreeMap;

// The addresses alone: nothing here opens a socket.
use core::net::{IpAddr, Ipv4Addr};

use super::desk::Desk;
use super::node::{Entry, Node, Place, Table, Value};
use super::words::Section;
use super::{Handover, Listen, Port, listening, service};

pub(super) type PortList = BTreeMap<String, Listed>;

/// A port, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) port: Port,
    pub(super) listen: Place,
    /// Where the handover is said, or else the port.
    pub(super) handover: Place,
}

const LONGEST: usize = 30;
/// So many sockets go into one packet to a keeper, and well within it.
const MOST: usize = 32;

/// Reads the ports of a service. What cannot be read has been reported, and holds what nothing else can be wrong with.
pub(super) fn read(desk: &mut Desk<'_>, entry: &Entry) -> PortList {
    let mut list = PortList::new();
    let Value::Table(table) = &entry.node.value else {
        not_a_table(desk, &entry.node);
        return list;
    };
    let mut variables: BTreeMap<String, (&str, Place)> = BTreeMap::new();
    if let Some((_, entry)) = table.iter().nth(MOST) {
        desk.refuse(entry.key, format!("more than {MOST} ports")).label("a service can have no more of them");
    }
    for (name, entry) in table {
        check_name(desk, name, entry.key);
        let variable = Port::variable(name);
        if let Some((other, place)) = variables.insert(variable.clone(), (name, entry.key)) {
            desk.refuse(entry.key, format!("ports `{other}` and `{name}` are one variable"))
                .label(format!("`{variable}` can tell a run one number"))
                .at(place, "this is the other")
                .help("give one of them another name");
        }
        list.insert(name.clone(), port(desk, name, entry));
    }
    list
}

fn not_a_table(desk: &mut Desk<'_>, node: &Node) {
    let first = match &node.value {
        Value::List(items) => items.first(),
        _ => Some(node),
    };
    let said = match first.map(|node| &node.value) {
        Some(Value::Whole(number)) => number.to_string(),
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    // docker's `8001:80` says first what callers come to.
    let number = said.rsplit_once(':').map_or(said.as_str(), |(host, _)| host.rsplit(':').next().unwrap_or(host));
    let port = number.parse::<u16>().ok().filter(|port| *port > 0).unwrap_or(8001);
    let draft = desk.wrong("ports", node, "a table: each port has a name");
    draft.help(format!("`ports = {{ http = \"127.0.0.1:{port}\" }}`"));
}

fn check_name(desk: &mut Desk<'_>, name: &str, place: Place) {
    let is_name = |name: &str| {
        name.len() <= LONGEST && name.starts_with(|first: char| first.is_ascii_lowercase()) && service::is_name(name)
    };
    if is_name(name) {
        return;
    }
    let draft = desk.refuse(place, format!("`{name}` is not a name for a port"));
    draft.label(format!("expected `a-z`, `0-9`, `-` and `_`, at most {LONGEST} of them, a letter first"));
    let better = service::better_name(name);
    let better = if name.parse::<u16>().is_ok() { "http".to_owned() } else { better };
    if is_name(&better) {
        draft.help(format!("did you mean `{better}`?"));
    }
}

fn port(desk: &mut Desk<'_>, name: &str, entry: &Entry) -> Listed {
    let nowhere = Listen::Auto(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let place = entry.node.place;
    let Value::Table(table) = &entry.node.value else {
        let read = listening::read(desk, name, &entry.node);
        // A refused one is held for what is never refused again.
        let handover = if read.is_some() { Handover::None } else { Handover::Forward };
        let port = Port { listen: read.unwrap_or(nowhere), handover, wait: Port::WAIT };
        return Listed { port, listen: place, handover: place };
    };
    desk.check_keys(Section::Port, table);
    let listen = table.get("listen");
    let read = listen.and_then(|entry| listening::read(desk, "listen", &entry.node));
    // A word for it from elsewhere, or a slip, has been reported.
    if listen.is_none() && table.keys().all(|key| Section::Port.keys().contains(&key.as_str())) {
        desk.refuse(entry.key, format!("port `{name}` does not say where it listens"))
            .absent()
            .label("expected `listen`")
            .help("`listen = \"127.0.0.1:8001\"`, or `\"127.0.0.1:auto\"` for a free one");
    }
    let said = table.get("handover");
    let handover = match said {
        Some(entry) => handover(desk, &entry.node).unwrap_or(Handover::Forward),
        None if read.is_none() => Handover::Forward,
        None => Handover::None,
    };
    let port = Port { listen: read.unwrap_or(nowhere), handover, wait: wait(desk, table, handover) };
    let listen = listen.map_or(entry.key, |entry| entry.node.place);
    Listed { port, listen, handover: said.map_or(listen, |entry| entry.node.place) }
}

fn handover(desk: &mut Desk<'_>, node: &Node) -> Option<Handover> {
    let words = [Handover::None, Handover::Socket, Handover::Forward].map(|handover| (handover.word(), handover));
    let foreign = [
        ("activation", "socket"),
        ("socket-activation", "socket"),
        ("socket_activation", "socket"),
        ("systemd", "socket"),
        ("listen_fds", "socket"),
        ("listenfd", "socket"),
        ("inherit", "socket"),
        ("einhorn", "socket"),
        ("fd", "socket"),
        ("reuseport", "socket"),
        ("reuse_port", "socket"),
        ("so_reuseport", "socket"),
        ("proxy", "forward"),
        ("reverse-proxy", "forward"),
        ("nginx", "forward"),
        ("haproxy", "forward"),
        ("tcp", "forward"),
        ("true", "forward"),
        ("direct", "none"),
        ("false", "none"),
        ("no", "none"),
        ("off", "none"),
    ];
    desk.choice("handover", node, &words, &foreign)
}

/// Who is not forwarded waits in the kernel, or not at all.
fn wait(desk: &mut Desk<'_>, table: &Table, handover: Handover) -> std::time::Duration {
    let Some(entry) = table.get("wait") else { return Port::WAIT };
    let wait = desk.duration("wait", &entry.node, "100ms", "10m");
    if handover != Handover::Forward {
        let label = match handover {
            Handover::Socket => "callers wait in the kernel's queue, for as long as they like",
            _ => "callers are refused while no run listens",
        };
        desk.refuse(entry.key, format!("`wait` beside `handover = \"{}\"`", handover.word()))
            .label(label)
            .help("it is of `handover = \"forward\"`; remove it");
    }
    wait.unwrap_or(Port::WAIT)
}
