//! What IAM must say so that a manifest works, from the manifest alone: who must be allowed to assume what, and whom each
//! role must trust. Called by `devsup iam`; nothing here asks AWS.
//!
//! ```text
//!  base ──may assume──▶ first `via` ──may assume──▶ … ──may assume──▶ the service's role
//!        ◀──trusts it──              ◀──trusts it──    ◀──trusts it──
//! ```
//!
//! One link of such a chain may be wanted by several services: it is one `Ask`, with what any of them needs. A
//! condition stands in a trust policy only if every one of them fulfils it.
//!
//! What must never happen: a statement that allows more than the manifest uses, or a condition that devsup's own request
//! does not meet.

mod ask;
mod statement;
pub mod terraform;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::manifest::{Manifest, Name, Role, RoleArn};
use ask::{Ask, Way};
pub use statement::{Statement, Style};

/// Stand where only a person can know: the manifest has no `base_role`.
pub const UNKNOWN_CALLER: &str = "REPLACE_WITH_YOUR_DEV_ROLE_ARN";
pub const UNKNOWN_ROOT: &str = "arn:aws:iam::REPLACE_WITH_YOUR_DEV_ACCOUNT:root";

/// Who assumes a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// devsup itself; `None`: the manifest does not say who that is.
    Base(Option<RoleArn>),
    /// A role on the way (`via`).
    Hop(RoleArn),
}

impl Caller {
    pub fn arn(&self) -> &str {
        match self {
            Self::Base(Some(role)) | Self::Hop(role) => role.as_str(),
            Self::Base(None) => UNKNOWN_CALLER,
        }
    }
}

/// What one identity must be allowed by a policy of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub caller: Caller,
    pub document: Document,
}

/// What the trust policy of one role must say, beside what it says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusting {
    pub role: RoleArn,
    /// Those that run as this role, or through it.
    pub services: Vec<Name>,
    pub callers: Vec<Caller>,
    pub statements: Vec<Statement>,
}

/// A policy as IAM takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document {
    version: &'static str,
    pub statement: Vec<Statement>,
}

impl Document {
    fn of(statement: Vec<Statement>) -> Self {
        Self { version: "2012-10-17", statement }
    }
}

/// All that a manifest needs of IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    pub project: String,
    /// `[aws] base_role`.
    pub base: Option<RoleArn>,
    /// The base identity's first, then one for each role on the way.
    pub policies: Vec<Policy>,
    /// By ARN.
    pub trusts: Vec<Trusting>,
}

/// One link of a chain of roles.
type Links = BTreeMap<(Caller, RoleArn), Ask>;

impl Needs {
    /// Of these services of the manifest; one without a role needs nothing.
    pub fn of(manifest: &Manifest, chosen: &[Name], style: Style) -> Self {
        let base = manifest.aws.base_role.clone();
        let mut links = Links::new();
        for service in manifest.services.values().filter(|service| chosen.contains(&service.name)) {
            if let Some(role) = &service.role {
                walk(&mut links, base.as_ref(), role, &service.name, &manifest.name);
            }
        }
        Self { project: manifest.name.clone(), base, policies: policies(&links), trusts: trusts(&links, style) }
    }
}

/// Every link on the way from the base to this role.
fn walk(links: &mut Links, base: Option<&RoleArn>, role: &Role, service: &Name, project: &str) {
    let mut caller = Caller::Base(base.cloned());
    for (at, next) in role.via.iter().chain([&role.arn]).enumerate() {
        let way = Way { service, role, project, first: at == 0, last: at == role.via.len() };
        links.entry((caller, next.clone())).or_default().with(&way);
        caller = Caller::Hop(next.clone());
    }
}

/// For each caller one policy; in it one statement for each set of actions, so that each role stands in it once.
fn policies(links: &Links) -> Vec<Policy> {
    let mut by_caller: BTreeMap<&Caller, BTreeMap<Vec<&'static str>, Vec<String>>> = BTreeMap::new();
    for ((caller, role), ask) in links {
        by_caller.entry(caller).or_default().entry(ask.more()).or_default().push(role.to_string());
    }
    let policy = |(caller, by_actions): (&Caller, BTreeMap<Vec<&'static str>, Vec<String>>)| {
        let statements = by_actions.into_iter().map(|(more, roles)| {
            let names: String = more.iter().filter_map(|action| action.split(':').nth(1)).collect();
            Statement::may_assume(&format!("DevsupAssume{names}"), roles, &more)
        });
        Policy { caller: caller.clone(), document: Document::of(statements.collect()) }
    };
    by_caller.into_iter().map(policy).collect()
}

fn trusts(links: &Links, style: Style) -> Vec<Trusting> {
    let mut by_role: BTreeMap<&RoleArn, Vec<(&Caller, &Ask)>> = BTreeMap::new();
    for ((caller, role), ask) in links {
        by_role.entry(role).or_default().push((caller, ask));
    }
    let trusting = |(role, asks): (&RoleArn, Vec<(&Caller, &Ask)>)| {
        let services: BTreeSet<&Name> = asks.iter().flat_map(|(_, ask)| ask.services()).collect();
        let statements = asks.iter().enumerate().flat_map(|(at, (caller, ask))| {
            let number = if at == 0 { String::new() } else { (at + 1).to_string() };
            ask.trust(caller.arn(), style, &number)
        });
        Trusting {
            role: role.clone(),
            services: services.into_iter().cloned().collect(),
            callers: asks.iter().map(|(caller, _)| (*caller).clone()).collect(),
            statements: statements.collect(),
        }
    };
    by_role.into_iter().map(trusting).collect()
}
