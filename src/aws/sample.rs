//! A service and a role to test with.

use std::time::Duration;

use crate::manifest::{Command, Role, RoleArn, Service};

pub(super) fn role() -> Role {
    let arn = RoleArn::checked("arn:aws:iam::222233334444:role/team/service-a");
    Role { duration: Duration::from_hours(2), ..Role::of(arn) }
}

pub(super) fn service() -> Service {
    let command = Command::Exec(vec!["true".into()]);
    Service { role: Some(role()), ..Service::of("a", Some(command), "/srv/a") }
}
