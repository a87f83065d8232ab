//! External services: no `command`, but a `ready` of their own. Somebody else runs them; devsup asks whether they are
//! ready, shows it, and lets others wait for it.

use super::desk::Desk;
use super::node::{Layer, Place, Table, Value};
use super::words::{self, Section};
use super::{Check, Name, Probe, Service, readiness};

/// Is this what a person means by an external service? What `[defaults]` says of all makes none.
pub(super) fn is(table: &Table) -> bool {
    !table.contains_key("command")
        && !means_a_command(table)
        && table.get("ready").is_some_and(|entry| entry.key.layer == Layer::Own)
}

/// Only `ready` is read; other keys of its own are refused, and what `[defaults]` says of all is not meant for it.
pub(super) fn read(desk: &mut Desk<'_>, name: &str, head: Place, table: &Table) -> Service {
    for (key, entry) in table {
        if let Some(why) = why_not(key)
            && entry.key.layer == Layer::Own
        {
            desk.refuse(entry.key, format!("`{key}` in an external service"))
                .label(why)
                .at(head, "it has no `command`: somebody else runs it")
                .help(format!("remove `{key}`, or add a `command`"));
        }
    }
    let ready = readiness::ready(desk, table.get("ready"));
    if let Some(ready) = &ready {
        check_probe(desk, &ready.check, head, table);
    }
    Service { ready, ..Service::of(Name::new(name), None, desk.dir.clone()) }
}

/// A question over the network is all that can be asked of it.
fn check_probe(desk: &mut Desk<'_>, check: &Check, head: Place, table: &Table) {
    let (key, why) = match check {
        Check::Probe(Probe::Http(_) | Probe::Tcp(_)) => return,
        Check::Probe(Probe::Exec(_)) => ("exec", "there is no process to run it beside"),
        Check::Log(_) => ("log", "devsup does not see its output"),
        Check::Notify => ("notify", "devsup did not start it and gives it no socket"),
        Check::Fd(_) => ("fd", "devsup did not start it and gives it no descriptor"),
    };
    let place = match table.get("ready").map(|entry| &entry.node.value) {
        Some(Value::Table(table)) => table.get(key).map(|entry| entry.key),
        _ => None,
    };
    desk.refuse(place.unwrap_or(head), format!("an external service cannot be asked by `{key}`"))
        .label(why)
        .at(head, "it has no `command`: somebody else runs it")
        .help("ask by `http` or `tcp`; or add the `command` that devsup is to run");
}

/// Why a key of a service has no meaning here. `None`: it has, or it has been refused already.
fn why_not(key: &str) -> Option<&'static str> {
    let why = match key {
        "stop_signal" | "stop_mode" | "stop_timeout" | "stop_command" => "devsup never stops it",
        "restart" | "backoff" | "max_restarts" | "autostart" | "depends_on" => "devsup never starts it",
        "logs" => "devsup does not hear what it writes",
        "watch" | "replace" => "devsup never replaces it",
        "ports" => "devsup does not stand between it and its callers",
        "live" => "devsup never replaces it; `ready` says how it is asked",
        "role" | "inherit_aws" => "devsup gives its process no credentials",
        "working_dir" | "env" | "env_file" | "clean_env" | "user" | "group" | "umask" | "nice" | "limits" | "tty"
        | "isolate" => "devsup does not make its process",
        _ => return None,
    };
    Some(why)
}

/// Neither a command, nor a `ready` that would make it external.
pub(super) fn no_command(desk: &mut Desk<'_>, head: Place, table: &Table) {
    // A word for `command` from elsewhere, or a slip, is reported as such; saying it twice helps nobody.
    if means_a_command(table) {
        return;
    }
    desk.refuse(head, "`command` is missing")
        .absent()
        .label("what is to be run?")
        .help("add `command = [\"./program\", \"--flag\"]`")
        .help("if somebody else runs it, say how it is asked: `ready = { tcp = \"127.0.0.1:5432\" }`");
}

fn means_a_command(table: &Table) -> bool {
    let meant = |key: &String| {
        matches!(
            words::answer(Section::Service, key),
            words::Answer::Ours { key: "command", .. } | words::Answer::Near("command")
        )
    };
    table.keys().any(|key| !Section::Service.keys().contains(&key.as_str()) && meant(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_key_has_a_reason_why_not() {
        for key in Section::Service.keys() {
            assert_eq!(why_not(key).is_none(), ["command", "ready"].contains(key), "{key}");
        }
    }
}
