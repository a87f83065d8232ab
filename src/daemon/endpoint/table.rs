//! Who may ask, and for what: one seat a service, made when it is first needed and kept for the daemon's life.

use std::collections::BTreeMap;
use std::io;
use std::rc::{Rc, Weak};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::token;
use crate::daemon::world::HeldLease;
use crate::manifest::{Name, RoleArn};
use crate::supervisor::{Boot, Refusal, RunId, Wall};
use crate::sys::cgroup::Cgroup;

/// A live run that was told where to ask.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) run: u32,
    /// Whose descendants it is.
    pub(super) keeper: u32,
    /// As whom it was born.
    pub(super) uid: u32,
    pub(super) group: Option<Rc<Cgroup>>,
    /// Of the group itself, which does not change.
    pub(super) group_id: Option<u64>,
    /// Which role it was born as.
    pub(super) role: RoleArn,
    /// Who asked the last time: most likely who asks now.
    pub(super) asked: Option<u32>,
    pub(super) standing: Standing,
}

impl Tree {
    pub(super) fn new(run: u32, keeper: u32, uid: u32, role: RoleArn, group: Option<Rc<Cgroup>>) -> Self {
        let group_id = group.as_ref().and_then(|group| group.id().ok());
        Self { run, keeper, uid, group, group_id, role, asked: None, standing: Standing::default() }
    }
}

/// The newest lease of a run's role. The world holds the secret, and only the world.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) held: Weak<HeldLease>,
    pub(super) ends: Boot,
    pub(super) ends_wall: Wall,
    pub(super) account: String,
    pub(super) role: String,
}

/// What is held for a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) lease: Option<Lease>,
    pub(super) refusal: Option<Refusal>,
}

/// One service's.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) service: Name,
    token: SecretString,
    pub(super) trees: Vec<Tree>,
}

impl Seat {
    pub(super) fn standing(&self, run: u32) -> Option<&Standing> {
        self.trees.iter().find(|tree| tree.run == run).map(|tree| &tree.standing)
    }

    /// In a time that does not tell how much of it is right.
    pub(super) fn knows(&self, shown: &[u8]) -> bool {
        self.token.expose_secret().as_bytes().ct_eq(shown).into()
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// By the opaque id of the path.
    seats: BTreeMap<String, Seat>,
    ids: BTreeMap<Name, String>,
}

impl Table {
    /// The service's id and token, made now if it has none.
    pub(super) fn seat(&mut self, service: &Name) -> io::Result<(String, SecretString)> {
        if let Some((id, seat)) = self.ids.get(service).and_then(|id| Some((id, self.seats.get(id)?))) {
            return Ok((id.clone(), seat.token.clone()));
        }
        let (id, token) = (token::id()?, token::token()?);
        self.ids.insert(service.clone(), id.clone());
        self.seats.insert(id.clone(), Seat { service: service.clone(), token: token.clone(), trees: Vec::new() });
        Ok((id, token))
    }

    /// All that may ask, and which role each is.
    pub(super) fn runs(&self) -> Vec<(RunId, RoleArn)> {
        let of =
            |seat: &Seat, tree: &Tree| (RunId { service: seat.service.clone(), number: tree.run }, tree.role.clone());
        self.seats.values().flat_map(|seat| seat.trees.iter().map(move |tree| of(seat, tree))).collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Seat> {
        self.seats.get(id)
    }

    fn of(&mut self, service: &Name) -> Option<&mut Seat> {
        self.seats.get_mut(self.ids.get(service)?)
    }

    pub(super) fn began(&mut self, service: &Name, tree: Tree) {
        if let Some(seat) = self.of(service) {
            seat.trees.push(tree);
        }
    }

    pub(super) fn ended(&mut self, run: &RunId) {
        if let Some(seat) = self.of(&run.service) {
            seat.trees.retain(|tree| tree.run != run.number);
        }
    }

    /// Answers whether those who wait may be told something else now.
    pub(super) fn stand(&mut self, run: &RunId, standing: Standing) -> bool {
        let trees = self.of(&run.service).map(|seat| &mut seat.trees);
        let Some(tree) = trees.into_iter().flatten().find(|tree| tree.run == run.number) else { return false };
        let end = |standing: &Standing| standing.lease.as_ref().map(|lease| lease.ends_wall);
        let news = end(&tree.standing) != end(&standing) || tree.standing.refusal != standing.refusal;
        tree.standing = standing;
        news
    }

    pub(super) fn asked(&mut self, id: &str, run: u32, pid: u32) {
        let trees = self.seats.get_mut(id).map(|seat| &mut seat.trees);
        if let Some(tree) = trees.into_iter().flatten().find(|tree| tree.run == run) {
            tree.asked = Some(pid);
        }
    }
}
