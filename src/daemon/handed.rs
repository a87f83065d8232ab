//! How a role's credentials are handed to a run: as variables, by the endpoint, or by a `credential_process`; and the
//! private files that this takes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::asks::own_path;
use super::birth::Who;
use super::private::Reader;
use super::world::World;
use crate::aws::{Credentials, Handed, Proof, credential_process};
use crate::control::server::Offer;
use crate::control::{Call, server};
use crate::manifest::{Delivery, Name, Service, Token};
use crate::sys::users;

/// What one run is handed, owned until its environment is made.
pub(super) enum Handing<'a> {
    Env(&'a Credentials),
    Endpoint { url: String, token: OwnedProof, config: PathBuf },
    Process { config: PathBuf },
}

pub(super) struct OwnedProof {
    token: SecretString,
    /// Where it is written, when the process is told of a file and not of the token.
    file: Option<PathBuf>,
}

impl Handing<'_> {
    pub(super) fn as_handed(&self) -> Handed<'_> {
        match self {
            Self::Env(credentials) => Handed::Env(credentials),
            Self::Endpoint { url, token, config } => {
                let token = token.file.as_deref().map_or(Proof::Token(&token.token), Proof::File);
                Handed::Endpoint { url, token, config }
            }
            Self::Process { config } => Handed::Process { config },
        }
    }

    /// What the log is to hide though no variable holds it: (what to write instead, the secret).
    pub(super) fn redaction(&self, service: &Name) -> Option<(String, String)> {
        match self {
            Self::Endpoint { token: OwnedProof { token, file: Some(_) }, .. } => {
                Some((format!("[devsup: endpoint token of {service}]"), token.expose_secret().to_owned()))
            }
            Self::Endpoint { .. } | Self::Env(_) | Self::Process { .. } => None,
        }
    }
}

/// The way to the daemon, for doors beside the project's own socket.
pub(super) struct Gate {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) places: Arc<Semaphore>,
    /// The project's own.
    pub(super) socket: PathBuf,
}

pub(super) struct Doors {
    gate: Gate,
    open: BTreeMap<Name, Door>,
}

impl Doors {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, open: BTreeMap::new() }
    }
}

/// A control socket of one service, whose user cannot reach the project's own. Closed when dropped.
struct Door {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl World {
    /// An error is one sentence with its mend: the run does not start. `None`: it has no role, or its credentials would be
    /// variables and are not held.
    pub(super) fn hand<'a>(
        &mut self,
        service: &Service,
        who: &Who,
        held: Option<&'a Credentials>,
    ) -> Result<Option<Handing<'a>>, String> {
        Ok(match service.role.as_ref().map(|role| role.delivery) {
            Some(Delivery::Endpoint) => Some(self.by_endpoint(service, who)?),
            Some(Delivery::Process) => Some(self.by_process(service, who)?),
            Some(Delivery::Env) | None => held.map(Handing::Env),
        })
    }

    fn by_endpoint<'a>(&mut self, service: &Service, who: &Who) -> Result<Handing<'a>, String> {
        let config = self.config(service, who, None)?;
        let (url, token) = self.endpoint.seat(&service.name)?;
        let file = match service.role.as_ref().map(|role| role.token) {
            // Without a line end: some SDKs send the file as it is.
            Some(Token::File) => Some(self.private_file(service, who, "token", token.expose_secret().as_bytes())?),
            Some(Token::Env) | None => None,
        };
        Ok(Handing::Endpoint { url, token: OwnedProof { token, file }, config })
    }

    fn by_process<'a>(&mut self, service: &Service, who: &Who) -> Result<Handing<'a>, String> {
        let socket = self.door(service, who)?;
        let command = credential_process(&own_path(), &socket, service.name.as_str());
        let command =
            command.map_err(|why| format!("`delivery = \"process\"`: {why}; or `delivery = \"endpoint\"`"))?;
        let config = self.config(service, who, Some(&command))?;
        Ok(Handing::Process { config })
    }

    /// What the SDKs of the service read instead of `~/.aws/config`: the region, and whom to ask, if anybody.
    pub(super) fn config(&mut self, service: &Service, who: &Who, command: Option<&str>) -> Result<PathBuf, String> {
        let aws = self.aws();
        let region = self.region.clone().or(aws.region);
        let text = config_text(region.as_deref(), command);
        self.private.open(service.name.as_str(), reader(who), "config", text.as_bytes())
    }

    /// A secret that only the service's user (and root) can read, in memory; the same path for the life of the project. No
    /// line end is added.
    pub(super) fn private_file(
        &mut self,
        service: &Service,
        who: &Who,
        name: &str,
        content: &[u8],
    ) -> Result<PathBuf, String> {
        self.private.secret(service.name.as_str(), reader(who), name, content)
    }

    /// The socket at which processes of the service reach us. Another user cannot enter the folder of a personal project, so
    /// it gets one of its own; who comes in by it is looked at as everybody is.
    fn door(&mut self, service: &Service, who: &Who) -> Result<PathBuf, String> {
        let Reader::Other { uid, gid } = reader(who) else { return Ok(self.doors.gate.socket.clone()) };
        if self.brought.system {
            return Ok(self.doors.gate.socket.clone());
        }
        let path = match self.doors.open.get(&service.name) {
            Some(door) => door.path.clone(),
            None => self.open_door(service)?,
        };
        // Whom a name means may have changed.
        let failed = |error: io::Error| format!("socket `{}`: {error}", path.display());
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).map_err(failed)?;
        Ok(path)
    }

    fn open_door(&mut self, service: &Service) -> Result<PathBuf, String> {
        let path = self.private.folder_in_memory(service.name.as_str())?.join("control.sock");
        let failed = |error: io::Error| format!("socket `{}`: {error}", path.display());
        let listener = server::bind(&path, 0o600).map_err(failed)?;
        let known = (self.keepers.clone(), self.rules.clone());
        let serving = server::serve(
            listener,
            self.doors.gate.calls.clone(),
            known,
            Arc::clone(&self.doors.gate.places),
            Offer::Credentials,
        );
        let door = Door { path: path.clone(), serving: tokio::spawn(serving) };
        self.doors.open.insert(service.name.clone(), door);
        Ok(path)
    }

    /// The project has ended: nobody new is heard, and no file of it is left.
    pub(super) fn close_doors(&mut self) {
        self.doors.open.clear();
        self.private.sweep();
    }
}

fn reader(who: &Who) -> Reader {
    match &who.identity {
        Some(identity) if identity.uid != users::own_uid() => Reader::Other { uid: identity.uid, gid: identity.gid },
        Some(_) | None => Reader::Own,
    }
}

/// A region that is no word is none: it would be a line of its own.
fn config_text(region: Option<&str>, command: Option<&str>) -> String {
    let word = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let region = region.filter(word).map(|region| format!("region = {region}\n")).unwrap_or_default();
    let command = command.map(|command| format!("credential_process = {command}\n")).unwrap_or_default();
    format!("[default]\n{region}{command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_the_region_and_whom_to_ask() {
        assert_eq!(config_text(None, None), "[default]\n");
        assert_eq!(
            config_text(Some("eu-west-1"), Some("x")),
            "[default]\nregion = eu-west-1\ncredential_process = x\n"
        );
        assert_eq!(config_text(Some("a\ncredential_process = /evil"), None), "[default]\n", "one line stays one line");
    }
}
