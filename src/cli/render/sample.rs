//! Services in every state, as the daemon describes them, for the snapshots of whatever is rendered.

use crate::control::api::{
    CredentialsJson, ExitJson, HeldJson, PastRunJson, Port, Project, RefusalJson, Service, Tree, VERSION, Watch,
};
use crate::manifest::Delivery;
use crate::supervisor::{By, State, Want};

pub(crate) const NOW: &str = "2026-03-02T14:18:12Z";

pub(crate) fn port(handover: &str) -> Port {
    Port {
        name: "http".into(),
        listen: "127.0.0.1:8001".into(),
        handover: handover.into(),
        listener: None,
        routed_to: None,
        open: None,
        waiting: None,
    }
}

pub(crate) fn service(name: &str, state: State, status: &str) -> Service {
    Service {
        name: name.into(),
        want: Want::Up,
        state,
        ready: false,
        status: status.into(),
        why: None,
        next: None,
        pid: None,
        run: None,
        since: "2026-03-02T14:05:12Z".into(),
        uptime_s: None,
        crashes: 0,
        restarts: 0,
        rotations: 0,
        exit: None,
        role: Some(format!("arn:aws:iam::033145145979:role/team/service-{name}")),
        inherit_aws: false,
        delivery: Some(Delivery::Env),
        isolation: "none".into(),
        tree: Tree::Session,
        ports: Vec::new(),
        held: None,
        credentials: Some(credentials(name)),
        credentials_text: "41m left, rotates in 31m".into(),
        autostart: true,
        depends_on: Vec::new(),
        log_dropped: 0,
        survivors: Vec::new(),
        external: false,
        said: None,
        overdue: false,
        user: None,
        tty: false,
        exits: Vec::new(),
        waits_for: Vec::new(),
    }
}

fn credentials(name: &str) -> CredentialsJson {
    CredentialsJson {
        access_key_id: Some(format!("ASIASANDBOX0000{}", name.to_uppercase())),
        issued: Some("2026-03-02T13:59:12Z".into()),
        expires: Some("2026-03-02T14:59:12Z".into()),
        rotates: Some("2026-03-02T14:49:12Z".into()),
        scoped: false,
        error: None,
    }
}

pub(crate) fn running(name: &str, pid: u32) -> Service {
    Service {
        ready: true,
        pid: Some(pid),
        run: Some(4),
        uptime_s: Some(780),
        restarts: 3,
        rotations: 2,
        next: Some("replaced with fresh credentials in 31m".into()),
        ..service(name, State::Running, "running (ready)")
    }
}

pub(crate) fn refused(name: &str) -> Service {
    let error = RefusalJson {
        code: "AccessDenied".into(),
        message: format!("the role's trust policy does not name arn:aws:iam::033145145979:role/dev for service-{name}"),
        hint: Some("devsup iam trust --for b\nthen: devsup creds b --refresh".into()),
        side: Some("target".into()),
        caller: Some("arn:aws:sts::033145145979:assumed-role/dev/i-0abc".into()),
        request_id: Some("7f1e-22".into()),
        at: "2026-03-02T14:17:40Z".into(),
        lasting: true,
    };
    Service {
        next: Some("asks again in 94s, or devsup creds b --refresh".into()),
        credentials: Some(CredentialsJson {
            access_key_id: None,
            issued: None,
            expires: None,
            rotates: None,
            scoped: false,
            error: Some(error),
        }),
        credentials_text: "–".into(),
        ..service(name, State::Waiting, "waiting for credentials: AccessDenied")
    }
}

pub(crate) fn backoff(name: &str) -> Service {
    Service {
        crashes: 3,
        restarts: 3,
        run: Some(3),
        exit: Some(ExitJson::Code(1)),
        why: Some("it ended with exit 1 after 2s".into()),
        next: Some("starts again in 8s".into()),
        ..service(name, State::Backoff, "backoff, again in 8s (crash 3)")
    }
}

