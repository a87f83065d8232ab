//! Asks services whether they are ready and well, for as long as a run is worth asking: http and tcp from here, exec by
//! the run's keeper. Also asks for the services that others run.
//!
//! ```text
//! Spawn ─▶ followed ──Started──▶ asked until ready ──core says ready──▶ asked whether it lives ──Stop, exit──▶ forgotten
//! ```
//!
//! The loop begins and ends the tasks here; what they find comes back as facts, on change only. A service without checks has no
//! task and no timer. Must never happen: a wait for an answer in the loop, an answer of an earlier run that counts for
//! this one, a stranger on the port that is taken for the service ([`holder`]).

mod ask;
mod door;
mod holder;
mod http;
mod tasks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::ask::{Asker, Exec};
use self::holder::Tree;
pub(super) use self::holder::{Holders, is_of_project, listens_below};
use super::world::{Fact, World};
use crate::keeper::Link;
use crate::keeper::protocol::Which;
use crate::manifest::{Check, Name, Probe, Ready, Service};
use crate::supervisor::{Event, RunId};

/// A task that ends when nobody wants its answers any more.
struct Task(JoinHandle<()>);

impl Task {
    fn begin(asking: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(asking))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is asked of one run, by the entry it was born with.
struct Followed {
    service: Arc<Service>,
    ready: Option<Asking>,
    live: Option<Asking>,
}

struct Asking {
    _task: Task,
    /// The answers of the keeper to an exec probe.
    answers: mpsc::UnboundedSender<Option<String>>,
}

struct External {
    ready: Ready,
    _task: Task,
}

#[derive(Default)]
pub(super) struct Probes {
    runs: BTreeMap<RunId, Followed>,
    externals: BTreeMap<Name, External>,
}

impl Probes {
    /// A run begins.
    pub(super) fn follow(&mut self, run: &RunId, service: &Arc<Service>) {
        let followed = Followed { service: Arc::clone(service), ready: None, live: None };
        self.runs.insert(run.clone(), followed);
    }

    /// It is stopping, or over: it is not asked any more.
    pub(super) fn forget(&mut self, run: &RunId) {
        self.runs.remove(run);
    }

    /// Devsup is being ended: nobody starts any more who would wait for them.
    pub(super) fn end_externals(&mut self) {
        self.externals.clear();
    }

    /// What the keeper says of an exec probe.
    pub(super) fn answered(&self, run: &RunId, which: Which, trouble: Option<String>) {
        let Some(followed) = self.runs.get(run) else { return };
        let asking = match which {
            Which::Ready => &followed.ready,
            Which::Live => &followed.live,
        };
        if let Some(asking) = asking {
            // The task may just have ended: it wants no more answers.
            drop(asking.answers.send(trouble));
        }
    }
}

impl World {
    /// It was started: is it ready?
    pub(super) fn ask_ready(&mut self, run: &RunId) {
        let Some(ready) = self.probes.runs.get(run).and_then(|followed| followed.service.ready.clone()) else { return };
        let waits = match ready.check.clone() {
            Check::Probe(probe) => {
                let facts = self.facts.clone();
                let of = run.clone();
                let asking = self.asking(run, Which::Ready, probe, |asker| tasks::until_ready(asker, ready, of, facts));
                if let Some(followed) = self.probes.runs.get_mut(run) {
                    followed.ready = asking;
                }
                return;
            }
            Check::Log(pattern) => format!("no line of its output matched `{pattern}` yet"),
            Check::Notify => "it has not sent READY=1 yet".to_owned(),
            Check::Fd(number) => format!("it has not written a line to descriptor {number} yet"),
        };
        self.step(Event::NotReady { run: run.clone(), what: waits });
    }

    /// The supervisor calls it ready: does it stay well?
    pub(super) fn ask_live(&mut self, run: &RunId) {
        let Some(followed) = self.probes.runs.get_mut(run) else { return };
        followed.ready = None;
        let Some(live) = followed.service.live.clone() else { return };
        let facts = self.facts.clone();
        let of = run.clone();
        let asking =
            self.asking(run, Which::Live, live.probe.clone(), |asker| tasks::while_ready(asker, live, of, facts));
        if let Some(followed) = self.probes.runs.get_mut(run) {
            followed.live = asking;
        }
    }

    fn asking<F: Future<Output = ()> + 'static>(
        &self,
        run: &RunId,
        which: Which,
        probe: Probe,
        task: impl FnOnce(Asker) -> F,
    ) -> Option<Asking> {
        let held = self.runs.get(run)?;
        let (answers, heard) = mpsc::unbounded_channel();
        let tree = Tree::new(held.pid, self.brought.folder.id());
        let link: &Rc<RefCell<Link>> = &held.link;
        let asker = match probe {
            Probe::Http(url) => Asker::http(url, Some(tree))?,
            Probe::Tcp(target) => Asker::tcp(&target, Some(tree))?,
            Probe::Exec(_) => Asker::Exec(Exec::new(Rc::downgrade(link), which, heard)),
        };
        Some(Asking { _task: Task::begin(task(asker)), answers })
    }

    /// The services of the manifest that others run: asked from now on, as it says now.
    pub(super) fn ask_externals(&mut self) {
        if self.supervisor.shutting_down() {
            return;
        }
        let mut before = std::mem::take(&mut self.probes.externals);
        for service in self.manifest.services.values().filter(|service| service.external()) {
            let Some(ready) = service.ready.clone() else { continue };
            let external = match before.remove(&service.name).filter(|external| external.ready == ready) {
                Some(same) => same,
                None => External { _task: self.ask_external(service.name.clone(), &ready), ready },
            };
            self.probes.externals.insert(service.name.clone(), external);
        }
    }

    fn ask_external(&self, service: Name, ready: &Ready) -> Task {
        let facts = self.facts.clone();
        let asker = match &ready.check {
            Check::Probe(Probe::Http(url)) => Asker::http(url.clone(), None),
            Check::Probe(Probe::Tcp(target)) => Asker::tcp(target, None),
            // The manifest refuses these: there is no process of ours to ask, or to hear.
            Check::Probe(Probe::Exec(_)) | Check::Log(_) | Check::Notify | Check::Fd(_) => None,
        };
        let Some(asker) = asker else {
            let what = "an external service can only be asked by http or tcp".to_owned();
            drop(facts.send(Fact::Event(Event::External { service, trouble: Some(what) })));
            return Task::begin(async {});
        };
        Task::begin(tasks::whether_there(asker, ready.interval, service, facts))
    }
}
