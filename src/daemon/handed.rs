//! How a role's credentials are handed to a run: as variables, by the endpoint, or by a `credential_process`; and the
//! private files that this takes.

use std::path::PathBuf;

use secrecy::SecretString;

use super::birth::Who;
use super::world::World;
use crate::aws::{Credentials, Handed, Proof};
use crate::manifest::{Delivery, Service};

/// What one run is handed, owned until its environment is made.
pub(super) enum Handing<'a> {
    Env(&'a Credentials),
    Endpoint { url: String, token: OwnedProof, config: PathBuf },
    Process { config: PathBuf },
}

pub(super) enum OwnedProof {
    Token(SecretString),
    File(PathBuf),
}

impl Handing<'_> {
    pub(super) fn as_handed(&self) -> Handed<'_> {
        match self {
            Self::Env(credentials) => Handed::Env(credentials),
            Self::Endpoint { url, token, config } => {
                let token = match token {
                    OwnedProof::Token(token) => Proof::Token(token),
                    OwnedProof::File(path) => Proof::File(path),
                };
                Handed::Endpoint { url, token, config }
            }
            Self::Process { config } => Handed::Process { config },
        }
    }
}

impl World {
    /// An error is one sentence with its mend: the run does not start.
    pub(super) fn hand<'a>(
        &mut self,
        service: &Service,
        who: &Who,
        held: &'a Credentials,
    ) -> Result<Handing<'a>, String> {
        match service.role.as_ref().map(|role| role.delivery) {
            Some(Delivery::Endpoint) => self.by_endpoint(service, who),
            Some(Delivery::Process) => self.by_process(service, who),
            Some(Delivery::Env) | None => Ok(Handing::Env(held)),
        }
    }

    fn by_endpoint<'a>(&mut self, service: &Service, who: &Who) -> Result<Handing<'a>, String> {
        let config = self.private_file(service, who, "config", b"[default]\n")?;
        Err(format!("{}: the endpoint is not served yet", config.display()))
    }

    fn by_process<'a>(&mut self, service: &Service, who: &Who) -> Result<Handing<'a>, String> {
        let config = self.private_file(service, who, "config", b"[default]\n")?;
        Ok(Handing::Process { config })
    }

    /// A file that only the service's user (and root) can read; the same path for the life of the project.
    fn private_file(&mut self, service: &Service, _who: &Who, name: &str, content: &[u8]) -> Result<PathBuf, String> {
        let folder = self.brought.folder.path().join("handed").join(service.name.as_str());
        let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
        crate::control::paths::private_folder(&folder).map_err(|error| error.to_string())?;
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(failed)?;
        Ok(path)
    }
}
