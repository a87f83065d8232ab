//! `devsup profile`: services as profiles of `~/.aws/config`, for tools that devsup does not start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::config;
use crate::aws::credential_process;
use crate::cli::args::Format;
use crate::cli::aws_config::{Part, Profile as Entry, line_in_credentials};
use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{locate, manifest_path, no_such_service};
use crate::control::paths::{Folder, root};
use crate::manifest::{Aws, Manifest, Service, Trust};
use crate::sys::users;

/// A service's role for tools devsup did not start: the AWS CLI, an IDE, a notebook
#[derive(Debug, Args)]
#[command(
    after_help = "Prints `[profile PROJECT-SVC]` entries for ~/.aws/config (AWS_CONFIG_FILE, if it is set). No\nsecret is in them: they name devsup, which is asked for credentials whenever a tool needs\nthem, as long as the project is up; the service itself may be down.\n\nExamples:\n  devsup profile\n  devsup profile a --install\n  aws --profile shop-a s3 ls\n  devsup profile --remove\n"
)]
pub(crate) struct Profile {
    /// All that have a role, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// Put them into the file, instead of what this project has there; everything else is kept
    #[arg(long)]
    install: bool,
    /// Take out what this project has there
    #[arg(long, conflicts_with_all = ["install", "services"])]
    remove: bool,
}

/// What is known of the project, up or not.
struct Known {
    id: String,
    socket: PathBuf,
    up: bool,
    sandbox: bool,
    manifest: Manifest,
}

impl Profile {
    pub(crate) fn run(self, context: &Context) -> Result<Code, Failure> {
        if self.remove {
            let id = locate(context).map(|found| found.id).or_else(|_| of_manifest(context).map(|known| known.id))?;
            return remove(context, &Part { id: &id });
        }
        let known = known(context)?;
        let entries = self.entries(context, &known)?;
        if self.install {
            install(context, &Part { id: &known.id }, &entries)?;
        } else {
            for entry in &entries {
                match context.terminal.format {
                    Format::Json => context.terminal.json(&json(entry))?,
                    Format::Table => context.terminal.print(&entry.to_string())?,
                }
            }
        }
        if !known.up {
            let name = &known.manifest.name;
            context.terminal.say(format_args!("project `{name}` is not up: until `devsup up` these give nothing"));
        } else if known.sandbox {
            context.terminal.say("the project is up with --sandbox: its credentials are worth nothing at AWS");
        }
        Ok(Code::OK)
    }

    fn entries(&self, context: &Context, known: &Known) -> Result<Vec<Entry>, Failure> {
        let services = self.chosen(&known.manifest)?;
        let Aws { region, .. } = &known.manifest.aws;
        let region = context.globals.region.as_ref().or(region.as_ref());
        let devsup = std::env::current_exe()
            .map_err(|error| Failure::new(Kind::Failed, "devsup does not know where it is").cause(error))?;
        let entry = |service: &Service| {
            let command = credential_process(&devsup, &known.socket, service.name.as_str());
            Ok(Entry {
                name: format!("{}-{}", known.manifest.name, service.name),
                command: command.map_err(|why| Failure::new(Kind::Failed, why))?,
                region: region.cloned(),
            })
        };
        services.into_iter().map(entry).collect()
    }

    fn chosen<'a>(&self, manifest: &'a Manifest) -> Result<Vec<&'a Service>, Failure> {
        let all: Vec<&str> = manifest.services.keys().map(crate::manifest::Name::as_str).collect();
        if self.services.is_empty() {
            let with_role: Vec<&Service> =
                manifest.services.values().map(|service| &**service).filter(|service| service.role.is_some()).collect();
            if with_role.is_empty() {
                return Err(Failure::new(Kind::Failed, "no service has a role").hint("`role` in the manifest"));
            }
            return Ok(with_role);
        }
        let find = |name: &String| {
            let service = manifest.services.get(name.as_str()).ok_or_else(|| no_such_service(name, &all))?;
            if service.role.is_none() {
                return Err(Failure::new(Kind::Failed, format!("service `{name}`: has no role"))
                    .hint("`role` in the manifest gives it one"));
            }
            Ok(&**service)
        };
        self.services.iter().map(find).collect()
    }
}

fn json(entry: &Entry) -> serde_json::Value {
    serde_json::json!({ "profile": entry.name, "credential_process": entry.command, "region": entry.region })
}

/// One that has been up is known by what it left; else by its manifest.
fn known(context: &Context) -> Result<Known, Failure> {
    let Ok(found) = locate(context) else { return of_manifest(context) };
    let manifest = config::load_file(context, Some(found.manifest), Trust::Strict)?.manifest;
    Ok(Known { id: found.id, socket: found.socket, up: found.pid.is_some(), sandbox: found.sandbox, manifest })
}

