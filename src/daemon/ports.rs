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

use super::birth;
use super::probes::{Holders, is_of_project, listens_below};
use super::world::{Fact, World};
use crate::control::api::Port as Shown;
use crate::control::paths::Folder;
use crate::manifest::{Handover, Listen, Name, Port, Service};
use crate::ports::forward::{Forwarder, Target};
use crate::ports::{Listener, Made, Numbers, Place, PortId};
use crate::supervisor::{Event, Happening, Note, RunId};
use crate::sys::sockets::listens;
use crate::sys::{limits, users};

/// Whoever has the port does not tell when he lets go: he is looked for so often, and rarer when it lasts.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MOST: Duration = Duration::from_secs(2);

pub(super) struct Ports {
    pub(super) numbers: Numbers,
    bound: BTreeMap<PortId, Bound>,
    /// Begun with the first port that wants it.
    forwarder: Option<Forwarder>,
    /// Whose callers go to which run.
    routes: BTreeMap<PortId, u32>,
    /// The run that is ready, or was last and still lives.
    serving: BTreeMap<Name, u32>,
    /// Services that cannot be started.
    held: BTreeMap<Name, Held>,
    claims: u64,
    holders: Holders,
    /// As last told.
    given_up: BTreeMap<PortId, u64>,
}

struct Bound {
    listener: Listener,
    port: Port,
}

impl Bound {
    fn is_at(&self, place: &Place) -> bool {
        self.listener.place() == place && self.listener.is_there()
    }
}

/// A start that waits for somebody else's port.
struct Held {
    /// How often that was looked at.
    rounds: u32,
    claim: u64,
}

impl Ports {
    pub(super) fn of(project: &Folder) -> Self {
        let seed = format!("{}/{}", users::own_uid(), project.id());
        Self {
            numbers: Numbers::open(project.ports(), seed),
            bound: BTreeMap::new(),
            forwarder: None,
            routes: BTreeMap::new(),
            serving: BTreeMap::new(),
            held: BTreeMap::new(),
            claims: 0,
            holders: Holders::default(),
            given_up: BTreeMap::new(),
        }
    }

