//! `devsup up`: starts what is missing, and in the foreground follows the logs until nothing is left or a person leaves.
//!
//! ```text
//! load manifest ─▶ find or launch the daemon ─┬─▶ -d, --wait: until each is there, or has a lasting reason not to be
//!                                             └─▶ foreground: logs on a thread, states on stderr
//!                                                   ├─ Ctrl-C, launched here ─▶ down, counting ─▶ Ctrl-C: kill
//!                                                   └─ Ctrl-C, attached; HUP; TERM; reader gone ─▶ leave, project stays
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use crate::cli::context::{Context, request_id};
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::foreground::{Foreground, Hold};
use crate::cli::outcome::{Goal, concerned, reached, standing, troubles};
use crate::cli::patience::{Verdict, until};
use crate::cli::project::{choose, look, no_such_service};
use crate::cli::render::list;
use crate::cli::stopping::{say_notes, unsaid};
use crate::cli::values::duration;
use crate::cli::verbs::config::{load, trust};
use crate::control::api::{Done, UpRequest, Watch};
use crate::control::{
    Client, Found, Launched, Start, become_system, launch, list as list_own, list_system, state_folder,
};
use crate::manifest::{Loaded, Name, template};
use crate::supervisor::By;
use crate::sys::{clock, users};

/// Start what is missing, apply what changed, leave the rest alone, and follow the logs
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C stops what this `up` started; again: kills it.\nA second `up` applies what changed; its Ctrl-C only leaves. A lost terminal stops nothing.\nWhere it can, each run has a cgroup of its own; DEVSUP_TREE=session is without.\n\nExit code: 1 if any failed, or with --wait is not ready in time; with -d or --wait 7 if AWS\nrefuses a role, 124 on time-out.\n\nExamples:\n  devsup up --sandbox\n  devsup up -d --wait --wait-timeout 1m\n  devsup up a b --exit-code-from a\n"
)]
pub(crate) struct Up {
    /// All with autostart, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// Return when each has started, or has a lasting reason not to
    #[arg(short, long)]
    detach: bool,
    /// Return when each is ready; a one-shot that ended with 0 counts
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long (the services go on)
    #[arg(long, value_name = "D", value_parser = duration, requires = "wait")]
    wait_timeout: Option<Duration>,
    /// Without what they depend on
    #[arg(long)]
    no_deps: bool,
    /// With the embedded stand-in for AWS instead of AWS
    #[arg(long, env = "DEVSUP_SANDBOX", hide_env = true)]
    sandbox: bool,
    /// Say what would be started, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Stop everything when this one ends, and end with its exit code
    #[arg(long, value_name = "SVC", conflicts_with_all = ["detach", "wait"])]
    exit_code_from: Option<String>,
    /// Read a manifest that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
    /// For a systemd unit, and for everybody whom `[access]` lets in: be the daemon, in this process
    #[arg(long, conflicts_with_all = ["detach", "wait", "exit_code_from", "own"])]
    system: bool,
    /// For a systemd user unit: be the daemon, in this process
    #[arg(long, conflicts_with_all = ["detach", "wait", "exit_code_from", "system"])]
    unit: bool,
    /// A project of your own, though a system project runs this manifest
    #[arg(long)]
    own: bool,
}

