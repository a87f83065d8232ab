//! How a role's credentials are handed to a run: as variables, by the endpoint, or by a `credential_process`; and the
//! private files that this takes.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::birth::Who;
use super::world::World;
use crate::aws::{Credentials, Handed, Proof};
use crate::manifest::{Delivery, Name, Service, Token};

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
        let aws = self.aws();
        let region = self.region.as_deref().or(aws.region.as_deref());
        let region = region.map(|region| format!("region = {region}\n")).unwrap_or_default();
        let config = self.private_file(service, who, "config", format!("[default]\n{region}").as_bytes())?;
        let (url, token) = self.endpoint.seat(&service.name)?;
        let file = match service.role.as_ref().map(|role| role.token) {
            // Without a line end: some SDKs send the file as it is.
            Some(Token::File) => Some(self.private_file(service, who, "token", token.expose_secret().as_bytes())?),
            Some(Token::Env) | None => None,
        };
        Ok(Handing::Endpoint { url, token: OwnedProof { token, file }, config })
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
