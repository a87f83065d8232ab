//! The ports of services: bound before a start, passed or forwarded while runs come and go, let go when nothing of the
//! service will be started.
//!
//! ```text
//!  Claim ─▶ bound (socket, forward) or seen to be free (none) ─▶ Ports: free
//!             └─▶ somebody else has it: said by whom, looked at again until it is free
//!  Ready ─▶ routed: new callers go to this run     Drain ─▶ no new callers, the old ones leave ─▶ Drained
//!  Unclaim ─▶ let go
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tokio::sync::oneshot;

use super::probes::{held_by, listener};
use super::world::{Fact, World};
use crate::control::api::Port as Shown;
use crate::manifest::{Handover, Listen, Name, Port, Service};
use crate::ports::forward::{Forwarder, Target};
use crate::ports::{Listener, Numbers, Place, PortId};
use crate::supervisor::{Event, Happening, Note, RunId};
use crate::sys::limits;
use crate::sys::sockets::listens;

/// Whoever has the port does not tell when he lets go: he is looked for so often, and rarer when it lasts.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MOST: Duration = Duration::from_secs(2);

pub(super) struct Ports {
    pub(super) numbers: Numbers,
    umask: u32,
    bound: BTreeMap<PortId, Bound>,
    /// Begun with the first port that wants it.
    forwarder: Option<Forwarder>,
    /// Whose callers go to which run.
    routes: BTreeMap<PortId, u32>,
    /// Services that cannot be started, and how often that was looked at.
    held: BTreeMap<Name, u32>,
}

struct Bound {
    listener: Listener,
    port: Port,
}

impl Ports {
    pub(super) fn new(numbers: Numbers, umask: u32) -> Self {
        let (bound, routes, held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { numbers, umask, bound, forwarder: None, routes, held }
    }

    /// Where callers come to.
    pub(super) fn place(&mut self, id: &PortId, listen: &Listen) -> Result<Place, String> {
        Ok(match listen {
            Listen::At(at) => Place::Tcp(*at),
            Listen::Unix(path) => Place::Unix(path.clone()),
            Listen::Auto(ip) => {
                let number = self.numbers.stable(id, *ip).map_err(|error| format!("port `{id}`: {error}"))?;
                Place::Tcp(SocketAddr::new(*ip, number))
            }
        })
    }

    /// The sockets that a run gets, by name.
    pub(super) fn passed(&self, service: &Service) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let of = self.bound.iter().filter(|(id, _)| id.service == service.name);
        of.filter(|(_, bound)| bound.port.handover == Handover::Socket)
            .map(|(id, bound)| (id.port.as_str(), bound.listener.as_fd()))
    }

    /// What keeps the service from being started, one sentence. `alone`: none of its runs lives.
    fn take(&mut self, service: &Service, project: &str, alone: bool) -> Option<String> {
        let stays = |id: &PortId| id.service != service.name || service.ports.contains_key(&id.port);
        let gone: Vec<PortId> = self.bound.keys().filter(|id| !stays(id)).cloned().collect();
        gone.iter().for_each(|id| self.close(id));
        for (name, port) in &service.ports {
            let id = PortId { service: service.name.clone(), port: name.clone() };
            let taken = self.place(&id, &port.listen).and_then(|place| match port.handover {
                Handover::None => {
                    self.close(&id);
                    is_free(&place, project)
                }
                Handover::Socket | Handover::Forward => self.bind(&id, port, &place, project, alone),
            });
            if let Err(trouble) = taken {
                return Some(trouble);
            }
        }
        None
    }

    fn bind(&mut self, id: &PortId, port: &Port, place: &Place, project: &str, alone: bool) -> Result<(), String> {
        if self.bound.get(id).is_some_and(|bound| bound.listener.place() != place) {
            self.close(id);
        }
        let failed = |error: &io::Error| cannot(place, error, project);
        if let Some(bound) = self.bound.get_mut(id) {
            let same = bound.port.handover == port.handover && bound.port.wait == port.wait;
            bound.port = port.clone();
            if port.handover == Handover::Socket && alone {
                bound.listener.as_new().map_err(|error| failed(&error))?;
            }
            if same {
                return Ok(());
            }
            self.stop_forwarding(id);
        } else {
            let listener = Listener::bind(place, self.umask).map_err(|error| failed(&error))?;
            self.bound.insert(id.clone(), Bound { listener, port: port.clone() });
        }
        if port.handover == Handover::Forward {
            self.forward(id).map_err(|error| format!("{place} cannot be forwarded: {error}"))?;
        }
        Ok(())
    }

