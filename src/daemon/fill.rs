//! A service as one run gets it: its ports have numbers, and what its texts refer to is in its place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::World;
use crate::manifest::{Address, Check, Command, Handover, HttpUrl, Port, Probe, Service, Target, template};
use crate::ports::{Place, PortId, Reserved};
use crate::supervisor::RunId;

pub(super) struct Filled {
    pub(super) service: Arc<Service>,
    /// `PORT`, `PORT_HTTP` …
    pub(super) variables: Vec<(String, String)>,
    /// Where the run listens for what is forwarded to it.
    pub(super) private: BTreeMap<String, Reserved>,
}

/// What a run's texts may refer to.
struct Known {
    /// Where this very run is asked, by the name of its port.
    own: BTreeMap<String, Address>,
    variables: Vec<(String, String)>,
    texts: BTreeMap<String, String>,
}

impl World {
    pub(super) fn fill(&mut self, run: &RunId, service: &Service) -> Result<Filled, String> {
        let mut private = BTreeMap::new();
        for (name, _) in service.ports.iter().filter(|(_, port)| port.handover == Handover::Forward) {
            let reserved = self.ports.numbers.private().map_err(|error| format!("port `{name}`: {error}"))?;
            private.insert(name.clone(), reserved);
        }
        let numbers = private.iter().map(|(name, reserved)| (name.clone(), reserved.number)).collect();
        let known = self.known_to(service, run.number, &numbers)?;
        let elsewhere = self.elsewhere(service)?;
        let fill = |text: &str| {
            let unknown = |name: String| format!("`${{{name}}}` is not known to it");
            template::fill(text, &|name| known.texts.get(name).or_else(|| elsewhere.get(name)).cloned())
                .map_err(unknown)
        };
        let service = Arc::new(with_texts(service, Some(&known.own), &fill)?);
        Ok(Filled { service, variables: known.variables, private })
    }

    /// As the run that is there has it, or as the next one would; nothing is taken for it.
    pub(super) fn fill_for_look(&mut self, service: &Service, run: u32) -> Result<Filled, String> {
        let here = self.runs.iter().rev().find(|(id, held)| id.service == service.name && !held.private.is_empty());
        let numbers: BTreeMap<String, u16> = match here {
            Some((_, held)) => held.private.iter().map(|(name, reserved)| (name.clone(), reserved.number)).collect(),
            None => BTreeMap::new(),
        };
        let known = self.known_to(service, run, &numbers)?;
        let elsewhere = self.elsewhere(service)?;
        // What only a run has stays as it was written.
        let written = |name: &str| {
            Some(
                known
                    .texts
                    .get(name)
                    .or_else(|| elsewhere.get(name))
                    .cloned()
                    .unwrap_or_else(|| format!("${{{name}}}")),
            )
        };
        let mut service = service.clone();
        service.command = service
            .command
            .map(|command| command_with(&command, &|text| template::fill(text, &written)))
            .transpose()?;
        for value in service.env.values_mut() {
            *value = template::fill(value, &written)?;
        }
        Ok(Filled { service: Arc::new(service), variables: known.variables, private: BTreeMap::new() })
    }

    fn known_to(&mut self, service: &Service, run: u32, private: &BTreeMap<String, u16>) -> Result<Known, String> {
        let own = self.addresses(service, private)?;
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        known.insert("DEVSUP".into(), super::asks::own_path().display().to_string());
        known.insert("DEVSUP_SERVICE".into(), service.name.to_string());
        known.insert("DEVSUP_RUN".into(), format!("{}/{}#{run}", self.brought.folder.id(), service.name));
        let variables = variables(&own);
        known.extend(variables.iter().cloned());
        Ok(Known { own, variables, texts: known })
    }

