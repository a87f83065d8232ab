//! From the supervisor's plain values to the shapes of the API.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::api::{CredentialsJson, HeldJson, PastRunJson, Port, RefusalJson, Service as Shown, Tree};
use crate::manifest::Service;
use crate::supervisor::{PastRun, Refusal, View, Wall};

/// RFC 3339, UTC, milliseconds.
pub fn rfc3339(at: Wall) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    format!("{at:.3}")
}

/// `14:05` in the machine's own time zone, for sentences.
pub fn clock_time(at: Wall) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.to_zoned(TimeZone::system()).strftime("%H:%M").to_string()
}

/// What the supervisor does not know of a service: the daemon holds it.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    pub access_key_id: Option<String>,
    /// When the lease came, as wall time.
    pub issued: Option<Wall>,
    pub log_dropped: u64,
    /// What holds of the isolation of its run.
    pub isolation: Option<String>,
    pub tree: Tree,
    pub ports: Vec<Port>,
}

pub fn service(view: &View, entry: Option<&Service>, beside: Beside) -> Shown {
    let role = entry.and_then(|entry| entry.role.as_ref());
    Shown {
        name: view.name.to_string(),
        want: view.want,
        state: view.state,
        ready: view.ready,
        status: view.status.clone(),
        why: view.why.clone(),
        next: view.next.clone(),
        pid: view.pid,
        run: view.run,
        since: rfc3339(view.since),
        uptime_s: view.uptime.map(|uptime| uptime.as_secs()),
        crashes: view.crashes,
        restarts: view.restarts,
        rotations: view.rotations,
        exit: view.last_exit.map(Into::into),
        role: role.map(|role| role.arn.to_string()),
        inherit_aws: entry.is_some_and(|entry| entry.inherit_aws),
        delivery: role.map(|role| role.delivery),
        isolation: beside.isolation.clone().unwrap_or_else(|| "none".into()),
        tree: beside.tree,
        ports: beside.ports.clone(),
        held: view.held.as_ref().map(|held| HeldJson {
            by: held.by.clone(),
            since: rfc3339(held.since),
            until: held.until.map(rfc3339),
        }),
        log_dropped: beside.log_dropped,
        survivors: view.survivors.clone(),
        external: view.external,
        said: view.said.clone(),
        overdue: view.overdue,
        user: entry.and_then(|entry| entry.user.clone()),
        tty: entry.is_some_and(|entry| entry.tty),
        exits: view.exits.iter().map(past_run).collect(),
        waits_for: view.waits_for.iter().map(ToString::to_string).collect(),
        credentials: credentials(view, entry, beside),
        credentials_text: view.credentials.clone(),
        autostart: entry.is_some_and(|entry| entry.autostart),
        depends_on: entry.map(|entry| entry.depends_on.keys().map(ToString::to_string).collect()).unwrap_or_default(),
    }
}

fn past_run(past: &PastRun) -> PastRunJson {
    PastRunJson {
        run: past.run,
        at: rfc3339(past.at),
        exit: past.exit.map(Into::into),
        uptime_s: past.uptime.map(|uptime| uptime.as_secs()),
        what: past.what.clone(),
    }
}

/// `None` for a service without a role.
pub fn credentials(view: &View, entry: Option<&Service>, beside: Beside) -> Option<CredentialsJson> {
    let role = entry.and_then(|entry| entry.role.as_ref())?;
    let lease = view.lease.as_ref();
    Some(CredentialsJson {
        access_key_id: beside.access_key_id,
        issued: beside.issued.map(rfc3339),
        expires: lease.map(|lease| rfc3339(lease.lease.expires_wall)),
        rotates: lease.and_then(|lease| lease.rotates).map(rfc3339),
        scoped: role.scoped(),
        error: view.refusal.as_ref().map(refusal),
    })
}

pub fn refusal(refusal: &Refusal) -> RefusalJson {
    RefusalJson {
        code: refusal.code.clone(),
        message: refusal.message.clone(),
        hint: refusal.hint.clone(),
        side: refusal.side.clone(),
        caller: refusal.caller.clone(),
        request_id: refusal.request_id.clone(),
        at: rfc3339(refusal.at),
        lasting: refusal.lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(Wall(1_700_000_000_007)), "2023-11-14T22:13:20.007Z");
        assert_eq!(rfc3339(Wall(0)), "1970-01-01T00:00:00.000Z");
    }
}
