//! `devsup doctor`.

use clap::Args;

use crate::cli::args::Format;
use crate::cli::context::Context;
use crate::cli::doctor::{self, Subject};
use crate::cli::failure::{Code, Failure};
use crate::cli::project::{locate, no_such_service};
use crate::cli::verbs::config::{read, trust};
use crate::control::Found;
use crate::manifest::{Loaded, Name};

/// Would `up` work here? Looks at everything it needs, tries each role, and says how to mend what is wrong
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is started or changed; each role is assumed for 15 minutes, and what AWS gives is\nwiped at once (CloudTrail shows it). The project may be up or down. With -v also the details\nof what is well, with -q only what is not.\n\nExit code: 0 `up` would work, 1 it would not, 2 the manifest has an error, 7 AWS refuses a role,\nor there is no identity to ask it with.\n\nExamples:\n  devsup doctor\n  devsup doctor a --format json\n  devsup doctor --sandbox\n"
)]
pub(crate) struct Doctor {
    /// These, and what they depend on; all, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// With the embedded stand-in for AWS instead of AWS; so too while the project is up in it
    #[arg(long, env = "DEVSUP_SANDBOX", hide_env = true)]
    sandbox: bool,
    /// Read a manifest that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
}

impl Doctor {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let (found, file) = match &context.globals.project {
            Some(_) => {
                let found = locate(context)?;
                let file = found.manifest.clone();
                (Some(found), Some(file))
            }
            None => (None, context.globals.file.clone()),
        };
        let trust = trust(self.insecure_manifest);
        let loaded = read(context, file, trust)?;
        // It may never have been up.
        let found = found.or_else(|| locate(context).ok()).filter(|found| is_of(found, &loaded));
        let named = self.named(&loaded)?;
        let subject = Subject {
            trust,
            services: doctor::with_dependencies(&loaded.manifest, &named),
            wanted: doctor::wanted(&loaded.manifest, &named),
            sandbox: self.sandbox || found.as_ref().is_some_and(|found| found.pid.is_some() && found.sandbox),
            found: found.as_ref(),
            loaded: &loaded,
        };
        let findings = doctor::examine(context, &subject).await?;
        match context.terminal.format {
            Format::Json => findings.iter().try_for_each(|finding| context.terminal.json(finding))?,
            Format::Table => {
                context.terminal.print(&doctor::text(&findings, context.terminal.out, context.terminal.talk))?;
            }
        }
        Ok(doctor::code(&findings))
    }

    fn named(&self, loaded: &Loaded) -> Result<Vec<Name>, Failure> {
        let all: Vec<&str> = loaded.manifest.services.keys().map(Name::as_str).collect();
        match self.services.iter().find(|name| !all.contains(&name.as_str())) {
            Some(unknown) => Err(no_such_service(unknown, &all)),
            None => Ok(self.services.iter().map(|name| Name::new(name)).collect()),
        }
    }
}

fn is_of(found: &Found, loaded: &Loaded) -> bool {
    loaded.manifest.files.first() == Some(&found.manifest)
}