fn of_manifest(context: &Context) -> Result<Known, Failure> {
    if let Some(name) = &context.globals.project {
        return Err(Failure::new(Kind::ProjectDown, format!("project `{name}` has never been up")).hint("devsup ls"));
    }
    let path = manifest_path(context)?;
    let manifest = config::load_file(context, Some(path.clone()), Trust::Strict)?.manifest;
    let env = |name: &str| context.variable(name);
    let failed = |error: crate::control::paths::StateError| Failure::new(Kind::Failed, error.to_string());
    let folder = Folder::of(&root(&env).map_err(failed)?, &manifest.name, &path);
    let socket = folder.socket(&env).map_err(failed)?;
    Ok(Known { id: folder.id().to_owned(), socket, up: false, sandbox: false, manifest })
}

fn install(context: &Context, part: &Part<'_>, entries: &[Entry]) -> Result<(), Failure> {
    let place = Place::find(context)?;
    for entry in entries {
        let taken = fs::read(&place.credentials).ok().and_then(|text| line_in_credentials(&text, &entry.name));
        if let Some(line) = taken {
            let file = place.credentials.display();
            let error = format!("`{file}`, line {line}: profile `{}` has keys there, and they would win", entry.name);
            return Err(Failure::new(Kind::Failed, error).hint("remove them, or give the project another `name`"));
        }
    }
    let old = place.read()?;
    let new = part.install(&old, entries).map_err(|trouble| {
        let hint = "rename or remove it, or give the project another `name`; nothing was written";
        Failure::new(Kind::Failed, format!("`{}`, {trouble}", place.config.display())).hint(hint)
    })?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let names = names.join(", ");
    if new == old {
        context.terminal.say(format_args!("`{}` has {names} already", place.config.display()));
        return Ok(());
    }
    place.write(&new)?;
    context.terminal.say(format_args!("{names} written to `{}`", place.config.display()));
    Ok(())
}

fn remove(context: &Context, part: &Part<'_>) -> Result<Code, Failure> {
    let place = Place::find(context)?;
    let old = place.read()?;
    let new = part.remove(&old).map_err(|trouble| {
        Failure::new(Kind::Failed, format!("`{}`, {trouble}", place.config.display()))
            .hint("mend it by hand; nothing was written")
    })?;
    if new == old {
        context.terminal.say(format_args!("`{}` has nothing of this project", place.config.display()));
    } else {
        place.write(&new)?;
        context.terminal.say(format_args!("this project's profiles are out of `{}`", place.config.display()));
    }
    Ok(Code::OK)
}

/// The files that the SDKs read.
struct Place {
    /// Links resolved: people keep it elsewhere.
    config: PathBuf,
    credentials: PathBuf,
}

impl Place {
    fn find(context: &Context) -> Result<Self, Failure> {
        let home = context.variable("HOME").map(PathBuf::from).or_else(|| users::home(users::own_uid()));
        let place = |variable: &str, usual: &str| {
            let said = context.variable(variable).filter(|path| !path.is_empty());
            let said = said.unwrap_or_else(|| format!("~/.aws/{usual}"));
            match (said.strip_prefix("~/"), &home) {
                (Some(rest), Some(home)) => Ok(home.join(rest)),
                (Some(_), None) => Err(Failure::new(Kind::Failed, "HOME is not set, so there is no ~/.aws/config")),
                (None, _) => Ok(context.cwd.join(said)),
            }
        };
        let config = place("AWS_CONFIG_FILE", "config")?;
        let config = config.canonicalize().unwrap_or(config);
        if fs::metadata(&config).is_ok_and(|found| !found.is_file()) {
            return Err(Failure::new(Kind::Failed, format!("`{}` is not a file", config.display()))
                .hint("AWS_CONFIG_FILE says where the profiles are"));
        }
        Ok(Self { config, credentials: place("AWS_SHARED_CREDENTIALS_FILE", "credentials")? })
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        match fs::read(&self.config) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| self.failed("read", &error)),
        }
    }

    /// In one step, with the mode and owner it had.
    fn write(&self, text: &[u8]) -> Result<(), Failure> {
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o700).create(folder).map_err(|error| self.failed("written", &error))?;
        let beside = self.config.with_extension(format!("devsup-{}", std::process::id()));
        let written = self.replace(&beside, text);
        if written.is_err() {
            // It may not even be there.
            drop(fs::remove_file(&beside));
        }
        written.map_err(|error| self.failed("written", &error))
    }

    fn replace(&self, beside: &Path, text: &[u8]) -> io::Result<()> {
        let mut file: File = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        file.write_all(text)?;
        if let Ok(old) = fs::metadata(&self.config) {
            let new = file.metadata()?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.sync_all()?;
        fs::rename(beside, &self.config)
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        Failure::new(Kind::Failed, format!("`{}` cannot be {what}", self.config.display())).cause(error)
    }
}