    fn forward(&mut self, id: &PortId) -> io::Result<()> {
        if self.forwarder.is_none() {
            self.forwarder = Some(Forwarder::start(places())?);
        }
        if let (Some(forwarder), Some(bound)) = (&self.forwarder, self.bound.get(id)) {
            forwarder.open(id.clone(), bound.listener.share()?, bound.port.wait)?;
        }
        Ok(())
    }

    fn stop_forwarding(&mut self, id: &PortId) {
        self.routes.remove(id);
        if let Some(forwarder) = &self.forwarder {
            forwarder.close(id);
        }
    }

    fn close(&mut self, id: &PortId) {
        if self.bound.remove(id).is_some() {
            self.stop_forwarding(id);
        }
    }

    pub(super) fn let_go(&mut self, service: &Name) {
        self.held.remove(service);
        let of: Vec<PortId> = self.bound.keys().filter(|id| id.service == *service).cloned().collect();
        of.iter().for_each(|id| self.close(id));
    }

    /// A run may have made a socket's backlog smaller, or shut the socket down.
    fn listen_again(&self, service: &Name) {
        for (id, bound) in self.bound.iter().filter(|(id, _)| id.service == *service) {
            if bound.port.handover == Handover::Socket
                && let Err(error) = bound.listener.listen_again()
            {
                tracing::warn!(%error, port = %id, "it cannot be listened on again");
            }
        }
    }

    /// New callers do not go to this run any more.
    fn unroute(&mut self, run: &RunId) {
        let Some(forwarder) = &self.forwarder else { return };
        let to_it = |id: &PortId, number: &mut u32| id.service == run.service && *number == run.number;
        for (id, _) in self.routes.extract_if(.., to_it) {
            forwarder.route(&id, None);
        }
    }

    pub(super) fn shown(&self, name: &Name, entry: Option<&Service>) -> Vec<Shown> {
        let ports = entry.into_iter().flat_map(|entry| &entry.ports);
        ports.map(|(port, said)| self.shown_one(PortId { service: name.clone(), port: port.clone() }, said)).collect()
    }

    fn shown_one(&self, id: PortId, port: &Port) -> Shown {
        let forwarder = self.forwarder.as_ref().filter(|_| port.handover == Handover::Forward);
        let stats = forwarder.map(|forwarder| forwarder.stats(&id));
        let listen = self.numbers.known(&id, &port.listen).map_or_else(|| port.listen.to_string(), |at| at.to_string());
        Shown {
            listen,
            handover: port.handover.word().to_owned(),
            listener: None,
            routed_to: self.routes.get(&id).copied(),
            open: stats.as_ref().map(|stats| stats.open.values().sum()),
            waiting: stats.map(|stats| stats.waiting),
            name: id.port,
        }
    }

    fn worst(&self, service: &Service) -> Option<Duration> {
        let forwarder = self.forwarder.as_ref()?;
        let forwarded = service.ports.iter().filter(|(_, port)| port.handover == Handover::Forward);
        forwarded
            .map(|(name, _)| forwarder.take_worst(&PortId { service: service.name.clone(), port: name.clone() }))
            .max()
    }
}

impl World {
    pub(super) fn claim(&mut self, service: &Service) -> Event {
        let alone = self.none_lives(&service.name);
        let trouble = self.ports.take(service, self.brought.folder.id(), alone);
        match &trouble {
            None => drop(self.ports.held.remove(&service.name)),
            Some(_) => {
                self.ports.held.insert(service.name.clone(), 0);
                self.later(AGAIN, Fact::PortsAgain(service.name.clone()));
            }
        }
        Event::Ports { service: service.name.clone(), trouble }
    }

    fn none_lives(&self, service: &Name) -> bool {
        !self.runs.iter().any(|(run, held)| run.service == *service && !held.gone)
    }

    pub(super) fn ports_again(&mut self, name: &Name) {
        let Some(rounds) = self.ports.held.get_mut(name) else { return };
        *rounds += 1;
        let pause = (AGAIN * *rounds).min(AGAIN_MOST);
        let Some(service) = self.manifest.services.get(name).cloned() else { return self.ports.let_go(name) };
        let alone = self.none_lives(name);
        let trouble = self.ports.take(&service, self.brought.folder.id(), alone);
        match &trouble {
            None => drop(self.ports.held.remove(name)),
            Some(_) => self.later(pause, Fact::PortsAgain(name.clone())),
        }
        self.step(Event::Ports { service: name.clone(), trouble });
    }

