//! This machine as `up` would find it, looked at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::eyes::{self, Look, Program, Seen};
use super::metadata::{PLACES, User};
use super::waiting::Waits;
use super::{Subject, machine, project, services};
use crate::aws::{ChildSpec, Login, child_environment};
use crate::cli::context::Context;
use crate::control::Kind as Ownership;
use crate::control::paths::{Folder, root};
use crate::daemon::foresee::{Outlook, another_daemon, leftovers, who};
use crate::keeper::protocol::Identity;
use crate::keeper::would_limit;
use crate::manifest::{Resource, Service, read_env_files};
use crate::sys::inotify::Inotify;
use crate::sys::{files, identity, isolation, limits, users};

/// What `[logs] max_total` is unless the manifest says it: as much, or a tenth of the disk.
const LOGS: u64 = 2 << 30;

/// Whom a service runs as, and what it takes to look as them.
struct Whom {
    service: Service,
    who: Result<(Option<Identity>, Option<Login>), String>,
    env_file: Result<(), String>,
    path: Option<OsString>,
}

pub(super) struct Scene {
    all: Vec<Whom>,
    /// Where a personal project's files go; or why nowhere.
    folder: Result<Folder, String>,
    by_variable: bool,
    tree: Outlook,
    /// Where instance metadata is.
    places: Vec<String>,
}

impl Scene {
    pub(super) fn of(context: &Context, subject: &Subject<'_>) -> Self {
        let env = |name: &str| context.variable(name);
        let manifest = &subject.loaded.manifest;
        let file = manifest.files.first().map_or(Path::new(""), PathBuf::as_path);
        let folder = root(&env).map(|root| Folder::of(&root, &manifest.name, file)).map_err(|error| error.to_string());
        let by_variable = env("XDG_STATE_HOME").is_some_and(|path| path.starts_with('/'));
        let all = subject.services.iter().map(|service| Whom::of(context, service)).collect();
        let nowhere = |why: &String| Outlook::Session(why.clone());
        let tree = folder.as_ref().map_or_else(nowhere, |folder| Outlook::of(&context.env, folder));
        let places = env("AWS_EC2_METADATA_SERVICE_ENDPOINT")
            .filter(|place| !place.is_empty())
            .map_or_else(|| PLACES.map(str::to_owned).to_vec(), |place| vec![place.trim_end_matches('/').to_owned()]);
        Self { all, folder, by_variable, tree, places }
    }

    /// A manifest without roles keeps nobody from anything.
    pub(super) fn asks_metadata(&self) -> bool {
        self.all.iter().any(|whom| whom.service.needs_lease())
    }

    /// As each user that services run as; what could be seen, or a sentence why nothing.
    pub(super) async fn see(&self, waits: &Waits) -> Vec<(Option<Identity>, Result<Seen, String>)> {
        let mut looks: BTreeMap<Option<(u32, u32)>, Look> = BTreeMap::new();
        let places = if self.asks_metadata() { self.places.clone() } else { Vec::new() };
        for whom in self.all.iter().filter(|whom| !whom.service.external()) {
            let Ok((identity, _)) = &whom.who else { continue };
            let key = identity.as_ref().map(|identity| (identity.uid, identity.gid));
            let new = || Look { identity: identity.clone(), places: places.clone(), programs: Vec::new() };
            looks.entry(key).or_insert_with(new).programs.push(whom.program());
        }
        let mut asked = tokio::task::JoinSet::new();
        for look in looks.into_values() {
            let waiting = waits.on("instance metadata");
            asked.spawn_local(async move {
                let identity = look.identity.clone();
                let seen = eyes::look(look).await;
                drop(waiting);
                (identity, seen)
            });
        }
        let mut seen = asked.join_all().await;
        seen.sort_by_key(|(identity, _)| identity.as_ref().map(|who| who.uid));
        seen
    }

    /// Those whom services run as, with what they reach.
    pub(super) fn users(&self, seen: Vec<(Option<Identity>, Result<Seen, String>)>) -> Vec<User> {
        let own = users::own_uid();
        let user = |(identity, seen): (Option<Identity>, Result<Seen, String>)| {
            let uid = identity.as_ref().map_or(own, |who| who.uid);
            let runs_as = |whom: &&Whom| !whom.service.external() && whom.identity() == Ok(identity.as_ref());
            User {
                uid,
                name: users::name(uid),
                services: self.all.iter().filter(runs_as).map(|whom| whom.service.name.to_string()).collect(),
                own: uid == own,
                seen: seen.map(|seen| seen.places),
            }
        };
        seen.into_iter().map(user).collect()
    }

    pub(super) fn services(&self, seen: &[(Option<Identity>, Result<Seen, String>)]) -> Vec<services::Facts> {
        let found = |name: &str| {
            let programs = seen.iter().flat_map(|(_, seen)| seen.iter()).flat_map(|seen| &seen.programs);
            programs.into_iter().find(|(service, _)| service == name).map(|(_, found)| found.clone())
        };
        let facts = |whom: &Whom| services::Facts {
            name: whom.service.name.to_string(),
            program: whom.service.argv().first().cloned(),
            who: whom.who.as_ref().map(|(identity, _)| user_name(identity.as_ref())).map_err(Clone::clone),
            found: found(whom.service.name.as_str()),
            env_file: whom.env_file.clone(),
            limits: would_limit(&whom.service.limits.resources, whom.service.nice),
        };
        self.all.iter().map(facts).collect()
    }

