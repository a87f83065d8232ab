//! Each role, assumed for real, for the shortest time there is. What AWS hands out is wiped at once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::base::refused;
use super::finding::Finding;
use super::waiting::Waits;
use crate::aws::{Base, Grant, Who};
use crate::manifest::{Role, Secs, Service};
use crate::supervisor::Refusal;

/// The shortest life that AWS gives.
const SHORTEST: Duration = Duration::from_mins(15);
/// No role refuses this long, but for chaining.
const ALWAYS: Duration = Duration::from_hours(1);
/// As the daemon asks.
const AT_ONCE: usize = 16;
/// Of the room that AWS has for policies and tags of a session, in percent.
const NEARLY_FULL: i32 = 80;

/// What of an answer may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) assumed: String,
    pub(super) packed: Option<i32>,
    pub(super) capped: bool,
}

impl From<Grant> for Granted {
    fn from(grant: Grant) -> Self {
        Self { assumed: grant.assumed_role_arn, packed: grant.packed_policy_percent, capped: grant.capped }
    }
}

pub(super) struct Trial {
    pub(super) service: String,
    pub(super) role: Role,
    /// `None`: the whole took too long.
    pub(super) answer: Option<Result<Granted, Refusal>>,
}

pub(super) fn judge(trial: &Trial) -> Finding {
    let finding = match &trial.answer {
        Some(Ok(granted)) => well(&trial.role, granted),
        Some(Err(refusal)) => refused("role", refusal),
        None => Finding::error("role", format!("`{}` was not tried in time", trial.role.arn))
            .detail("other roles took all of it; STS is slow, or something is on the way to it"),
    };
    finding.of(&trial.service)
}

fn well(role: &Role, granted: &Granted) -> Finding {
    let scoped = if role.scoped() { ", scoped" } else { "" };
    let sentence = format!("`{}`{scoped} is assumed as {}", role.arn, granted.assumed);
    if granted.capped {
        return Finding::warn("role", format!("{sentence}, for 1h at most"))
            .detail(format!(
                "`duration` is {}, and AWS gives an hour where the base identity is itself a role",
                Secs(role.duration)
            ))
            .fix("duration = \"1h\"");
    }
    match granted.packed {
        Some(percent) if percent >= NEARLY_FULL => {
            Finding::warn("role", format!("{sentence}; policies and tags take {percent} % of AWS's room for them"))
                .detail("beyond 100 % AWS refuses the role")
                .fix("shorten `policy`, or move parts of it into managed policies named in `policy_arns`")
        }
        Some(percent) => Finding::ok("role", format!("{sentence}; {percent} % of the room for policies and tags")),
        None => Finding::ok("role", sentence),
    }
}

/// Roles were not asked for, because whoever would ask is nobody, or the wrong one.
pub(super) fn untried(services: &[&str]) -> Finding {
    let one = if services.len() == 1 { "role was" } else { "roles were" };
    Finding::warn("role", format!("no {one} tried, for want of a base identity: {}", services.join(", ")))
}

/// Tries all of these, in the order given; no longer than until `until`.
pub(super) async fn try_all(base: &Base, services: &[Service], who: &Who, until: Instant, waits: &Waits) -> Vec<Trial> {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (index, service) in services.iter().cloned().enumerate() {
        let (base, who, places, waits) = (base.clone(), who.clone(), Rc::clone(&places), waits.clone());
        tasks.spawn_local(async move {
            let waiting = waits.on(format!("role of {}", service.name));
            let answer = timeout_at(until, async {
                let _place = places.acquire().await;
                try_one(&base, &service, &who).await
            });
            let answer = answer.await.ok().flatten();
            drop(waiting);
            (index, service, answer)
        });
    }
    let mut done = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        let Ok((index, service, answer)) = ended else { continue };
        if let Some(role) = service.role {
            done.insert(index, Trial { service: service.name.to_string(), role, answer });
        }
    }
    done.into_values().collect()
}

/// Shortly; and when that is well, as long as the manifest says, if that may be too long.
async fn try_one(base: &Base, service: &Service, who: &Who) -> Option<Result<Granted, Refusal>> {
    let role = service.role.as_ref()?;
    let short = Role { duration: SHORTEST.min(role.duration), ..role.clone() };
    let answer = base.assume(service, &short, who).await.map(Granted::from);
    if answer.is_err() || role.duration <= ALWAYS {
        return Some(answer);
    }
    Some(base.assume(service, role, who).await.map(Granted::from))
}