    /// The supervisor calls it ready: from now on callers are taken to it.
    pub(super) fn route(&mut self, run: &RunId) {
        self.ports.listen_again(&run.service);
        let (Some(forwarder), Some(held)) = (&self.ports.forwarder, self.runs.get(run)) else { return };
        for (name, reserved) in &held.private {
            let id = PortId { service: run.service.clone(), port: name.clone() };
            // Of a port that the manifest has no longer.
            if !self.ports.bound.contains_key(&id) {
                continue;
            }
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), reserved.number);
            forwarder.route(&id, Some(Target { run: run.number, address }));
            self.ports.routes.insert(id, run.number);
        }
    }

    /// It has ended, or is about to.
    pub(super) fn unroute(&mut self, run: &RunId) {
        self.ports.unroute(run);
        self.ports.listen_again(&run.service);
    }

    pub(super) fn drain(&mut self, run: &RunId) {
        if let Some(service) = self.manifest.services.get(&run.service) {
            // Who waited before, for one that had crashed, did not wait for this replacement.
            self.ports.worst(service);
        }
        self.ports.unroute(run);
        let (tell, told) = oneshot::channel::<()>();
        if let Some(forwarder) = &self.ports.forwarder {
            forwarder.drain(&run.service, run.number, move || drop(tell));
        } else {
            drop(tell);
        }
        let (facts, run) = (self.facts.clone(), run.clone());
        drop(tokio::task::spawn_local(async move {
            // Either way nothing is left to wait for.
            drop(told.await);
            drop(facts.send(Fact::Event(Event::Drained { run })));
        }));
    }

    /// Now it is told to stop, whoever is still connected.
    pub(super) fn cut(&mut self, run: &RunId) {
        self.ports.unroute(run);
        if let Some(forwarder) = &self.ports.forwarder {
            forwarder.cut(&run.service, run.number);
        }
    }

    /// Looks who really listens there.
    pub(super) fn name_listeners(&self, ports: &mut [Shown]) {
        let project = self.brought.folder.id();
        for port in ports {
            let at = port.listen.parse().ok();
            port.listener = at
                .and_then(|at| listener(at, project))
                .or_else(|| listens(port.listen.as_ref()).then(|| "a process".to_owned()));
        }
    }

    /// How long callers waited while a run was replaced: the forwarder has seen it; of a socket nobody can know more than since when
    /// they may have, which the supervisor says.
    pub(super) fn told_waits(&self, note: &mut Note) {
        let Some(service) = note.service.as_ref().and_then(|name| self.manifest.services.get(name)) else { return };
        let Happening::Replaced { waited_ms, .. } = &mut note.what else { return };
        if service.hands_over(Handover::None) {
            return;
        }
        let forwarded = self.ports.worst(service).map(|worst| u64::try_from(worst.as_millis()).unwrap_or(u64::MAX));
        let passed = service.hands_over(Handover::Socket).then(|| waited_ms.unwrap_or_default());
        *waited_ms = forwarded.max(passed);
    }
}

/// Each takes two descriptors; the rest is for the daemon itself, whatever callers do.
fn places() -> usize {
    const OWN: u64 = 512;
    const MOST: u64 = 8192;
    let descriptors = limits::hard(limits::Resource::Nofile).unwrap_or(MOST * 4);
    usize::try_from((descriptors.saturating_sub(OWN) / 3).clamp(16, MOST)).unwrap_or(16)
}

fn is_free(place: &Place, project: &str) -> Result<(), String> {
    match place {
        Place::Tcp(at) => held_by(*at, project).map_or(Ok(()), Err),
        Place::Unix(path) if listens(path) => Err(format!("{place} is held by another process")),
        Place::Unix(_) => Ok(()),
    }
}

fn cannot(place: &Place, error: &io::Error, project: &str) -> String {
    match (error.kind(), place) {
        (io::ErrorKind::AddrInUse, Place::Tcp(at)) => {
            held_by(*at, project).unwrap_or_else(|| format!("{place} is in use"))
        }
        (io::ErrorKind::AddrInUse, Place::Unix(_)) => format!("{place} is held by another process"),
        (io::ErrorKind::AddrNotAvailable, _) => format!("{place} is no address of this machine"),
        (io::ErrorKind::PermissionDenied, Place::Tcp(at)) if at.port() < 1024 => {
            format!("{place} cannot be bound: a port below 1024 is for root")
        }
        _ => format!("{place} cannot be bound: {error}"),
    }
}