    pub(super) fn machine(&self) -> machine::Facts {
        let own: Vec<&Whom> = self.all.iter().filter(|whom| !whom.service.external()).collect();
        let names = |wanted: &dyn Fn(&Service) -> bool| {
            let some = own.iter().filter(|whom| wanted(&whom.service));
            some.map(|whom| whom.service.name.to_string()).collect::<Vec<_>>()
        };
        let mut uids: Vec<Option<u32>> =
            own.iter().filter_map(|whom| Some(whom.identity().ok()?.map(|identity| identity.uid))).collect();
        uids.sort_unstable();
        let refused = own
            .iter()
            .filter_map(|whom| Some((whom.service.name.to_string(), self.tree.refuses(&whom.service.limits)?)));
        let watches = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
        machine::Facts {
            walls: isolation::means(),
            open: names(&|service| !service.isolate),
            as_root: names(&|service| self.is_root(service)),
            neighbours: uids.windows(2).any(|pair| pair[0] == pair[1]),
            tree: self.tree.clone(),
            refused: refused.collect(),
            services: u64::try_from(own.len()).unwrap_or(u64::MAX),
            files: limits::hard(limits::Resource::Nofile),
            inotify: Inotify::new().map(drop).map_err(|error| error.to_string()),
            watches: watches.ok().and_then(|text| text.trim().parse().ok()),
            watching: own.iter().any(|whom| !whom.service.watch.is_empty()),
            core: names(&|service| {
                service.limits.resources.get(&Resource::Core).is_some_and(|core| core.hard != Some(0))
            }),
        }
    }

    fn is_root(&self, service: &Service) -> bool {
        let whom = self.all.iter().find(|whom| whom.service.name == service.name);
        let uid = whom.and_then(|whom| whom.identity().ok()).map(|who| who.map_or_else(users::own_uid, |who| who.uid));
        uid == Some(0)
    }

    pub(super) fn project(&self, subject: &Subject<'_>) -> project::Facts {
        let up = subject.found.filter(|found| found.pid.is_some());
        let shared = up.is_some_and(|found| found.kind == Ownership::System);
        let folder = self.folder.as_ref().ok().filter(|_| !shared);
        // Of a project that is up they are its runs.
        let down = folder.filter(|_| up.is_none());
        let logs = folder.map(Folder::logs);
        let there = logs.as_deref().and_then(|logs| logs.ancestors().find(|path| path.exists()));
        let tenth = there.and_then(files::disk_size).map_or(LOGS, |disk| disk / 10);
        let examined = |folder: &Folder| folder.examine().map(|()| folder.path()).map_err(|error| error.to_string());
        let state = match &self.folder {
            Ok(folder) => (!shared).then(|| examined(folder)),
            Err(why) => Some(Err(why.clone())),
        };
        project::Facts {
            daemon: up.and_then(|found| {
                Some(project::Daemon {
                    pid: found.pid?,
                    version: found.version.clone(),
                    sandbox: found.sandbox,
                    shared_by: shared.then(|| users::name(found.owner)),
                })
            }),
            hidden: down.and_then(another_daemon),
            leftovers: down.map(leftovers).unwrap_or_default(),
            state,
            by_variable: self.by_variable,
            free: there.and_then(files::disk_free),
            wanted: subject.loaded.manifest.logs_max_total.unwrap_or(LOGS.min(tenth)),
        }
    }
}

impl Whom {
    fn of(context: &Context, service: &Service) -> Self {
        let who = who(service);
        let read = read_env_files(service).map_err(|error| error.to_string());
        let env_file = read.as_ref().map(drop).map_err(Clone::clone);
        let login = who.as_ref().ok().and_then(|(_, login)| login.as_ref());
        let environment = child_environment(&ChildSpec {
            service,
            run: 0,
            mark: String::new(),
            inherited: &context.env,
            login,
            env_files: read.unwrap_or_default(),
            ports: &[],
            handed: None,
            region: None,
            sandbox_url: None,
            base_sandbox: None,
            base_profile: None,
            devsup: Path::new("devsup"),
        });
        let path = environment.variables.into_iter().find(|variable| variable.name == "PATH");
        Self { service: service.clone(), who, env_file, path: path.map(|variable| variable.value) }
    }

    /// `None`: who devsup is. An error: nobody knows.
    fn identity(&self) -> Result<Option<&Identity>, &String> {
        self.who.as_ref().map(|(identity, _)| identity.as_ref())
    }

    fn program(&self) -> Program {
        Program {
            service: self.service.name.to_string(),
            word: self.service.argv().first().cloned().unwrap_or_default(),
            path: self.path.clone(),
            folder: self.service.working_dir.clone(),
        }
    }
}

fn user_name(identity: Option<&Identity>) -> String {
    users::name(identity.map_or_else(|| identity::own().0, |who| who.uid))
}
