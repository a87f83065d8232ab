//! `devsup ps`: one line a service.

use std::time::Duration;

use super::grid::{Cell, grid};
use super::short_role;
use crate::cli::paint::Paint;
use crate::control::api::Service;
use crate::manifest::Secs;
use crate::supervisor::State;

/// Who is at the other end: real AWS, or the stand-in, which every header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Real,
    Sandbox,
}

impl Mode {
    pub(crate) fn of(sandbox: bool) -> Self {
        if sandbox { Self::Sandbox } else { Self::Real }
    }
}

pub(crate) fn services(services: &[&Service], mode: Mode, paint: Paint) -> String {
    let credentials = match mode {
        Mode::Real => "CREDENTIALS",
        Mode::Sandbox => "CREDENTIALS (SANDBOX)",
    };
    let mut header = vec!["NAME", "STATUS", "PID", "UPTIME", "RESTARTS", "ROLE", credentials];
    let ports = services.iter().any(|service| !service.ports.is_empty());
    if ports {
        header.push("PORTS");
    }
    let rows: Vec<Vec<Cell>> = services
        .iter()
        .map(|service| {
            let mut row = row(service);
            if ports {
                let all: Vec<&str> = service.ports.iter().map(|port| port.listen.as_str()).collect();
                row.push(Cell::plain(dash(&all.join(", "))));
            }
            row
        })
        .collect();
    grid(&header, &rows, paint)
}

fn row(service: &Service) -> Vec<Cell> {
    let pid = service.pid.map(|pid| pid.to_string()).unwrap_or_default();
    vec![
        Cell::plain(&service.name),
        Cell { text: status(service), paint: colour(service) },
        Cell::plain(dash(&pid)),
        Cell::plain(dash(&uptime(service))),
        Cell::plain(if service.external { dash("") } else { service.restarts.to_string() }),
        Cell::plain(role(service)),
        Cell { text: service.credentials_text.clone(), paint: credentials_colour(service) },
    ]
}

/// The sentence, with the hold, which explains why nothing happens.
pub(crate) fn status(service: &Service) -> String {
    match &service.held {
        Some(held) if !service.status.contains("held") => format!("{}, held by {}", service.status, held.by),
        _ => service.status.clone(),
    }
}

/// What happens next. While AWS is being asked there is nothing left to count.
pub(crate) fn next(service: &Service) -> Option<String> {
    let next = service.next.as_ref()?;
    Some(if next.starts_with("asks again in 0s") { "asking again".to_owned() } else { next.clone() })
}

pub(crate) fn uptime(service: &Service) -> String {
    service.uptime_s.map(|seconds| Secs(Duration::from_secs(seconds)).to_string()).unwrap_or_default()
}

pub(crate) fn role(service: &Service) -> String {
    match &service.role {
        Some(arn) => short_role(arn).to_owned(),
        None if service.inherit_aws => "(base identity)".to_owned(),
        None => "–".to_owned(),
    }
}

pub(crate) fn dash(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.to_owned() }
}

pub(crate) fn colour(service: &Service) -> fn(Paint, &str) -> String {
    match service.state {
        State::Running if service.ready => Paint::green,
        _ if service.overdue => Paint::red,
        State::Running | State::Starting | State::Stopping | State::Waiting => Paint::yellow,
        State::Backoff | State::Failed => Paint::red,
        State::Stopped | State::Done => Paint::dim,
    }
}

fn credentials_colour(service: &Service) -> fn(Paint, &str) -> String {
    let refused = service.credentials.as_ref().is_some_and(|held| held.error.is_some());
    if refused || service.credentials_text.starts_with("EXPIRED") { Paint::red } else { |_, text| text.to_owned() }
}