pub(crate) fn held(name: &str) -> Service {
    Service {
        held: Some(HeldJson {
            by: "alice".into(),
            since: "2026-03-02T13:06:12Z".into(),
            until: Some("2026-03-03T09:00:00Z".into()),
        }),
        credentials_text: "EXPIRED 22m ago".into(),
        why: Some("held by alice for 1h 12m".into()),
        ..running(name, 4123)
    }
}

/// Not ready within its time, and left running.
pub(crate) fn late(name: &str) -> Service {
    Service {
        pid: Some(4150),
        run: Some(2),
        overdue: true,
        said: Some("waiting for the index".into()),
        why: Some("not ready after 1m 30s: connection refused".into()),
        next: Some(format!("it is left running and its check goes on; or `devsup restart {name}`")),
        exits: vec![past(1, Some(ExitJson::Code(1)), Some(2), "crashed")],
        ..plain(service(name, State::Starting, "starting 1m 35s, not ready in time"))
    }
}

/// Somebody else runs it.
pub(crate) fn external(name: &str, there: bool) -> Service {
    let state = if there { State::Running } else { State::Waiting };
    let status = if there { "there (external)" } else { "not there: connection refused" };
    let next = (!there).then(|| "asked again and again; devsup does not run it, it only watches it".to_owned());
    Service { external: true, ready: there, next, ..plain(service(name, state, status)) }
}

pub(crate) fn past(run: u32, exit: Option<ExitJson>, uptime_s: Option<u64>, what: &str) -> PastRunJson {
    PastRunJson { run, at: "2026-03-02T14:05:09Z".into(), exit, uptime_s, what: what.into() }
}

pub(crate) fn plain(service: Service) -> Service {
    Service { role: None, delivery: None, credentials: None, credentials_text: "–".into(), ..service }
}

/// One of each.
pub(crate) fn all_states() -> Vec<Service> {
    let one_shot = plain(service("migrate", State::Done, "done"));
    vec![
        running("a", 4121),
        refused("b"),
        backoff("c"),
        held("d"),
        Service {
            exit: Some(ExitJson::Code(1)),
            run: Some(5),
            why: Some("gave up after 3 crashes (max_restarts = 2)".into()),
            next: Some("`devsup restart e` tries again".into()),
            exits: vec![
                past(1, None, None, "command `x`: no such file"),
                past(2, Some(ExitJson::Signal(15)), Some(4000), "replaced (file changed: src/x.py (and 3 more))"),
                past(3, Some(ExitJson::Signal(9)), Some(2), "crashed"),
                past(5, Some(ExitJson::Code(1)), Some(0), "crashed"),
            ],
            ..plain(service("e", State::Failed, "failed: exit 1"))
        },
        Service {
            depends_on: vec!["db".into()],
            waits_for: vec!["db".into()],
            why: Some("db is not there: connection refused".into()),
            next: Some("starts when db is there".into()),
            ..plain(service("f", State::Waiting, "waiting for db"))
        },
        Service { pid: Some(4130), run: Some(1), ..plain(service("g", State::Starting, "starting 4s")) },
        Service {
            pid: Some(4131),
            run: Some(2),
            next: Some("over when the tree is empty".into()),
            ..plain(service("h", State::Stopping, "stopping 2s, SIGKILL in 7s"))
        },
        Service { inherit_aws: true, ..plain(running("legacy", 4140)) },
        Service { exit: Some(ExitJson::Code(0)), run: Some(1), ..one_shot },
        late("late"),
        external("pg", true),
        external("queue", false),
        Service { want: Want::Down, autostart: false, ..plain(service("tool", State::Stopped, "stopped")) },
    ]
}

pub(crate) fn project(sandbox: bool) -> Project {
    Project {
        name: "shop".into(),
        id: "shop-1f2e3d".into(),
        files: vec!["/srv/shop/services.toml".into()],
        pid: 4100,
        version: VERSION.into(),
        sandbox,
        since: "2026-03-02T14:05:11Z".into(),
        owner: By { uid: 1000, user: "alice".into() },
        shutting_down: false,
        base: None,
        warnings: Vec::new(),
    }
}

pub(crate) fn watch(services: Vec<Service>) -> Watch {
    Watch { project: project(false), services }
}
