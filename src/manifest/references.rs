//! What `${PORT}`, `${PORT_NAME}`, `${ports.SERVICE.NAME}` and `${DEVSUP…}` stand for, and where they may stand.
//!
//! What a run alone can say becomes a mark ([`super::template`]). A fixed address of a port is known already and is put
//! in here, so that a service whose text names it means something else once it has changed.

use std::collections::BTreeMap;

use super::desk::{one_of, quoted};
use super::interpolate::Refused;
use super::port_list::{Listed, PortList};
use super::{Listen, Port, template, words};

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Read once and for all.
    Text,
    /// Given to a run: a command, a variable.
    Run,
    /// Whom a probe asks.
    Address,
}

/// Those that say who a run is; devsup sets them and nobody else.
pub(super) const MARKS: [&str; 3] = ["DEVSUP", "DEVSUP_SERVICE", "DEVSUP_RUN"];

/// What stands for `${name}` in a text of this service.
pub(super) fn resolve(
    name: &str,
    service: &str,
    ports: &BTreeMap<String, PortList>,
    of: Use,
) -> Result<String, Refused> {
    if of == Use::Text {
        let help = "it is filled in `command`, `stop_command`, `env`, and the `exec` of `ready` and `live`";
        return Err(refused(format!("`${{{name}}}` is known to a run only"), "not when the manifest is read", help));
    }
    if let Some(path) = name.strip_prefix("ports.") {
        return of_another(name, path, ports, of);
    }
    if of == Use::Address {
        let help = "of the service's own port: `http = \"/health\"`, or `tcp = \"NAME\"`";
        return Err(refused(format!("`${{{name}}}` is known to a run only"), "a probe has a shorter word", help));
    }
    let none = PortList::new();
    let variables = variables(ports.get(service).unwrap_or(&none));
    if MARKS.contains(&name) || variables.iter().any(|variable| variable == name) {
        return Ok(template::mark(name));
    }
    if name.starts_with("DEVSUP") {
        let label = nearest(name, MARKS.into_iter()).unwrap_or_else(|| "no variable of devsup's".into());
        return Err(refused(format!("a run has no `{name}`"), label, format!("it has {}", quoted(MARKS.into_iter()))));
    }
    let names = || variables.iter().map(String::as_str);
    let (label, help) = if variables.is_empty() {
        let help = format!("give it one, `[services.{service}.ports]`, or give the variable another name");
        (format!("`{service}` has no ports"), help)
    } else {
        let of_several = name == "PORT";
        let label = if of_several { Some("it has several ports".into()) } else { nearest(name, names()) };
        (label.unwrap_or_else(|| "no port of this name".into()), format!("it has {}", quoted(names())))
    };
    Err(refused(format!("a run of `{service}` has no `{name}`"), label, help))
}

/// The variables that tell a run where it listens.
pub(super) fn variables(list: &PortList) -> Vec<String> {
    let tcp: Vec<&String> = list.iter().filter(|(_, listed)| listed.port.is_tcp()).map(|(name, _)| name).collect();
    let alone = (tcp.len() == 1).then(|| "PORT".to_owned());
    alone.into_iter().chain(tcp.into_iter().map(|name| Port::variable(name))).collect()
}

/// `SERVICE.NAME`, `SERVICE.NAME.port`
fn of_another(name: &str, path: &str, ports: &BTreeMap<String, PortList>, of: Use) -> Result<String, Refused> {
    let parts: Vec<&str> = path.split('.').collect();
    let (service, port, number) = match parts[..] {
        [service, port] => (service, port, false),
        [service, port, "port"] => (service, port, true),
        _ => {
            let label = "expected `${ports.SERVICE.NAME}`";
            return Err(refused(
                format!("`${{{name}}}` is no port"),
                label,
                "its number alone: `${ports.SERVICE.NAME.port}`",
            ));
        }
    };
    let Some(list) = ports.get(service) else {
        let label = nearest(service, ports.keys().map(String::as_str)).unwrap_or_else(|| "no such service".into());
        let all = one_of(ports.keys().map(String::as_str));
        return Err(refused(format!("`{service}` is no service of this manifest"), label, format!("expected {all}")));
    };
    let Some(listed) = list.get(port) else {
        let names = || list.keys().map(String::as_str);
        if list.is_empty() {
            let help = format!("they stand in `[services.{service}.ports]`");
            return Err(refused(format!("`{service}` has no port `{port}`"), "it has no ports at all", help));
        }
        let label = nearest(port, names()).unwrap_or_else(|| "no port of this name".into());
        return Err(refused(format!("`{service}` has no port `{port}`"), label, format!("it has {}", quoted(names()))));
    };
    address(name, listed, number, of)
}

fn address(name: &str, listed: &Listed, number: bool, of: Use) -> Result<String, Refused> {
    match &listed.port.listen {
        Listen::At(at) if number => Ok(at.port().to_string()),
        Listen::At(at) => Ok(at.to_string()),
        Listen::Unix(path) if number || of == Use::Address => {
            let help =
                if number { "without `.port` it is its path" } else { "let a program ask: `exec = [\"./probe\"]`" };
            let label = format!("it listens at `{}`", path.display());
            Err(refused(format!("`${{{name}}}` is the path of a unix socket"), label, help))
        }
        Listen::Unix(path) => Ok(path.to_string_lossy().into_owned()),
        Listen::Auto(_) if of == Use::Address => {
            let help = "let a program ask, to which it is told: `exec = [\"./probe\", \"${…}\"]`";
            let label = format!("it listens at `{}`", listed.port.listen);
            Err(refused(format!("`${{{name}}}` is known only once devsup runs"), label, help))
        }
        Listen::Auto(_) => Ok(template::mark(name)),
    }
}

fn nearest<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<String> {
    words::nearest(typed, words).map(|near| format!("did you mean `{near}`?"))
}

fn refused(title: impl Into<String>, label: impl Into<String>, help: impl Into<String>) -> Refused {
    Refused { title: title.into(), label: label.into(), help: help.into() }
}
