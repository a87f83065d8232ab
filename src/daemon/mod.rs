//! Does what the supervisor decides: one loop on one thread. What takes as long as a disk does is done beside it (`retaining`).
//!
//! Entered by `main` as `devsup __daemon`, started by [`crate::control::launch`]; or as `devsup __system`, which is what
//! `up --system` becomes: the very process that systemd started, so that its signals and ours are one story. The loop waits for keepers, answers of
//! AWS, people at the control socket, signals and three clocks; makes an event of each, gives it to
//! [`Supervisor::step`](crate::supervisor::Supervisor::step) and carries out the effects. Effects are started, never
//! awaited: what comes of them is the next fact.
//!
//! ```text
//! begin ─▶ lock, socket, leftovers ─▶ loop { fact ─▶ step ─▶ effects } ─▶ Finished
//!                                      ▲                        │
//!                                      └── runs, asks, sandbox ◀┘
//! ```
//!
//! All keepers are spawned on the main thread, for the signal of a parent's death follows the thread. Must never happen: a
//! wait in the loop, a tick, a service's byte passing through here, a secret in the journal.

mod answers;
mod asks;
mod attach;
mod audit;
mod await_empty;
mod begin;
mod birth;
mod cgroups;
mod clocks;
mod commands;
mod endpoint;
mod fill;
pub mod foresee;
mod handed;
mod journal;
mod leftovers;
mod lent;
mod limits;
mod log_lines;
mod mfa;
mod notify;
mod ports;
mod private;
mod probes;
mod reload;
mod retaining;
mod runs;
mod sandbox_child;
mod sentences;
mod system;
mod watch;
mod watched;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};

pub use self::await_empty::await_empty;
pub use self::leftovers::keeper_lives;
pub(crate) use self::watched::{watched, watched_for};
pub use crate::control::{Answered, Start};

use self::begin::{Begun, Starter, begin};
use self::clocks::{Clocks, now};
use self::handed::Gate;
use self::journal::Journal;
use self::notify::Notify;
use self::private::Private;
use self::retaining::Retaining;
use self::world::{Brought, Fact, Inherited, World};
use crate::control::api::{Failed, FailedKind};
use crate::control::peer::{Keepers, Rules};
use crate::control::server::Offer;
use crate::control::{Call, convert, server};
use crate::manifest::{Loaded, Manifest, Name};
use crate::supervisor::{By, Command, Supervisor};
use crate::sys::{daemonize, signal, users};

/// Requests that wait for the loop; more wait at their sockets.
const CALLS: usize = 64;
/// How long the end waits for its own answers to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the end waits for keepers that have nothing left to keep.
const LAST_KEEPER: Duration = Duration::from_secs(2);
const SANDBOX_WITHIN: Duration = Duration::from_secs(10);

/// `devsup __daemon`: fd 0 is a socket to the `up` that started us.
pub fn run() -> ExitCode {
    let Ok(stream) = daemonize::take_stdin() else { return ExitCode::FAILURE };
    let starter = Starter::Up(stream);
    let start = starter.read();
    be(starter, start)
}

/// `devsup __system`: what `up --system` becomes. fd 0 is a memfd that says what to start; there is nobody to answer.
pub fn run_system() -> ExitCode {
    let start = match daemonize::take_stdin_file() {
        Ok(file) => begin::told(&file),
        Err(error) => Err(could_not_start(&error)),
    };
    be(Starter::Unit, start)
}

fn could_not_start(error: &io::Error) -> Failed {
    Failed::new(FailedKind::Failed, "the daemon could not start").cause(error)
}

fn be(starter: Starter, start: Result<Start, Failed>) -> ExitCode {
    let start = match start {
        Ok(start) => start,
        Err(failed) => return starter.answer(&Answered::Failed(failed)),
    };
    let fail = |starter: Starter, error: &io::Error| starter.answer(&Answered::Failed(could_not_start(error)));
    let came = match daemonize::detach() {
        Ok(came) => came,
        Err(error) => return fail(starter, &error),
    };
    let begun = match begin(start, came) {
        Ok(begun) => begun,
        Err(answered) => return starter.answer(&answered),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(starter, &error),
    };
    let local = tokio::task::LocalSet::new();
    let lived = runtime.block_on(local.run_until(live(begun, starter)));
    // A client that follows logs may leave a thread that looks at files.
    runtime.shutdown_background();
    match lived {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(%error, "devsup ends");
            ExitCode::FAILURE
        }
    }
}