    /// The sockets that a run gets, by name.
    pub(super) fn passed(&self, service: &Service) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let of = self.bound.iter().filter(|(id, _)| id.service == service.name && service.ports.contains_key(&id.port));
        of.filter(|(_, bound)| bound.port.handover == Handover::Socket)
            .map(|(id, bound)| (id.port.as_str(), bound.listener.as_fd()))
    }

    /// What devsup listens at for the service is what the entry says from now on, or nothing has changed and it is said why. The
    /// places are those of its ports. `alone`: none of its runs lives.
    fn take(
        &mut self,
        service: &Service,
        places: &[Place],
        project: &str,
        made: Made,
        alone: bool,
    ) -> Result<(), String> {
        let mut fresh = Vec::new();
        for (port, place) in service.ports.values().zip(places) {
            // One that is listened at already is used again, whatever it was called.
            if self.bound.iter().any(|(id, bound)| id.service == service.name && bound.is_at(place)) {
                continue;
            }
            match port.handover {
                Handover::None => self.is_free(place, project)?,
                Handover::Socket | Handover::Forward => {
                    let listener = Listener::bind(place, made).map_err(|error| self.cannot(place, &error, project))?;
                    fresh.push(listener);
                }
            }
        }
        let mut before: BTreeMap<PortId, Bound> =
            self.bound.extract_if(.., |id, _| id.service == service.name).collect();
        let named = |name: &String| PortId { service: service.name.clone(), port: name.clone() };
        let wanted: Vec<(PortId, &Port, &Place)> =
            service.ports.iter().zip(places).map(|((name, port), place)| (named(name), port, place)).collect();
        let stays = |id: &PortId, bound: &Bound| {
            wanted.iter().any(|(other, port, place)| other == id && bound.is_at(place) && bound.port.same_use(port))
        };
        for (id, _) in before.iter().filter(|(id, bound)| !stays(id, bound)) {
            self.stop_forwarding(id);
        }
        for (id, port, place) in &wanted {
            if port.handover == Handover::None {
                continue;
            }
            let old = before.iter().find(|(_, bound)| bound.is_at(place)).map(|(id, _)| id.clone());
            let old = old.and_then(|old| Some((before.remove(&old)?, old)));
            let at = fresh.iter().position(|listener| listener.place() == *place);
            let (listener, stays) = match (old, at) {
                (Some((bound, old)), _) => {
                    let stays = old == *id && bound.port.same_use(port);
                    (bound.listener, stays)
                }
                (None, Some(at)) => (fresh.remove(at), false),
                (None, None) => continue,
            };
            self.listen(id, port, listener, stays, alone).map_err(|error| format!("{place}: {error}"))?;
        }
        Ok(())
    }

    fn listen(&mut self, id: &PortId, port: &Port, listener: Listener, stays: bool, alone: bool) -> io::Result<()> {
        match port.handover {
            Handover::Socket if alone || !stays => listener.as_new()?,
            Handover::Forward if !stays => {
                if self.forwarder.is_none() {
                    self.forwarder = Some(Forwarder::start(places())?);
                }
                if let Some(forwarder) = &self.forwarder {
                    forwarder.open(id.clone(), listener.share()?, port.wait)?;
                }
            }
            Handover::None | Handover::Socket | Handover::Forward => {}
        }
        self.bound.insert(id.clone(), Bound { listener, port: port.clone() });
        Ok(())
    }

    fn is_free(&mut self, place: &Place, project: &str) -> Result<(), String> {
        match place {
            Place::Tcp(at) => self.holders.held_by(*at, project).map_or(Ok(()), Err),
            Place::Unix(path) if listens(path) => Err(format!("{place} is held by another process")),
            Place::Unix(_) => Ok(()),
        }
    }

    fn cannot(&mut self, place: &Place, error: &io::Error, project: &str) -> String {
        match (error.kind(), place) {
            (io::ErrorKind::AddrInUse, Place::Tcp(at)) => {
                self.holders.held_by(*at, project).unwrap_or_else(|| format!("{place} is in use"))
            }
            (io::ErrorKind::AddrInUse, Place::Unix(_)) => format!("{place} is held by another process"),
            (io::ErrorKind::AddrNotAvailable, _) => format!("{place} is no address of this machine"),
            (io::ErrorKind::PermissionDenied, Place::Tcp(at)) if at.port() < 1024 => {
                format!("{place} cannot be bound: a port below 1024 is for root")
            }
            _ => format!("{place} cannot be bound: {error}"),
        }
    }

    /// A run is ready, and not told to stop.
    pub(super) fn serves(&self, service: &Name) -> bool {
        self.serving.contains_key(service)
    }

    fn stop_forwarding(&mut self, id: &PortId) {
        self.routes.remove(id);
        if let Some(forwarder) = &self.forwarder {
            forwarder.close(id);
        }
    }

    pub(super) fn let_go(&mut self, service: &Name) {
        self.held.remove(service);
        let of: Vec<PortId> = self.bound.keys().filter(|id| id.service == *service).cloned().collect();
        for id in &of {
            self.bound.remove(id);
            self.stop_forwarding(id);
        }
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
        if self.serving.get(&run.service) == Some(&run.number) {
            self.serving.remove(&run.service);
        }
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

    /// How long callers waited at worst since this was asked last, and how many waited in vain.
    fn waits(&mut self, service: &Service) -> (Duration, u64) {
        let Some(forwarder) = &self.forwarder else { return Default::default() };
        let (mut worst, mut given_up) = (Duration::ZERO, 0);
        for (name, _) in service.ports.iter().filter(|(_, port)| port.handover == Handover::Forward) {
            let id = PortId { service: service.name.clone(), port: name.clone() };
            worst = worst.max(forwarder.take_worst(&id));
            let now = forwarder.stats(&id).given_up;
            let told = self.given_up.insert(id, now).unwrap_or_default();
            given_up += now.saturating_sub(told);
        }
        (worst, given_up)
    }
}

