//! The credential endpoint: processes with `delivery = "endpoint"` ask here for what their service holds, as every AWS SDK asks
//! a container's.
//!
//! One listener on loopback, bound before the first run that needs it and kept for the daemon's life, for a child's environment
//! cannot change. Answers come from a table in memory that [`World`] keeps true after every step; the supervisor is not asked.
//!
//! ```text
//! accept ─▶ whole request in time? ─▶ Host, headers, path, method ─▶ token ─▶ uid ─▶ cgroup, tree ─▶ lease ─▶ 200
//!  door                                request                       table    └─── caller ────┘     answer
//! ```
//!
//! A lease lives in the table by a weak hold only: what the world has forgotten cannot be served. Must never happen: an expired
//! answer, an empty one, a role that the caller names, a token in a log, a wait for STS.

mod answer;
mod caller;
mod door;
mod request;
mod serve;
mod table;
#[cfg(test)]
mod tests;
mod token;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::rc::Rc;

use secrecy::SecretString;

pub(super) use self::caller::{Culprit, Why};
use self::serve::Desk;
use self::table::{Lease, Standing, Tree};
use super::audit::Audit;
use super::clocks::now;
use super::world::World;
use crate::control::peer::Keepers;
use crate::manifest::{Name, RoleArn};
use crate::supervisor::{RunId, Tenure};

/// The daemon's own end of it. Nothing listens before the first service that needs it.
pub(super) struct Endpoint {
    open: Option<(Rc<Desk>, SocketAddrV4)>,
    audit: Audit,
    keepers: Keepers,
}

impl Endpoint {
    pub(super) fn new(audit: Audit, keepers: Keepers) -> Self {
        Self { open: None, audit, keepers }
    }

    /// Where the service asks and what it shows there: the same for the daemon's life. An error is one sentence.
    pub(super) fn seat(&mut self, service: &Name) -> Result<(String, SecretString), String> {
        let (desk, at) = match &self.open {
            Some(open) => open,
            None => self.open.insert(
                open(&self.audit, &self.keepers)
                    .map_err(|error| format!("the credential endpoint cannot listen on 127.0.0.1: {error}"))?,
            ),
        };
        let (id, token) = desk
            .table
            .borrow_mut()
            .seat(service)
            .map_err(|error| format!("no token for the credential endpoint can be made: {error}"))?;
        Ok((format!("http://{at}{}{id}", request::CREDENTIALS), token))
    }

    fn desk(&self) -> Option<&Rc<Desk>> {
        self.open.as_ref().map(|(desk, _)| desk)
    }
}

fn open(audit: &Audit, keepers: &Keepers) -> io::Result<(Rc<Desk>, SocketAddrV4)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
    let desk = Rc::new(Desk::new(at, audit.clone(), keepers.clone()));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(tokio::task::spawn_local(door::keep(listener, Rc::clone(&desk))));
    Ok((desk, at))
}

impl World {
    /// A run that was told where to ask has its keeper: from now on its tree is known.
    pub(super) fn endpoint_began(&mut self, run: &RunId, uid: u32) {
        let (Some(desk), Some(held)) = (self.endpoint.desk(), self.runs.get(run)) else { return };
        let Some(role) = held.role.clone() else { return };
        let tree = Tree::new(run.number, held.pid, uid, role, self.cgroups.shared(run));
        desk.table.borrow_mut().began(&run.service, tree);
        self.endpoint_leases();
    }

    pub(super) fn endpoint_ended(&mut self, run: &RunId) {
        if let Some(desk) = self.endpoint.desk() {
            desk.table.borrow_mut().ended(run);
        }
    }

    /// After every step: what may be served is what the supervisor holds.
    pub(super) fn endpoint_leases(&mut self) {
        let Some(desk) = self.endpoint.desk() else { return };
        let at = now();
        let mut news = false;
        let runs = desk.table.borrow().runs();
        for (run, role) in runs {
            let standing = self.standing(&role, self.supervisor.tenure(at, &run));
            news |= desk.table.borrow_mut().stand(&run, standing);
        }
        if news {
            desk.news.notify_waiters();
        }
    }

    fn standing(&self, role: &RoleArn, tenure: Option<Tenure>) -> Standing {
        let Some(tenure) = tenure else { return Standing::default() };
        let lease = tenure.lease.map(|term| Lease {
            held: self.leases.get(&term.id).map(Rc::downgrade).unwrap_or_default(),
            ends: term.ends,
            ends_wall: term.ends_wall,
            account: role.account().to_owned(),
            role: role.to_string(),
        });
        Standing { lease, refusal: tenure.refusal }
    }
}