/// What comes from outside.
struct Doors {
    facts: mpsc::UnboundedReceiver<Fact>,
    calls: mpsc::Receiver<Call>,
    clocks: Clocks,
    signals: tokio::net::UnixStream,
    /// Readable when a keeper has stopped or ended.
    children: tokio::net::UnixStream,
}

/// Until shutdown is complete. Answers whether everything was ended that was started.
async fn live(begun: Begun, starter: Starter) -> io::Result<bool> {
    let (tell, facts) = mpsc::unbounded_channel();
    let (call, calls) = mpsc::channel(CALLS);
    let keepers = Keepers::default();
    let signals = tokio::net::UnixStream::from_std(daemonize::end_signals()?)?;
    let children = tokio::net::UnixStream::from_std(signal::children()?)?;
    let mut doors = Doors { facts, calls, clocks: Clocks::new()?, signals, children };
    let (info, system) = (begun.info.clone(), begun.folder.system().cloned());
    let socket = info.socket.clone();
    // Of a system project: open to all, and the daemon decides who may what.
    let listener = server::bind(&socket, if system.is_some() { 0o666 } else { 0o600 })?;
    let places = server::places();
    let gate = Gate { calls: call.clone(), places: Arc::clone(&places), socket: socket.clone() };
    let (mut world, lock, wanted) = world(begun, tell, keepers.clone(), gate)?;
    if let Some(failed) = refused(&mut world, &wanted) {
        drop(std::fs::remove_file(&socket));
        starter.answer(&Answered::Failed(failed));
        return Ok(false);
    }
    let rules = world.rules.clone();
    if world.brought.sandbox {
        if let Err(failed) = sandbox_first(&mut world, &mut doors).await {
            drop(std::fs::remove_file(&socket));
            starter.answer(&Answered::Failed(failed));
            return Ok(false);
        }
    } else {
        world.make_base();
    }
    // Nobody is heard before the keepers are known that an earlier devsup left: their services are not the owner.
    world.loaded();
    let serving = tokio::spawn(server::serve(listener, call, (keepers, rules), Arc::clone(&places), Offer::Everything));
    if let Some(system) = &system {
        system.publish(&info)?;
    }
    let swept = world.end_leftovers().await;
    world.bound_logs();
    let owner = world.brought.owner.clone();
    world.command("start".to_owned(), owner, wanted);
    let id = world.brought.folder.id().to_owned();
    let warnings = swept
        .into_iter()
        .chain(world.cgroups.refused())
        .chain(world.of_root())
        .chain(world.warnings.iter().cloned())
        .collect();
    starter.answer(&Answered::Started { socket: socket.clone(), id, warnings });
    let ended = attend(&mut world, &mut doors).await;
    // Whoever waits for the end is to find nothing left of it, the last keeper included.
    drop(tokio::time::timeout(LAST_KEEPER, last_keepers(&mut world, &mut doors)).await);
    world.leave();
    serving.abort();
    let clean = world.clean();
    // Who asked for the end is still being answered, and who watches sees it by this.
    drop((world, doors));
    drop(tokio::time::timeout(LAST_WORDS, server::fell_silent(&places)).await);
    drop(std::fs::remove_file(&socket));
    if let Some(system) = system {
        system.withdraw();
    }
    drop(lock);
    ended.map(|()| clean)
}

/// The loop.
async fn attend(world: &mut World, doors: &mut Doors) -> io::Result<()> {
    let mut asked_to_end = 0_u32;
    world.tell_systemd();
    while !world.finished {
        doors.clocks.arm(world.next_wake())?;
        let (mut signal, mut child) = ([0_u8; 16], [0_u8; 64]);
        tokio::select! {
            biased;
            read = doors.signals.read(&mut signal) => {
                for _ in 0..read? {
                    asked_to_end += 1;
                    end(world, asked_to_end);
                }
            }
            // Before those who talk: however many they are, no deadline waits for them.
            ticked = doors.clocks.ticked() => {
                ticked?;
                world.woke();
            }
            read = doors.children.read(&mut child) => {
                read?;
                world.resume_keepers();
            }
            Some(fact) = doors.facts.recv() => world.fact(fact),
            Some(call) = doors.calls.recv() => {
                world.called(call);
                // However many they are, clocks and signals are looked at between two.
                tokio::task::yield_now().await;
            }
        }
        // Whatever came meanwhile is one change for those who watch.
        while let Ok(fact) = doors.facts.try_recv() {
            world.fact(fact);
        }
        world.show();
        world.tell_systemd();
    }
    Ok(())
}

/// A keeper ends a moment after it said that its tree is empty.
async fn last_keepers(world: &mut World, doors: &mut Doors) {
    while !world.runs.is_empty() {
        let Some(fact) = doors.facts.recv().await else { return };
        world.fact(fact);
    }
}

