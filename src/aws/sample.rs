//! A service and a role to test with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::{Backoff, Command, Delivery, Name, Replace, Restart, Role, RoleArn, Service, StopMode};

pub(super) fn role() -> Role {
    Role {
        arn: RoleArn::checked("arn:aws:iam::222233334444:role/team/service-a"),
        duration: Duration::from_secs(7200),
        rotate_before: None,
        delivery: Delivery::Env,
        external_id: None,
        session_name: "devsup-{user}-{service}".into(),
        policy: None,
        policy_arns: Vec::new(),
    }
}

pub(super) fn service() -> Service {
    Service {
        name: Name::new("a"),
        command: Command::Exec(vec!["true".into()]),
        working_dir: "/srv/a".into(),
        env: BTreeMap::new(),
        env_file: Vec::new(),
        clean_env: false,
        autostart: true,
        depends_on: BTreeMap::new(),
        restart: Restart::OnFailure,
        backoff: Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
        },
        max_restarts: None,
        stop_signal: 15,
        stop_mode: StopMode::Group,
        stop_timeout: Duration::from_secs(10),
        stop_command: None,
        role: Some(role()),
        inherit_aws: false,
        replace: Replace::Restart,
        ready_timeout: Duration::ZERO,
    }
}