impl Up {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let loaded = load(context, trust(self.insecure_manifest))?;
        self.check(&loaded)?;
        if self.dry_run {
            return self.rehearse(context, &loaded);
        }
        if self.system || self.unit {
            return Err(become_system(&self.start(context, &loaded)).into());
        }
        self.check_shared(&loaded)?;
        let began_ns = i64::try_from(clock::realtime().as_nanos()).unwrap_or(i64::MAX);
        let launched = launch(&self.start(context, &loaded))?;
        // Those of the manifest are said already, with their places.
        let mut told: Vec<String> = loaded.warnings.iter().map(|warning| warning.title().to_owned()).collect();
        for warning in launched.warnings.iter().filter(|warning| !told.contains(warning)) {
            context.terminal.say(format_args!("{} {warning}", context.terminal.err.yellow("warning:")));
        }
        let client = Client::connect(&launched.socket).await?;
        let notes = if launched.fresh { Vec::new() } else { self.join(context, &client, &told).await? };
        if self.detach || self.wait {
            return self.detached(context, &client, &notes).await;
        }
        told.extend(launched.warnings.iter().cloned());
        self.foreground(context, client, &launched, began_ns, told).await
    }

    fn check(&self, loaded: &Loaded) -> Result<(), Failure> {
        let all: Vec<&str> = loaded.manifest.services.keys().map(Name::as_str).collect();
        let unknown = self.services.iter().chain(&self.exit_code_from).find(|name| !all.contains(&name.as_str()));
        if let Some(name) = unknown {
            return Err(no_such_service(name, &all));
        }
        let ended = self.exit_code_from.as_ref().and_then(|name| loaded.manifest.services.get(name.as_str()));
        ended.filter(|service| service.external()).map_or(Ok(()), |service| {
            let error = format!("service `{}`: devsup does not run it, so it has no exit code", service.name);
            Err(Failure::new(Kind::Usage, error))
        })
    }

    /// A manifest that the whole machine shares is not brought up a second time by oversight.
    fn check_shared(&self, loaded: &Loaded) -> Result<(), Failure> {
        let of = |found: &Found| loaded.manifest.files.first() == Some(&found.manifest);
        if self.own || list_own().into_iter().any(|found| found.pid.is_some() && of(&found)) {
            return Ok(());
        }
        let Some(system) = list_system().into_iter().find(of) else { return Ok(()) };
        let whose = users::name(system.owner);
        let error = format!("this manifest is up already, as the system project `{}` of {whose}", system.name);
        Err(Failure::new(Kind::Failed, error)
            .hint("devsup ps, logs, restart SVC … go to it; devsup reload applies what changed")
            .hint("devsup up --own starts a second one, of your own"))
    }

    fn rehearse(&self, context: &Context, loaded: &Loaded) -> Result<Code, Failure> {
        for name in self.wanted(loaded) {
            let Some(service) = loaded.manifest.services.get(&name) else { continue };
            if service.external() {
                context.terminal.print(&format!("would watch  {name}\n"))?;
                continue;
            }
            let role = service.role.as_ref().map_or_else(String::new, |role| format!("  as {}", role.arn));
            let command = shell_words::join(service.argv().iter().map(|word| template::shown(word)));
            context.terminal.print(&format!("would start  {name}  {command}{role}\n"))?;
        }
        Ok(Code::OK)
    }

    /// Those named, or all with autostart, and what they need.
    fn wanted(&self, loaded: &Loaded) -> BTreeSet<Name> {
        let services = &loaded.manifest.services;
        let mut found: Vec<Name> = match self.services.as_slice() {
            [] => services.values().filter(|service| service.autostart).map(|service| service.name.clone()).collect(),
            named => named.iter().map(|name| Name::new(name)).collect(),
        };
        let mut wanted = BTreeSet::new();
        while let Some(name) = found.pop() {
            if let Some(service) = services.get(&name).filter(|_| !self.no_deps) {
                found.extend(service.depends_on.keys().filter(|needed| !wanted.contains(*needed)).cloned());
            }
            wanted.insert(name);
        }
        wanted
    }

    fn start(&self, context: &Context, loaded: &Loaded) -> Start {
        Start {
            manifest: loaded.manifest.files.first().cloned().unwrap_or_default(),
            environment: context.handed(),
            sandbox: self.sandbox,
            unit: self.system || self.unit,
            system: self.system,
            profile: context.globals.profile.clone(),
            region: context.globals.region.clone(),
            insecure: self.insecure_manifest,
            services: self.services.clone(),
            no_deps: self.no_deps,
            by: By { uid: users::own_uid(), user: users::name(users::own_uid()) },
        }
    }

    /// The project was up already: the daemon reads the manifest again, applies what changed, starts what is missing.
    async fn join(&self, context: &Context, client: &Client, told: &[String]) -> Result<Vec<String>, Failure> {
        let request = UpRequest {
            request: request_id(),
            services: self.services.clone(),
            no_deps: self.no_deps,
            sandbox: self.sandbox,
            environment: Some(context.handed()),
        };
        let mut done: Done = client.post("/v1/up", &request).await?;
        done.notes.retain(|note| !told.contains(note));
        say_notes(context, &done);
        Ok(done.notes)
    }

    async fn detached(&self, context: &Context, client: &Client, notes: &[String]) -> Result<Code, Failure> {
        let goal = if self.wait { Goal::Ready } else { Goal::Started };
        let names = until(context, client, self.wait_timeout, |watch| self.judge(watch, goal)).await?;
        let word = if self.wait { "ready" } else { "started" };
        let names = unsaid(&names, notes);
        if !names.is_empty() {
            context.terminal.say(format_args!("{word}  {}", names.join(" ")));
        }
        Ok(Code::OK)
    }

    fn judge(&self, watch: &Watch, goal: Goal) -> Result<Verdict<Vec<String>>, Failure> {
        let names = concerned(&self.services, self.no_deps, &watch.services);
        let chosen = if names.is_empty() { Vec::new() } else { choose(&names, &watch.services)? };
        let laggards: Vec<String> = chosen
            .iter()
            .filter(|service| !reached(&standing(service, &watch.services), goal))
            .map(|service| service.name.clone())
            .collect();
        if !laggards.is_empty() {
            return Ok(Verdict::Waiting(laggards));
        }
        // What somebody else runs was not started by us.
        let ours = |name: &String| goal == Goal::Ready || chosen.iter().any(|one| one.name == *name && !one.external);
        let said = names.iter().filter(|name| ours(name)).cloned().collect();
        troubles(&chosen, &watch.services, goal).map_or(Ok(Verdict::Over(said)), Err)
    }

    async fn foreground(
        self,
        context: &Context,
        client: Client,
        launched: &Launched,
        began_ns: i64,
        told: Vec<String>,
    ) -> Result<Code, Failure> {
        let watch = look(context, &client).await?;
        let names = concerned(&self.services, self.no_deps, &watch.services);
        let hold = if launched.fresh { Hold::Launched } else { Hold::Attached };
        if hold == Hold::Attached {
            context.terminal.say(format_args!(
                "{} is up already{}; attached to {}. Ctrl-C leaves, and stops nothing",
                watch.project.name,
                if watch.project.sandbox { " (SANDBOX)" } else { "" },
                list(&names)
            ));
        }
        let mut foreground = Foreground::begin(context, client, hold, names, self.exit_code_from).await?;
        foreground.news.knows(told);
        foreground.follow(&state_folder(&launched.id), began_ns)?;
        foreground.run().await
    }
}
