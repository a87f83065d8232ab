//! `devsup credential-process`: what the SDKs call when a profile names it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{connect, segment};
use crate::control::api::Issued;
use crate::control::{self, Client};

/// Print a service's credentials for an AWS SDK that asks for them (`credential_process` in a profile)
#[derive(Debug, Args)]
#[command(
    after_help = "One JSON object, as the SDKs want it. They call it by themselves: with `delivery = \"process\"`, or in a profile (devsup profile). From devsup's memory: STS is not asked each time. Each call is recorded: devsup events. What goes wrong is one line on stderr; exit code 7 when AWS refuses the role.\n\nExamples:\n  devsup profile a --install     (and then, anywhere: aws --profile shop-a s3 ls)\n  devsup credential-process a | jq -r .Expiration\n"
)]
pub(crate) struct CredentialProcess {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// Where its project listens; `devsup profile` writes it
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print them on a terminal too
    #[arg(long)]
    force: bool,
}

impl CredentialProcess {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        if context.terminal.interactive && !self.force {
            return Err(Failure::new(Kind::NotPermitted, "this prints secrets, and stdout is a terminal")
                .hint("to give them to a command: devsup exec SVC -- CMD")
                .hint("to print them all the same: --force"));
        }
        let issued = self.ask(context).await.map_err(|failure| in_one_line(&failure))?;
        context.terminal.json(&issued)?;
        Ok(Code::OK)
    }

    async fn ask(&self, context: &Context) -> Result<Issued, Failure> {
        let client = match &self.socket {
            Some(socket) => at(socket).await?,
            None => connect(context).await?.client,
        };
        Ok(client.get(&format!("/v1/credentials/{}", segment(&self.service)?)).await?)
    }
}

async fn at(socket: &Path) -> Result<Client, Failure> {
    let connected = Client::connect(socket).await;
    connected.map_err(|failed| match control::project_of(socket) {
        Ok(project) if project.up => failed.into(),
        Ok(project) => {
            let manifest = project.manifest.display();
            Failure::new(Kind::ProjectDown, format!("project `{}` is not up", project.name))
                .hint(format!("devsup -f {manifest} up -d"))
        }
        Err(_) if socket.exists() => failed.into(),
        Err(_) => Failure::new(Kind::ProjectDown, format!("no project listens at `{}`", socket.display()))
            .hint("devsup up, in its folder; if it has moved, devsup profile --install"),
    })
}

/// SDKs show the developer what stands on stderr, most of them only its first line.
fn in_one_line(failure: &Failure) -> Failure {
    let mut words = vec![failure.error.clone()];
    words.extend(failure.causes.iter().cloned());
    // A statement of a policy is no part of a line.
    let (short, long): (Vec<&String>, Vec<&String>) = failure.hints.iter().partition(|hint| !hint.contains('\n'));
    words.extend(short.into_iter().cloned());
    if !long.is_empty() {
        words.push("`devsup creds` shows how to mend it".to_owned());
    }
    let line = words.iter().map(|words| words.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    Failure::new(failure.kind, line.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_one_line() {
        let failure = Failure::new(Kind::CredentialsRefused, "service `a`: no credentials: AccessDenied")
            .cause("not authorized\nto assume it")
            .hint("ask for it")
            .hint("{\n  \"Statement\": []\n}");
        let line = in_one_line(&failure);
        assert_eq!((line.kind, line.causes.len(), line.hints.len()), (Kind::CredentialsRefused, 0, 0));
        assert_eq!(
            line.error,
            "service `a`: no credentials: AccessDenied; not authorized to assume it; ask for it; \
             `devsup creds` shows how to mend it"
        );
    }
}
