//! `devsup start`, `stop` and `restart`: one service alone; the others keep their pids.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use crate::cli::context::{Context, milliseconds, request_id};
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::outcome::{Goal, Standing, reached, standing, survivor, troubles};
use crate::cli::patience::{Verdict, until};
use crate::cli::project::{Connection, choose, connect, look};
use crate::cli::render::list;
use crate::cli::stopping::{say_notes, unsaid};
use crate::cli::values::duration;
use crate::control::api::{Done, Service, ServicesRequest, Watch};
use crate::supervisor::{State, Want};

/// Which services.
#[derive(Debug, Args)]
struct Which {
    /// Which
    #[arg(value_name = "SVC", required_unless_present = "all", conflicts_with = "all")]
    services: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Start services, with what they depend on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  devsup start a\n  devsup start a b --wait\n")]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
    /// Return when they are ready, not only started
    #[arg(long)]
    wait: bool,
    /// Without what they depend on
    #[arg(long)]
    no_deps: bool,
}

/// Stop services; the others keep running
#[derive(Debug, Args)]
#[command(
    after_help = "It returns when the whole tree of each is gone. They stay down until started.\n\nExamples:\n  devsup stop a\n  devsup stop a -t 2s\n"
)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
    /// SIGKILL after this long, instead of stop_timeout
    #[arg(short, long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Replace services by new runs: fresh environment, fresh credentials, crash counter cleared
#[derive(Debug, Args)]
#[command(
    after_help = "Those that are down are started.\n\nExamples:\n  devsup restart a\n  devsup restart a --wait -t 2s\n"
)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,
    /// SIGKILL after this long, instead of stop_timeout
    #[arg(short, long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
    /// Return when they are ready, not only started
    #[arg(long)]
    wait: bool,
    /// Without what they depend on
    #[arg(long)]
    no_deps: bool,
    /// Even if somebody else holds it
    #[arg(long)]
    force: bool,
}

fn goal(wait: bool) -> Goal {
    if wait { Goal::Ready } else { Goal::Started }
}

impl Which {
    fn request(self) -> ServicesRequest {
        ServicesRequest {
            request: request_id(),
            services: self.services,
            all: self.all,
            timeout_ms: None,
            no_deps: false,
            force: false,
            environment: None,
        }
    }
}

impl Start {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let request =
            ServicesRequest { no_deps: self.no_deps, environment: connection.handed(context), ..self.which.request() };
        let done = post(context, &connection, "/v1/start", &request).await?;
        let goal = goal(self.wait);
        let watched =
            until(context, &connection.client, None, |watch| started(watch, &done.services, goal, &BTreeMap::new()))
                .await?;
        if !watched.is_empty() {
            context.terminal.say(format_args!("watching  {}", watched.join(" ")));
        }
        report(context, "started", &done, &watched);
        Ok(Code::OK)
    }
}

impl Restart {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let before: BTreeMap<String, u32> = look(context, &connection.client)
            .await?
            .services
            .into_iter()
            .filter_map(|service| service.run.map(|run| (service.name, run)))
            .collect();
        let request = ServicesRequest {
            timeout_ms: self.timeout.map(milliseconds),
            no_deps: self.no_deps,
            force: self.force,
            environment: connection.handed(context),
            ..self.which.request()
        };
        let done = post(context, &connection, "/v1/restart", &request).await?;
        // What was named has a new run; a dependency that was up already keeps its own.
        let named = |name: &String| request.all || request.services.contains(name);
        let before = before.into_iter().filter(|(name, _)| named(name)).collect();
        let goal = goal(self.wait);
        until(context, &connection.client, None, |watch| started(watch, &done.services, goal, &before)).await?;
        report(context, "restarted", &done, &[]);
        Ok(Code::OK)
    }
}

impl Stop {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        let request = ServicesRequest { timeout_ms: self.timeout.map(milliseconds), ..self.which.request() };
        let done = post(context, &connection, "/v1/stop", &request).await?;
        until(context, &connection.client, None, |watch| stopped(watch, &done.services)).await?;
        report(context, "stopped", &done, &[]);
        Ok(Code::OK)
    }
}

async fn post(
    context: &Context,
    connection: &Connection,
    path: &str,
    request: &ServicesRequest,
) -> Result<Done, Failure> {
    let done: Done = connection.client.post(path, request).await?;
    say_notes(context, &done);
    Ok(done)
}

fn report(context: &Context, word: &str, done: &Done, but: &[String]) {
    let mut names = unsaid(&done.services, &done.notes);
    names.retain(|name| !but.contains(name));
    if !names.is_empty() {
        context.terminal.say(format_args!("{word}  {}", names.join(" ")));
    }
}

/// A run newer than the one before has come to the goal, or there is a lasting reason why none will. Names those that
/// somebody else runs.
fn started(
    watch: &Watch,
    names: &[String],
    goal: Goal,
    before: &BTreeMap<String, u32>,
) -> Result<Verdict<Vec<String>>, Failure> {
    let chosen = choose_some(names, watch)?;
    overruled(&chosen, Want::Up)?;
    let laggards: Vec<String> = chosen
        .iter()
        .filter(|service| {
            let now = standing(service, &watch.services);
            let is_new = service.external || service.run > before.get(&service.name).copied();
            // Refused and blocked need no new run to be known; anything else must be said of the new one.
            let lasting = matches!(now, Standing::Refused(_) | Standing::Blocked { .. });
            !(lasting || is_new && reached(&now, goal))
        })
        .map(|service| service.name.clone())
        .collect();
    if laggards.is_empty() {
        let watched = chosen.iter().filter(|service| service.external).map(|service| service.name.clone()).collect();
        return troubles(&chosen, &watch.services, goal).map_or(Ok(Verdict::Over(watched)), Err);
    }
    Ok(Verdict::Waiting(laggards))
}

fn stopped(watch: &Watch, names: &[String]) -> Result<Verdict<()>, Failure> {
    let left: Vec<&Service> = choose_some(names, watch)?
        .into_iter()
        .filter(|service| {
            service.pid.is_some() || !matches!(service.state, State::Stopped | State::Done | State::Failed)
        })
        .collect();
    if left.is_empty() {
        return Ok(Verdict::Over(()));
    }
    overruled(&left, Want::Down)?;
    let survivors: Vec<String> = left.iter().filter_map(|service| survivor(service)).collect();
    if survivors.len() == left.len() {
        let mut failure = Failure::new(Kind::Failed, "not everything could be ended, SIGKILL included");
        failure.causes = survivors;
        return Err(failure);
    }
    Ok(Verdict::Waiting(left.iter().map(|service| service.name.clone()).collect()))
}

/// What was asked for here was undone by somebody who asked later: it will not come any more.
fn overruled(chosen: &[&Service], wanted: Want) -> Result<(), Failure> {
    let names: Vec<String> =
        chosen.iter().filter(|service| service.want != wanted).map(|service| service.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let done = match wanted {
        Want::Up => "stopped",
        Want::Down => "started",
    };
    let hint = "devsup events says who";
    Err(Failure::new(Kind::Failed, format!("another command has {done} {} meanwhile", list(&names))).hint(hint))
}

fn choose_some<'a>(names: &[String], watch: &'a Watch) -> Result<Vec<&'a Service>, Failure> {
    if names.is_empty() { Ok(Vec::new()) } else { choose(names, &watch.services) }
}