/// The first signal shuts down in order, the second kills every tree.
fn end(world: &mut World, times: u32) {
    let uid = users::own_uid();
    let by = By { uid, user: format!("{}, by a signal", users::name(uid)) };
    let command = if times == 1 { Command::Shutdown { timeout: None } } else { Command::KillAll };
    world.command(format!("signal-{times}"), by, command);
}

/// Why nothing is begun at all.
fn refused(world: &mut World, wanted: &Command) -> Option<Failed> {
    let Command::Start { services, no_deps } = wanted else { return None };
    let manifest = world.manifest.clone();
    world.limits_refused(&manifest, services, *no_deps)
}

/// The sandbox must say where it is before anything starts.
async fn sandbox_first(world: &mut World, doors: &mut Doors) -> Result<(), Failed> {
    let failed = |why: String| Failed::new(FailedKind::Failed, "the sandbox did not start").cause(why);
    world.start_sandbox().map_err(|error| failed(error.to_string()))?;
    match tokio::time::timeout(SANDBOX_WITHIN, doors.facts.recv()).await {
        Ok(Some(Fact::SandboxDown(why))) => Err(failed(why)),
        Ok(Some(fact)) => {
            world.fact(fact);
            Ok(())
        }
        Ok(None) | Err(_) => Err(failed("it did not say where it is in time".to_owned())),
    }
}

/// Those that were named, or all that start by themselves.
fn wanted(start: &Start, manifest: &Manifest) -> Command {
    let services = if start.services.is_empty() {
        manifest.services.values().filter(|service| service.autostart).map(|service| service.name.clone()).collect()
    } else {
        start.services.iter().map(|name| Name::new(name)).collect()
    };
    Command::Start { services, no_deps: start.no_deps }
}

fn first_warnings(loaded: &Loaded, system: bool) -> BTreeSet<String> {
    let of_manifest = loaded.warnings.iter().map(|warning| warning.title().to_owned());
    let personal = (!system).then(|| system::personal_warnings(loaded));
    of_manifest.chain(personal.into_iter().flatten()).collect()
}

/// The daemon's things, the project's lock, and what was asked to be started.
fn world(
    begun: Begun,
    facts: mpsc::UnboundedSender<Fact>,
    keepers: Keepers,
    gate: Gate,
) -> io::Result<(World, crate::sys::lock::Lock, Command)> {
    let Begun { start, loaded, folder, lock, came, info: _, cgroups } = begun;
    let (warnings, manifest) = (first_warnings(&loaded, start.system), loaded.manifest);
    let (wanted, since) = (wanted(&start, &manifest), now().wall);
    let from = format!("{}, {}", start.by.user, convert::clock_time(since));
    let audit = audit::Audit::new(facts.clone());
    let private = Private::of(&folder, &|name| Inherited::lookup(&start.environment.env, name));
    let (journal, retaining) = (Journal::open(folder.events())?, Retaining::begin(folder.logs())?);
    let ports = ports::Ports::of(&folder);
    let world = World {
        notify: Notify::of(&start),
        brought: Brought {
            manifest: start.manifest,
            folder,
            sandbox: start.sandbox,
            insecure: start.insecure,
            came,
            profile: start.profile,
            region: start.region,
            since,
            began: now().mono,
            owner: start.by,
            system: start.system,
        },
        warnings,
        region: manifest.aws.region.clone(),
        manifest,
        inherited: Inherited { env: Rc::new(start.environment.env), from },
        supervisor: Supervisor::new(daemonize::seed()),
        base: None,
        sandbox: None,
        sandbox_base: None,
        sandbox_port: 0,
        base_identity: None,
        asking: Rc::new(Semaphore::new(asks::ASKS_AT_ONCE)),
        leases: BTreeMap::new(),
        lent: lent::Lent::default(),
        audit: audit.clone(),
        private,
        doors: handed::Doors::new(gate),
        runs: BTreeMap::new(),
        locks: BTreeMap::new(),
        occupied: BTreeMap::new(),
        survivors: BTreeMap::new(),
        probes: probes::Probes::default(),
        ports,
        endpoint: endpoint::Endpoint::new(audit, keepers.clone()),
        cgroups,
        journal,
        retaining,
        watches: None,
        keepers,
        rules: Rules::default(),
        facts,
        watchers: tokio::sync::watch::Sender::new(Bytes::new()),
        answered: VecDeque::new(),
        finished: false,
        stepped: now(),
    };
    world.open_to_groups();
    Ok((world, lock, wanted))
}
