//! `depends_on`: who waits for whom and until when; and what must hold between services for that to ever end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desk::{Desk, quoted};
use super::node::{Entry, Node, Place, Table, Value};
use super::words::{self, Section};
use super::{Condition, Dependency, Name, Restart, Service, graph};

type Tables = BTreeMap<String, (Place, Table)>;

/// Reads a list of names, or a table of conditions.
pub(super) fn read(desk: &mut Desk<'_>, node: &Node, externals: &BTreeSet<String>) -> BTreeMap<Name, Dependency> {
    // Of an external service only that it is ready can be known.
    let plain = |name: &str| {
        let condition = if externals.contains(name) { Condition::Ready } else { Condition::Started };
        Dependency { condition, restart: false }
    };
    let mut all = BTreeMap::new();
    match &node.value {
        Value::Table(table) => {
            for (name, entry) in table {
                all.insert(Name::new(name), dependency(desk, entry, plain(name)));
            }
        }
        Value::List(_) | Value::Text(_) => {
            for (name, place) in desk.texts("depends_on", node) {
                if all.insert(Name::new(&name), plain(&name)).is_some() {
                    desk.refuse(place, format!("`depends_on` names `{name}` twice")).label("once is enough");
                }
            }
        }
        _ => {
            desk.wrong("depends_on", node, "a list of services, or a table `{ db = \"ready\" }`");
        }
    }
    all
}

fn dependency(desk: &mut Desk<'_>, entry: &Entry, plain: Dependency) -> Dependency {
    let Value::Table(table) = &entry.node.value else {
        return Dependency { condition: condition(desk, &entry.node).unwrap_or(plain.condition), ..plain };
    };
    desk.check_keys(Section::Dependency, table);
    let restart = table.get("restart").and_then(|entry| desk.flag("restart", &entry.node));
    let condition = table.get("condition").and_then(|entry| condition(desk, &entry.node));
    Dependency { condition: condition.unwrap_or(plain.condition), restart: restart.unwrap_or(plain.restart) }
}

fn condition(desk: &mut Desk<'_>, node: &Node) -> Option<Condition> {
    let words = [("started", Condition::Started), ("ready", Condition::Ready), ("completed", Condition::Completed)];
    let foreign = [
        ("service_started", "started"),
        ("process_started", "started"),
        ("running", "started"),
        ("service_healthy", "ready"),
        ("process_healthy", "ready"),
        ("process_log_ready", "ready"),
        ("healthy", "ready"),
        ("service_completed_successfully", "completed"),
        ("process_completed_successfully", "completed"),
        ("process_completed", "completed"),
        ("completed_successfully", "completed"),
        ("exited", "completed"),
        ("done", "completed"),
    ];
    desk.choice("condition", node, &words, &foreign)
}

/// One name in a `depends_on`, where it stands, and where what it says of it stands.
struct Named {
    on: String,
    place: Place,
    condition: Option<Place>,
    restart: Option<Place>,
}

/// Unknown names, circles, and conditions that can never be met.
pub(super) fn check(desk: &mut Desk<'_>, tables: &Tables, services: &BTreeMap<Name, Arc<Service>>) {
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut places: BTreeMap<(String, String), Place> = BTreeMap::new();
    for (name, (_, table)) in tables {
        let typed = services.get(name.as_str());
        // What `[defaults]` says of all is not meant for a service that devsup does not start.
        if typed.is_some_and(|service| service.external()) {
            continue;
        }
        for named in named(table) {
            match (tables.get(&named.on), services.get(named.on.as_str())) {
                (None, _) => unknown(desk, name, &named, tables),
                (Some(other), Some(service)) => {
                    let dependency = typed.and_then(|typed| typed.depends_on.get(named.on.as_str()));
                    if let Some(dependency) = dependency {
                        desk.about(name, |desk| possible(desk, &named, *dependency, service, other));
                    }
                }
                (Some(_), None) => {}
            }
            places.insert((name.clone(), named.on.clone()), named.place);
            edges.entry(name.clone()).or_default().push(named.on);
        }
    }
    circles(desk, &edges, &places);
}

