//! Services and processes of every temper.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::{
    Backoff, Check, Command, Condition, Delivery, Dependency, Handover, Listen, Name, Port, Ready, Replace, Restart,
    Role, RoleArn, Service,
};
use crate::supervisor::jitter::Jitter;

/// What a process of this service is like.
#[derive(Clone, Debug)]
pub(super) struct Temper {
    /// Milliseconds from the stop signal to the empty tree; `None`: only SIGKILL ends it.
    pub(super) polite: Option<u64>,
    /// One start in so many fails.
    pub(super) start_fails: u64,
    /// Mean milliseconds to a crash; 0: never by itself.
    pub(super) crashes: u64,
    /// One SIGKILL in so many leaves somebody for a while; 0: never.
    pub(super) unkillable: u64,
    /// Milliseconds to ready, for those with a check; `None`: never.
    pub(super) ready: Option<u64>,
    /// Mean milliseconds from ready to unhealthy; 0: never.
    pub(super) sick: u64,
}

pub(super) fn random_temper(rng: &mut Jitter, service: &Service, life: u64) -> Temper {
    let checked = service.ready.is_some();
    Temper {
        polite: if rng.next().is_multiple_of(5) { None } else { Some(rng.next() % 3_000) },
        start_fails: [0, 0, 0, 5, 40][(rng.next() % 5) as usize],
        crashes: [0, 0, 0, 0, 0, 300, 7_200_000, 7_200_000][(rng.next() % 8) as usize],
        unkillable: [0, 0, 0, 10][(rng.next() % 4) as usize],
        // Never, after its time, or in time.
        ready: match rng.next() % 6 {
            0 if checked => None,
            1 => Some(rng.next() % 20_000),
            _ => Some(rng.next() % 4_000),
        },
        sick: [0, 0, 0, life / 2, life * 4][(rng.next() % 5) as usize],
    }
}

pub(super) fn random_service(rng: &mut Jitter, at: u64, life: u64) -> Service {
    let names = ["a", "b", "c", "d", "e", "f"];
    let name = Name::new(names[usize::try_from(at).expect("small")]);
    let mut depends_on = BTreeMap::new();
    for below in &names[..usize::try_from(at).expect("small")] {
        if rng.next().is_multiple_of(3) {
            let conditions = [Condition::Started, Condition::Ready, Condition::Ready, Condition::Completed];
            let condition = conditions[(rng.next() % 4) as usize];
            let edge = Dependency { condition, restart: rng.next().is_multiple_of(4) };
            depends_on.insert(Name::new(below), edge);
        }
    }
    let ready = Ready { check: Check::Notify, timeout: Duration::from_secs(5), interval: Ready::INTERVAL };
    if rng.next().is_multiple_of(8) {
        return Service { ready: Some(ready), ..Service::of(name, None, "/") };
    }
    let role = (!rng.next().is_multiple_of(5)).then(|| random_role(rng, &name, life));
    let replace = if rng.next().is_multiple_of(3) { Replace::Overlap } else { Replace::Restart };
    let checked = !rng.next().is_multiple_of(2);
    let mut handovers = vec![Handover::Socket, Handover::Forward];
    if replace == Replace::Restart {
        handovers.push(Handover::None);
    }
    let handover = handovers[usize::try_from(rng.next()).unwrap_or_default() % handovers.len()];
    let port = Port { listen: Listen::Unix("/run/x".into()), handover, wait: Port::WAIT };
    let ports = rng.next().is_multiple_of(2).then(|| ("http".to_owned(), port)).into_iter().collect();
    Service {
        depends_on,
        restart: [Restart::Always, Restart::OnFailure, Restart::Never][(rng.next() % 3) as usize],
        backoff: Backoff {
            max: Duration::from_secs(if rng.next().is_multiple_of(16) { 30 } else { 1800 }),
            ..Service::BACKOFF
        },
        max_restarts: (rng.next().is_multiple_of(8)).then_some(5),
        stop_timeout: Duration::from_millis(100 + rng.next() % 10_000),
        role,
        replace,
        ports,
        ready: checked.then_some(ready),
        ..Service::of(name, Some(Command::Exec(vec!["x".into()])), "/")
    }
}

fn random_role(rng: &mut Jitter, name: &Name, life: u64) -> Role {
    let arn = RoleArn::checked(&format!("arn:aws:iam::033145145979:role/{name}{}", rng.next() % 2));
    Role {
        rotate_before: (rng.next().is_multiple_of(4)).then(|| Duration::from_millis(life / 10)),
        delivery: match rng.next() % 6 {
            0 => Delivery::Endpoint,
            1 => Delivery::Process,
            _ => Delivery::Env,
        },
        ..Role::of(arn)
    }
}
