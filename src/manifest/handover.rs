//! What must hold between a service's ports, how it is replaced, and how it is asked whether it is ready.

// The addresses alone: nothing here opens a socket.
use core::net::{IpAddr, Ipv4Addr};

use super::clashes;
use super::desk::Desk;
use super::node::{Layer, Place, Table, Value};
use super::port_list::{Listed, PortList};
use super::{Check, Handover, Listen, Probe, Replace, Service, Target, readiness};

/// `head` is where the service's name stands.
pub(super) fn check(desk: &mut Desk<'_>, head: Place, table: &Table, service: &Service) {
    let list = desk.own_ports().1.clone();
    if service.replace == Replace::Overlap {
        overlap(desk, head, table, service, &list);
    }
    if matches!(service.ready.as_ref().map(|ready| &ready.check), Some(Check::Fd(_)))
        && let Some(listed) = list.values().find(|listed| listed.port.handover == Handover::Socket)
    {
        let place = place(table, "ready", "fd").unwrap_or(head);
        desk.refuse(place, "`ready.fd` beside a port of `socket`")
            .label("sockets are passed as descriptors 3, 4, …")
            .at(listed.handover, "and this is one")
            .help("say it by `notify` or `log`");
    }
    if let Some(Check::Probe(probe)) = service.ready.as_ref().map(|ready| &ready.check) {
        asked(desk, "ready", table, service, probe, &list);
    }
    if let Some(live) = &service.live {
        asked(desk, "live", table, service, &live.probe, &list);
    }
}

fn overlap(desk: &mut Desk<'_>, head: Place, table: &Table, service: &Service, list: &PortList) {
    let said = table.get("replace").map_or(head, |entry| entry.node.place);
    for (name, listed) in list.iter().filter(|(_, listed)| listed.port.handover == Handover::None) {
        desk.refuse(listed.handover, format!("`replace = \"overlap\"` while port `{name}` is handed over by `none`"))
            .label("two runs at once cannot both listen here")
            .at(said, "so it cannot be this")
            .help("`handover = \"socket\"` if the program takes LISTEN_FDS; `\"forward\"` if it can be told a port, by `PORT`");
    }
    if service.ready.is_some() || table.get("ready").is_some_and(|entry| readiness::says_how(&entry.node)) {
        return;
    }
    let sockets = list.values().any(|listed| listed.port.handover == Handover::Socket);
    // What `[defaults]` says of all is mended in the service.
    let own = said.layer == Layer::Own;
    let draft = desk.refuse(if own { said } else { head }, "`replace = \"overlap\"` without a readiness check");
    draft.absent().label("when is the old run to be stopped?");
    if !own {
        draft.at(said, "said here, of all");
    }
    draft.help(if sockets {
        "`ready = { notify = true }`, or by `log` or `exec`: a port of `socket` takes connections with no service at all"
    } else {
        "say when the new run is ready: `ready = { notify = true }`, or by `log`, `fd` or `exec`"
    });
}

/// Would this probe ask the run that it is meant for?
fn asked(desk: &mut Desk<'_>, of: &str, table: &Table, service: &Service, probe: &Probe, list: &PortList) {
    let (key, target) = match probe {
        Probe::Http(url) => ("http", &url.target),
        Probe::Tcp(target) => ("tcp", target),
        Probe::Exec(_) => return,
    };
    let Some((name, listed)) = reached(target, list) else { return };
    let Some(place) = place(table, of, key) else { return };
    let ready = of == "ready";
    let overlap = service.replace == Replace::Overlap;
    match (listed.port.handover, key) {
        (Handover::Socket, "tcp") => {
            let help = match (ready, overlap) {
                (false, _) => "ask by `http` or `exec`",
                (true, true) => "let it say so by `notify` or `log`, or ask by `exec`",
                (true, false) => "let it say so by `notify` or `log`, or ask by `http` or `exec`",
            };
            desk.refuse(place, format!("`{of}.tcp` asks a port that devsup itself holds"))
                .label("it connects with no service at all")
                .at(listed.handover, "by `socket` it is held over all runs")
                .help(help);
        }
        (Handover::Socket, _) if ready && overlap => {
            desk.refuse(place, "`ready.http` asks a port that both runs share")
                .label("the old run may answer for the new one")
                .at(listed.handover, "by `socket` it is held over all runs")
                .help(
                    "let it say so by `notify` or `log`, or ask by `exec`; `http` is good with `replace = \"restart\"`",
                );
        }
        (Handover::Forward, _) if target.address().is_some() => {
            let implied = readiness::own_http(list) == Ok(name);
            let own = match probe {
                Probe::Http(url) if implied => format!("http = \"{}\"", url.path),
                _ => format!("tcp = \"{name}\""),
            };
            desk.refuse(place, format!("`{of}.{key}` asks the address of `forward`"))
                .label("devsup itself listens there, and lets callers through to a run that is ready already")
                .at(listed.handover, format!("port `{name}` is forwarded"))
                .help(format!("ask the run itself: `{of} = {{ {own} }}`"));
        }
        _ => {}
    }
}

/// The port of the service that a probe comes to, by its name or by its address.
fn reached<'l>(target: &Target, list: &'l PortList) -> Option<(&'l str, &'l Listed)> {
    let address = match target {
        Target::Own(name) => return list.get_key_value(name).map(|(name, listed)| (name.as_str(), listed)),
        Target::At(address) => address,
    };
    let ip = match address.host.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    let comes = |listed: &Listed| match listed.port.listen {
        // What comes to `0.0.0.0` goes to this machine.
        Listen::At(at) if at.port() == address.port => {
            clashes::takes(at, ip) && (!at.ip().is_unspecified() || ip.is_loopback() || ip.is_unspecified())
                || (ip.is_unspecified() && at.ip().is_loopback())
        }
        _ => false,
    };
    list.iter().find(|(_, listed)| comes(listed)).map(|(name, listed)| (name.as_str(), listed))
}

/// Where the table says whom it asks.
fn place(table: &Table, of: &str, key: &str) -> Option<Place> {
    match &table.get(of)?.node.value {
        Value::Table(table) => table.get(key).map(|entry| entry.node.place),
        _ => None,
    }
}
