//! Which project a command means, and the way to its daemon. No manifest is read here: `ps` must be quick, and must work
//! while the manifest is being edited.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::render::list;
use crate::control::api::{Handed, Project, Service, VERSION, Watch};
use crate::control::{self, Client, Found, Kind as Ownership, Lines};
use crate::manifest;
use crate::sys::users;

/// A daemon that answers.
pub(crate) struct Connection {
    pub client: Client,
    pub found: Found,
}

impl Connection {
    /// The environment the command was typed in, if the project is our own: nobody else's daemon gets to see it.
    pub(crate) fn handed(&self, context: &Context) -> Option<Handed> {
        (self.found.owner == users::own_uid()).then(|| context.handed())
    }
}

/// The project meant, whether it is up or not: one's own first, then one that the whole machine shares.
pub(crate) fn locate(context: &Context) -> Result<Found, Failure> {
    let (own, system) = (control::list(), control::list_system());
    let found = match &context.globals.project {
        Some(name) => by_name(name, own, system),
        None => by_manifest(&manifest_path(context)?, own, system),
    }?;
    if found.kind == Ownership::System && !context.told_of_system.replace(true) {
        let whose = users::name(found.owner);
        context.terminal.say(format_args!("system project `{}` of {whose}", found.name));
    }
    Ok(found)
}

/// One that is up goes before one that has only left its history.
fn by_manifest(path: &Path, own: Vec<Found>, system: Vec<Found>) -> Result<Found, Failure> {
    let mut all: Vec<Found> = own.into_iter().chain(system).filter(|found| found.manifest == path).collect();
    all.sort_by_key(|found| found.pid.is_none());
    all.into_iter().next().ok_or_else(|| {
        Failure::new(Kind::ProjectDown, format!("the project of `{}` is not up", path.display())).hint("devsup up")
    })
}

fn by_name(name: &str, own: Vec<Found>, system: Vec<Found>) -> Result<Found, Failure> {
    let named = |found: &Found| found.name == name || found.id == name;
    let mut matching: Vec<Found> = own.into_iter().filter(named).collect();
    let shared: Vec<Found> = system.into_iter().filter(named).collect();
    if matching.iter().any(|found| found.pid.is_some()) {
        matching.retain(|found| found.pid.is_some());
    } else if !shared.is_empty() {
        matching = shared;
    }
    match (matching.pop(), matching.len()) {
        (None, _) => Err(Failure::new(Kind::ProjectDown, format!("project `{name}` is not up")).hint("devsup ls")),
        (Some(one), 0) => Ok(one),
        (Some(last), _) => {
            let mut ids: Vec<&str> = matching.iter().map(|found| found.id.as_str()).collect();
            ids.push(&last.id);
            Err(Failure::new(Kind::Usage, format!("project `{name}` is the name of several: {}", list(&ids)))
                .hint(format!("devsup -p {} …", last.id)))
        }
    }
}

/// Where the manifest is, symlinks resolved: that is what a project is known by.
pub(crate) fn manifest_path(context: &Context) -> Result<PathBuf, Failure> {
    let found = manifest::find(context.globals.file.as_deref(), &context.cwd).map_err(|error| {
        Failure::new(Kind::Usage, error.to_string())
            .hint("devsup -f FILE …, or by the name of a project that is up: devsup ls, devsup -p NAME …")
    })?;
    found.canonicalize().map_err(|error| {
        Failure::new(Kind::Usage, format!("manifest `{}` cannot be read", found.display())).cause(error)
    })
}

pub(crate) async fn connect(context: &Context) -> Result<Connection, Failure> {
    let found = locate(context)?;
    if found.pid.is_none() {
        return Err(Failure::new(Kind::ProjectDown, format!("project `{}` is not up", found.name)).hint("devsup up"));
    }
    let client = Client::connect(&found.socket).await?;
    Ok(Connection { client, found })
}

/// The stream of states: one now, one after every change.
pub(crate) struct Watching {
    lines: Lines,
}

impl Watching {
    pub(crate) async fn open(client: &Client) -> Result<Self, Failure> {
        Ok(Self { lines: client.lines("/v1/watch").await? })
    }

    /// `None`: the daemon has ended. Cancelling the wait loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Watch>, Failure> {
        let Some(line) = self.lines.next().await? else { return Ok(None) };
        let watch = serde_json::from_str(&line).map_err(|error| {
            Failure::new(Kind::Failed, "the daemon's answer is not understood")
                .cause(error)
                .hint(format!("is it another version? this is {VERSION}; devsup down, then devsup up"))
        })?;
        Ok(Some(watch))
    }
}

/// One look at everything, in one request.
pub(crate) async fn look(context: &Context, client: &Client) -> Result<Watch, Failure> {
    let watch = Watching::open(client).await?.next().await?.ok_or_else(gone)?;
    skew(context, &watch.project);
    Ok(watch)
}

pub(crate) fn gone() -> Failure {
    Failure::new(Kind::Failed, "devsup's daemon has ended unexpectedly")
        .cause("its keepers stop the services, politely and then by force")
        .hint("devsup logs --daemon")
}

/// Version skew is said plainly.
fn skew(context: &Context, project: &Project) {
    if project.version != VERSION {
        context.terminal.say(format_args!(
            "project `{}` is kept by devsup {}, this is {VERSION}: `devsup down` and `devsup up` change that",
            project.name, project.version
        ));
    }
}

/// A name as part of a request's path; what could be no service's name is none.
pub(crate) fn segment(name: &str) -> Result<&str, Failure> {
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && name.bytes().all(ordinary) { Ok(name) } else { Err(no_such_service(name, &[])) }
}

/// The services named, in the order named; all if none is.
pub(crate) fn choose<'a>(names: &[String], services: &'a [Service]) -> Result<Vec<&'a Service>, Failure> {
    if names.is_empty() {
        return Ok(services.iter().collect());
    }
    let all: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    names
        .iter()
        .map(|name| services.iter().find(|service| service.name == *name).ok_or_else(|| no_such_service(name, &all)))
        .collect()
}

pub(crate) fn no_such_service(name: &str, all: &[&str]) -> Failure {
    let near = all
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, _)| *distance <= 1 + name.chars().count() / 3)
        .min();
    let failure = Failure::new(Kind::NoSuchService, format!("service `{name}`: no such service"));
    match near {
        Some((_, known)) => failure.hint(format!("did you mean `{known}`?")),
        None if all.is_empty() => failure,
        None => failure.hint(format!("there {} {}", if all.len() == 1 { "is" } else { "are" }, list(all))),
    }
}