impl World {
    pub(super) fn claim(&mut self, service: &Service) -> Event {
        let name = service.name.clone();
        let taken = self.take_ports(service);
        self.reroute(&name);
        let Err(trouble) = taken else {
            self.ports.held.remove(&name);
            return Event::Ports { service: name, trouble: None };
        };
        if self.own_run_listens(service) {
            self.ports.held.remove(&name);
            return Event::PortsOwn { service: name };
        }
        let rounds = self.ports.held.get(&name).map_or(0, |held| held.rounds) + 1;
        self.ports.claims += 1;
        let claim = self.ports.claims;
        self.ports.held.insert(name.clone(), Held { rounds, claim });
        self.later((AGAIN * rounds).min(AGAIN_MOST), Fact::PortsAgain(name.clone(), claim));
        Event::Ports { service: name, trouble: Some(trouble) }
    }

    /// Only the newest claim is repeated, and whether at all is for the supervisor to say.
    pub(super) fn ports_again(&mut self, name: &Name, claim: u64) {
        if self.ports.held.get(name).is_some_and(|held| held.claim == claim) {
            self.step(Event::PortsAgain { service: name.clone() });
        }
    }

    fn take_ports(&mut self, service: &Service) -> Result<(), String> {
        let alone = self.runs_of(&service.name).next().is_none();
        let mut places = Vec::new();
        for (name, port) in &service.ports {
            places.push(self.place(&PortId { service: service.name.clone(), port: name.clone() }, &port.listen)?);
        }
        let who = birth::who(service).ok().and_then(|who| who.identity);
        let umask = service.umask.unwrap_or(self.brought.came.umask);
        let made = Made { umask, owner: who.map(|who| (who.uid, who.gid)) };
        self.ports.take(service, &places, self.brought.folder.id(), made, alone)
    }

    /// One that moved takes its callers to the run that serves, until the next one does.
    fn reroute(&mut self, service: &Name) {
        let Some(number) = self.ports.serving.get(service).copied() else { return };
        let of = self.ports.bound.keys().filter(|id| id.service == *service && !self.ports.routes.contains_key(id));
        for id in of.cloned().collect::<Vec<_>>() {
            self.route_port(id, number);
        }
    }

    /// Where callers come to.
    pub(super) fn place(&mut self, id: &PortId, listen: &Listen) -> Result<Place, String> {
        let project = self.brought.folder.id();
        Ok(match listen {
            Listen::At(at) => Place::Tcp(*at),
            Listen::Unix(path) => Place::Unix(path.clone()),
            Listen::Auto(ip) => {
                let number = self.ports.numbers.stable(id, *ip, &|at| is_of_project(at, project));
                Place::Tcp(SocketAddr::new(*ip, number.map_err(|error| format!("port `{id}`: {error}"))?))
            }
        })
    }

    /// Numbers that the manifest names are not chosen.
    pub(super) fn keep_numbers(&mut self) {
        let ports = || self.manifest.services.values().flat_map(|service| service.ports.values());
        let fixed = ports().filter_map(|port| match port.listen {
            Listen::At(at) => Some(at.port()),
            Listen::Auto(_) | Listen::Unix(_) => None,
        });
        let is_port = |id: &PortId| {
            self.manifest.services.get(&id.service).is_some_and(|service| service.ports.contains_key(&id.port))
        };
        self.ports.numbers.keep(fixed.collect(), is_port);
    }

    /// The keepers of those that share its sockets: a keeper may live a moment longer than its tree.
    fn runs_of(&self, service: &Name) -> impl Iterator<Item = u32> {
        self.runs.iter().filter(move |(run, held)| run.service == *service && !held.gone).map(|(_, held)| held.pid)
    }