/// Can this condition of `on` ever be met?
fn possible(desk: &mut Desk<'_>, named: &Named, dependency: Dependency, on: &Service, other: &(Place, Table)) {
    let name = &named.on;
    let here = named.condition.unwrap_or(named.place);
    let (head, table) = other;
    match dependency.condition {
        Condition::Started | Condition::Completed if on.external() => {
            desk.refuse(here, format!("of `{name}` only `ready` can be waited for"))
                .label("expected `ready`")
                .at(*head, "it has no `command`: somebody else starts and ends it");
        }
        Condition::Completed if on.restart == Restart::Always => {
            let draft = desk.refuse(here, format!("waits for `{name}` to complete, which it never does"));
            draft.label("this could never be met");
            if let Some(entry) = table.get("restart") {
                draft.at(entry.node.place, "it is started again whenever it ends");
            }
            draft.help(format!("with `restart = \"on-failure\"` in `{name}` it may complete"));
        }
        Condition::Ready if on.ready.is_none() && !on.external() => {
            desk.warn(here, format!("`{name}` does not say when it is ready"))
                .label("this is met once it has lived for 1 s")
                .at(*head, "it has no `ready`")
                .help("give it one: `ready = { tcp = \"127.0.0.1:PORT\" }`");
        }
        Condition::Started | Condition::Ready | Condition::Completed => {}
    }
    if dependency.restart && on.external() {
        desk.refuse(named.restart.unwrap_or(here), format!("`{name}` is never replaced"))
            .label("remove it")
            .at(*head, "it has no `command`: somebody else runs it");
    }
}

fn circles(desk: &mut Desk<'_>, edges: &BTreeMap<String, Vec<String>>, places: &BTreeMap<(String, String), Place>) {
    for circle in graph::circles(edges) {
        let round = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let title = if circle.len() == 1 {
            format!("service {} depends on itself", round[0])
        } else {
            format!("dependencies go in a circle: {}", round.join(" → "))
        };
        let draft = desk.push(title);
        for (index, name) in circle.iter().enumerate() {
            let next = &circle[(index + 1) % circle.len()];
            if let Some(place) = places.get(&(name.clone(), next.clone())) {
                draft.at(*place, format!("`{name}` waits for `{next}`"));
            }
        }
        draft.help("none of them could ever start; remove one of these");
    }
}

fn unknown(desk: &mut Desk<'_>, name: &str, named: &Named, tables: &Tables) {
    let on = &named.on;
    let near = words::nearest(on, tables.keys().map(String::as_str));
    let others = quoted(tables.keys().map(String::as_str).filter(|other| *other != name));
    desk.about(name, |desk| {
        let draft = desk.refuse(named.place, format!("depends on `{on}`, which is no service of this manifest"));
        draft.absent();
        match near {
            Some(near) => draft.label(format!("did you mean `{near}`?")),
            None if others.is_empty() => draft.label("there is no other service"),
            None => draft.label(format!("the others are {others}")),
        };
    });
}

/// What `depends_on` names, where it can be read at all.
fn named(table: &Table) -> Vec<Named> {
    let plain = |on: &str, place: Place| Named { on: on.to_owned(), place, condition: None, restart: None };
    match table.get("depends_on").map(|entry| &entry.node) {
        Some(Node { value: Value::Table(table), .. }) => table.iter().map(|(on, entry)| in_table(on, entry)).collect(),
        Some(Node { value: Value::List(items), .. }) => items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Text(on) => Some(plain(on, item.place)),
                _ => None,
            })
            .collect(),
        Some(Node { value: Value::Text(on), place }) => vec![plain(on, *place)],
        _ => Vec::new(),
    }
}

fn in_table(on: &str, entry: &Entry) -> Named {
    let (condition, restart) = match &entry.node.value {
        Value::Table(table) => {
            let place = |key: &str| table.get(key).map(|entry| entry.node.place);
            (place("condition"), place("restart"))
        }
        _ => (Some(entry.node.place), None),
    };
    Named { on: on.to_owned(), place: entry.key, condition, restart }
}
