//! Somebody comes to a service's terminal: which run that is, and his connection goes to its keeper.

use std::os::fd::OwnedFd;

use super::clocks::now;
use super::world::{Held, World};
use crate::control::api::{Failed, FailedKind};
use crate::control::attach::Begun;
use crate::supervisor::{By, RunId};
use crate::sys::pty::Size;

impl World {
    /// The newest run, if it has a terminal.
    pub(super) fn terminal(&self, service: &str) -> Result<Begun, Failed> {
        let name = self.known(service)?;
        let meant = self.manifest.services.get(&name).is_some_and(|entry| entry.tty);
        let newest = self.runs.iter().rfind(|(run, held)| run.service == name && !held.gone);
        match newest {
            Some((run, Held { tty: true, why, .. })) => {
                Ok(Begun { run: run.number, why: why.iter().map(ToString::to_string).collect() })
            }
            Some((run, _)) if meant => {
                let error = format!("service `{name}`: run {} was started without a terminal", run.number);
                Err(Failed::new(FailedKind::Failed, error).hint(format!("devsup restart {name}")))
            }
            None if meant => Err(self.not_there(service)),
            Some(_) | None => Err(no_terminal(service)),
        }
    }

    fn not_there(&self, service: &str) -> Failed {
        let status = self.supervisor.view(now(), service).map(|view| view.status).unwrap_or_default();
        let failed = Failed::new(FailedKind::NotRunning, format!("service `{service}`: it is not running"));
        failed.cause(status).hint(format!("devsup start {service}"))
    }

    /// A run that is over by now closes the connection, and he sees what became of it.
    pub(super) fn attach(&mut self, by: &By, service: &str, run: u32, size: Size, connection: OwnedFd) {
        let run = RunId { service: service.into(), number: run };
        let Some(held) = self.runs.get(&run) else { return };
        match held.link.borrow_mut().attach(size, connection) {
            Ok(()) => {
                let sentence = format!("attached to the terminal of run {}", run.number);
                self.journal.tell(now().wall, "attached", Some(&run.service), Some(by), sentence);
            }
            Err(error) => tracing::debug!(%error, %run, "its keeper is gone"),
        }
    }
}

fn no_terminal(service: &str) -> Failed {
    Failed::new(FailedKind::Failed, format!("service `{service}`: it has no terminal"))
        .hint(format!("to give it one: `tty = true` in `[services.{service}]`, then devsup up"))
        .hint(format!("to see what it writes: devsup logs -f {service}"))
        .hint(format!("for a shell in its environment: devsup exec {service} -- bash"))
}