    /// At an address that devsup is to listen at from now on.
    fn own_run_listens(&mut self, service: &Service) -> bool {
        let keepers: Vec<u32> = self.runs_of(&service.name).collect();
        let wanted = service.ports.iter().filter(|(_, port)| port.handover != Handover::None);
        wanted.into_iter().any(|(name, port)| {
            let id = PortId { service: service.name.clone(), port: name.clone() };
            let bound = self.ports.bound.contains_key(&id);
            let place = self.place(&id, &port.listen).ok().filter(|_| !bound);
            place.is_some_and(|place| keepers.iter().any(|keeper| listens_below(*keeper, &place)))
        })
    }

    /// The supervisor calls it ready: from now on callers are taken to it.
    pub(super) fn route(&mut self, run: &RunId) {
        self.ports.listen_again(&run.service);
        let Some(held) = self.runs.get(run) else { return };
        self.ports.serving.insert(run.service.clone(), run.number);
        for port in held.private.keys().cloned().collect::<Vec<_>>() {
            self.route_port(PortId { service: run.service.clone(), port }, run.number);
        }
    }

    fn route_port(&mut self, id: PortId, number: u32) {
        let run = RunId { service: id.service.clone(), number };
        let private = self.runs.get(&run).and_then(|held| held.private.get(&id.port));
        // Not of a port that the manifest has no longer.
        let forwarded = self.ports.bound.get(&id).is_some_and(|bound| bound.port.handover == Handover::Forward);
        let (Some(forwarder), Some(private), true) = (&self.ports.forwarder, private, forwarded) else { return };
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), private.number);
        forwarder.route(&id, Some(Target { run: number, address }));
        self.ports.routes.insert(id, number);
    }

    /// It has ended, or is about to.
    pub(super) fn unroute(&mut self, run: &RunId) {
        self.ports.unroute(run);
        self.ports.listen_again(&run.service);
    }

    pub(super) fn drain(&mut self, run: &RunId) {
        self.forget_waits(&run.service);
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
        if self.ports.serves(&run.service) {
            self.forget_waits(&run.service);
        }
        self.ports.unroute(run);
        if let Some(forwarder) = &self.ports.forwarder {
            forwarder.cut(&run.service, run.number);
        }
    }

    /// Looks who really listens there.
    pub(super) fn name_listeners(&mut self, ports: &mut [Shown]) {
        let project = self.brought.folder.id();
        for port in ports {
            port.listener = match port.listen.parse() {
                Ok(at) => self.ports.holders.listener(at, project),
                Err(_) => listens(port.listen.as_ref()).then(|| "a process".to_owned()),
            };
        }
    }

    /// Who waited before, for one that had crashed, did not wait for the replacement that begins.
    pub(super) fn forget_waits(&mut self, service: &Name) {
        if let Some(service) = self.manifest.services.get(service).cloned() {
            self.ports.waits(&service);
        }
    }

    /// How long callers waited while a run was replaced: the forwarder has seen it; of a socket nobody can know more than since when
    /// they may have, which the supervisor says.
    pub(super) fn told_waits(&mut self, note: &mut Note) {
        let Happening::Replaced { waited_ms: Some(waited_ms), given_up, .. } = &mut note.what else { return };
        let service = note.service.as_ref().and_then(|name| self.manifest.services.get(name)).cloned();
        let Some(service) = service else { return };
        let (worst, in_vain) = self.ports.waits(&service);
        *waited_ms = (*waited_ms).max(u64::try_from(worst.as_millis()).unwrap_or(u64::MAX));
        *given_up = Some(in_vain).filter(|count| *count > 0);
    }
}

/// Each takes two descriptors; the rest is for the daemon itself, whatever callers do.
fn places() -> usize {
    const OWN: u64 = 512;
    const MOST: u64 = 8192;
    let descriptors = limits::hard(limits::Resource::Nofile).unwrap_or(MOST * 4);
    usize::try_from((descriptors.saturating_sub(OWN) / 3).clamp(16, MOST)).unwrap_or(16)
}