    /// The ports that its texts name: `ports.db.sql`, `ports.db.sql.port`.
    fn elsewhere(&mut self, service: &Service) -> Result<BTreeMap<String, String>, String> {
        let named = RefCell::new(BTreeSet::new());
        let note = |text: &str| {
            template::fill(text, &|name| {
                named.borrow_mut().insert(name.to_owned());
                Some(String::new())
            })
        };
        with_texts(service, None, &note)?;
        let mut found = BTreeMap::new();
        for name in named.into_inner() {
            let Some((of, port)) = name.strip_prefix("ports.").and_then(|name| name.split_once('.')) else { continue };
            let (port, number) = port.strip_suffix(".port").map_or((port, false), |port| (port, true));
            let Some(other) = self.manifest.services.get(of).cloned() else { continue };
            let Some(said) = other.ports.get(port) else { continue };
            let id = PortId { service: other.name.clone(), port: port.to_owned() };
            let value = match self.place(&id, &said.listen)? {
                Place::Tcp(at) if number => at.port().to_string(),
                place => place.to_string(),
            };
            found.insert(name, value);
        }
        Ok(found)
    }

    /// Where this very run is asked, by the name of its port.
    fn addresses(
        &mut self,
        service: &Service,
        private: &BTreeMap<String, u16>,
    ) -> Result<BTreeMap<String, Address>, String> {
        let mut own = BTreeMap::new();
        for (name, port) in &service.ports {
            let id = PortId { service: service.name.clone(), port: name.clone() };
            let at = match (private.get(name), self.place(&id, &port.listen)?) {
                (Some(number), _) => Address { host: "127.0.0.1".into(), port: *number },
                (None, Place::Tcp(at)) => Address { host: reachable(at.ip()), port: at.port() },
                (None, Place::Unix(_)) => continue,
            };
            own.insert(name.clone(), at);
        }
        Ok(own)
    }
}

/// One who listens on all addresses is asked at this machine's own.
fn reachable(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => "::1".into(),
        ip => ip.to_string(),
    }
}

/// `PORT_HTTP` for each, and `PORT` for the only one.
fn variables(own: &BTreeMap<String, Address>) -> Vec<(String, String)> {
    let named = own.iter().map(|(name, at)| (Port::variable(name), at.port.to_string()));
    let mut variables: Vec<(String, String)> = named.collect();
    if let [(_, number)] = &variables[..] {
        variables.push(("PORT".into(), number.clone()));
    }
    variables
}

type Fill<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Without `own`, probes keep whom they ask.
fn with_texts(service: &Service, own: Option<&BTreeMap<String, Address>>, fill: Fill<'_>) -> Result<Service, String> {
    let mut service = service.clone();
    service.command = service.command.as_ref().map(|command| command_with(command, fill)).transpose()?;
    service.stop_command = service.stop_command.as_ref().map(|command| command_with(command, fill)).transpose()?;
    for value in service.env.values_mut() {
        *value = fill(value)?;
    }
    if let Some(ready) = &mut service.ready
        && let Check::Probe(probe) = &mut ready.check
    {
        *probe = probe_with(probe, own, fill)?;
    }
    if let Some(live) = &mut service.live {
        live.probe = probe_with(&live.probe, own, fill)?;
    }
    Ok(service)
}

fn command_with(command: &Command, fill: Fill<'_>) -> Result<Command, String> {
    Ok(match command {
        Command::Exec(argv) => Command::Exec(argv.iter().map(|word| fill(word)).collect::<Result<_, _>>()?),
        Command::Shell(line) => Command::Shell(fill(line)?),
    })
}

fn probe_with(probe: &Probe, own: Option<&BTreeMap<String, Address>>, fill: Fill<'_>) -> Result<Probe, String> {
    let at = |target: &Target| match target {
        Target::At(address) => Ok(Target::At(address.clone())),
        Target::Own(name) => {
            let Some(own) = own else { return Ok(target.clone()) };
            let address = own.get(name).cloned().ok_or_else(|| format!("port `{name}` cannot be asked"))?;
            Ok::<_, String>(Target::At(address))
        }
    };
    Ok(match probe {
        Probe::Http(url) => Probe::Http(HttpUrl { target: at(&url.target)?, path: url.path.clone() }),
        Probe::Tcp(target) => Probe::Tcp(at(target)?),
        Probe::Exec(command) => Probe::Exec(command_with(command, fill)?),
    })
}
