//! The whole manifest out of its tree: `name`, `[aws]`, every service over `[defaults]`, `[sandbox]`, and what must hold
//! between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::desk::{Desk, quoted};
use super::node::{self, Entry, Place, Table, Value};
use super::service::{self, Surroundings};
use super::words::{self, Section};
use super::{Access, Aws, Manifest, Name, RoleArn, Sandbox, Service};
use super::{arn, clashes, dependencies, external, identity, kept, port_list};

/// Reads the tree; what is wrong is at the desk, and then the answer is of no use.
pub(super) fn read(desk: &mut Desk<'_>, files: Vec<PathBuf>, mut tree: Table) -> (Manifest, Table) {
    desk.check_keys(Section::Top, &tree);
    let name = name(desk, tree.get("name"));
    let aws = tree.get("aws").map(|entry| aws(desk, entry)).unwrap_or_default();
    let merged = merge_defaults(desk, &mut tree);
    let base_is_a_role = aws.base_role.is_some();
    let externals: BTreeSet<String> =
        merged.iter().filter(|(_, (_, table))| external::is(table)).map(|(name, _)| name.clone()).collect();
    ports(desk, &merged, &externals);
    let role_prefix = aws.role_prefix.as_deref();
    let around = Surroundings { project: &name, role_prefix, base_is_a_role, externals: &externals };
    let mut services = BTreeMap::new();
    for (service, (head, table)) in &merged {
        service::check_name(desk, service, *head);
        let read = desk.about(service, |desk| service::read(desk, service, *head, table, &around));
        if let Some(read) = read {
            services.insert(Name::new(service), Arc::new(read));
        }
    }
    dependencies::check(desk, &merged, &services);
    let access = tree.get("access").map(|entry| access(desk, entry)).unwrap_or_default();
    let sandbox = tree.get("sandbox").map(|entry| sandbox(desk, entry, &services, &aws)).unwrap_or_default();
    let logs_max_total = tree.get("logs").and_then(|entry| kept::in_all(desk, entry));
    let dir = desk.dir.clone();
    let manifest = Manifest { files, dir, name, aws, services, sandbox, access, logs_max_total };
    for (service, (head, table)) in merged {
        if let Some(Value::Table(all)) = tree.get_mut("services").map(|entry| &mut entry.node.value) {
            let node = node::Node { place: head, value: Value::Table(table) };
            all.insert(service, Entry { key: head, node });
        }
    }
    (manifest, tree)
}

/// Text of any service may refer to the ports of any other: they are read first.
fn ports(desk: &mut Desk<'_>, merged: &BTreeMap<String, (Place, Table)>, externals: &BTreeSet<String>) {
    for (service, (_, table)) in merged {
        let entry = table.get("ports").filter(|_| !externals.contains(service));
        let list = entry.map(|entry| desk.about(service, |desk| port_list::read(desk, entry))).unwrap_or_default();
        desk.ports.insert(service.clone(), list);
    }
    desk.externals.clone_from(externals);
    clashes::check(desk);
}

fn name(desk: &mut Desk<'_>, entry: Option<&Entry>) -> String {
    if let Some(entry) = entry
        && let Some(name) = desk.filled("name", &entry.node)
    {
        if !service::is_name(&name) {
            let better = service::better_name(&name);
            let draft = desk.refuse(entry.node.place, format!("`{name}` is not a name for a project"));
            draft.label("expected `a-z`, `0-9`, `-` and `_`, at most 40 of them, a letter or digit first");
            if service::is_name(&better) {
                draft.help(format!("did you mean `{better}`?"));
            }
        }
        return name;
    }
    let folder = desk.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = service::better_name(&folder);
    if service::is_name(&name) { name } else { "project".into() }
}

fn aws(desk: &mut Desk<'_>, entry: &Entry) -> Aws {
    let Some(table) = desk.table("aws", entry) else { return Aws::default() };
    desk.check_keys(Section::Aws, table);
    let mut get = |key: &str| table.get(key).and_then(|entry| Some((desk.filled(key, &entry.node)?, entry.node.place)));
    let (base_role, profile, region) = (get("base_role"), get("profile"), get("region"));
    let (role_prefix, sts_endpoint, get_mfa) = (get("role_prefix"), get("sts_endpoint"), get("mfa_serial"));
    let base_role = base_role.and_then(|(text, place)| match arn::check_role(&text) {
        Ok(()) => Some(RoleArn::checked(&text)),
        Err(bad) => {
            let draft = desk.refuse(place, format!("`{text}` is not a role's ARN"));
            draft.label(bad.label);
            if let Some(help) = bad.help {
                draft.help(help);
            }
            None
        }
    });
    if let Some((region, place)) = &region
        && !is_region(region)
    {
        desk.refuse(*place, format!("`{region}` is not a region")).label("expected a region such as `ap-southeast-2`");
    }
    if let Some((prefix, place)) = &role_prefix
        && !arn::is_prefix(prefix)
    {
        desk.refuse(*place, format!("`{prefix}` is not the beginning of a role's ARN"))
            .label("expected `arn:aws:iam::ACCOUNT:role/`, up to and with the last `/`");
    }
    if let Some((url, place)) = &sts_endpoint
        && !(url.starts_with("https://") || url.starts_with("http://"))
    {
        desk.refuse(*place, format!("`{url}` is not a URL")).label("expected `https://…`");
    }
    let mfa_serial = get_mfa.and_then(|(serial, place)| mfa_serial(desk, serial, place, base_role.is_some()));
    let text = |value: Option<(String, Place)>| value.map(|(text, _)| text);
    Aws {
        base_role,
        profile: text(profile),
        region: text(region),
        role_prefix: role_prefix.map(|(prefix, _)| prefix).filter(|prefix| arn::is_prefix(prefix)),
        sts_endpoint: text(sts_endpoint),
        mfa_serial,
    }
}

/// STS's SerialNumber: the ARN of a virtual device, or what is printed on a hardware one.
fn mfa_serial(desk: &mut Desk<'_>, serial: String, place: Place, base_is_a_role: bool) -> Option<String> {
    const SHAPE: &str = "expected `arn:aws:iam::ACCOUNT:mfa/NAME`, or the serial number of a hardware device";
    if base_is_a_role {
        desk.refuse(place, "`mfa_serial` beside `base_role`")
            .label("a role has no MFA device: it is of a base identity that is an IAM user")
            .help("drop one of the two");
        return None;
    }
    let parts: Vec<&str> = serial.splitn(6, ':').collect();
    let wrong = match parts[..] {
        ["arn", _, "iam", "", account, device] => match arn::check_account(account) {
            Err(bad) => Some(bad.label),
            Ok(()) if device.starts_with("u2f/") => {
                Some("a security key gives no codes, and STS takes nothing else: expected an `mfa/` device".to_owned())
            }
            Ok(()) if device.strip_prefix("mfa/").is_none_or(str::is_empty) => Some(SHAPE.to_owned()),
            Ok(()) => None,
        },
        ["arn", ..] => Some(SHAPE.to_owned()),
        _ => None,
    };
    let odd = serial.chars().find(|letter| !arn::is_word(*letter) && !":/".contains(*letter));
    let length = serial.chars().count();
    let label = match (wrong, odd) {
        (Some(label), _) => label,
        (None, Some(odd)) => format!("`{}` cannot be in it: {SHAPE}", odd.escape_debug()),
        (None, None) if !(9..=256).contains(&length) => format!("it has {length}; STS takes 9 to 256 characters"),
        (None, None) => return Some(serial),
    };
    desk.refuse(place, format!("`{serial}` is not an MFA device")).label(label);
    None
}

/// `xx-word-1`, `xx-iso-word-1`.
fn is_region(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    let letters = |part: &&str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => {
            words.len() >= 2
                && words.iter().all(letters)
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => false,
    }
}

/// Every service laid over `[defaults]`, with the place of its name.
fn merge_defaults(desk: &mut Desk<'_>, tree: &mut Table) -> BTreeMap<String, (Place, Table)> {
    let mut defaults = Table::new();
    if let Some(entry) = tree.get("defaults")
        && let Some(table) = desk.table("defaults", entry)
    {
        defaults = table.clone();
        node::mark_defaults(&mut defaults);
        if let Some(entry) = defaults.remove("ports") {
            desk.refuse(entry.key, "`ports` in `[defaults]`")
                .label("two services cannot listen at the same address")
                .help("each has its own: `[services.NAME.ports]`");
        }
    }
    let mut merged = BTreeMap::new();
    let Some(entry) = tree.get("services") else {
        desk.push("the manifest has no services")
            .at(Place { file: 0, start: 0, end: 0, layer: node::Layer::Own }, "")
            .absent()
            .help("add one:\n[services.web]\ncommand = \"./web --port 8001\"");
        return merged;
    };
    if let Value::List(_) = entry.node.value {
        desk.wrong("services", &entry.node, "a table per service").help("write `[services.web]`, not `[[services]]`");
        return merged;
    }
    let Some(services) = desk.table("services", entry) else { return merged };
    if services.is_empty() {
        desk.refuse(entry.key, "the manifest has no services")
            .absent()
            .label("it is empty")
            .help("add one:\n[services.web]\ncommand = \"./web --port 8001\"");
    }
    for (name, entry) in services {
        let Value::Table(table) = &entry.node.value else {
            let draft = desk.refuse(entry.node.place, format!("service `{name}` is {}", entry.node.value.kind()));
            draft.label("expected a table").help(format!("write `[services.{name}]` and its keys below"));
            continue;
        };
        let mut whole = defaults.clone();
        node::merge(&mut whole, table.clone());
        merged.insert(name.clone(), (entry.key, whole));
    }
    merged
}

/// Unix groups; that they exist is the daemon's to see.
fn access(desk: &mut Desk<'_>, entry: &Entry) -> Access {
    let Some(table) = desk.table("access", entry) else { return Access::default() };
    desk.check_keys(Section::Access, table);
    let mut group = |key: &str| table.get(key).and_then(|entry| identity::account(desk, key, &entry.node));
    Access { look: group("look"), operate: group("operate") }
}

fn sandbox(desk: &mut Desk<'_>, entry: &Entry, services: &BTreeMap<Name, Arc<Service>>, aws: &Aws) -> Sandbox {
    let mut sandbox = Sandbox::default();
    let Some(table) = desk.table("sandbox", entry) else { return sandbox };
    desk.check_keys(Section::Sandbox, table);
    if let Some(entry) = table.get("lease") {
        sandbox.lease = desk.duration("lease", &entry.node, "1s", "12h").unwrap_or(sandbox.lease);
    }
    if let Some(entry) = table.get("strict") {
        sandbox.strict = desk.flag("strict", &entry.node).unwrap_or_default();
    }
    let mut roles: BTreeSet<&str> = aws.base_role.iter().map(RoleArn::role_name).collect();
    roles.extend(services.values().filter_map(|service| service.role.as_ref()).map(|role| role.arn.role_name()));
    let Some(buckets) = table.get("buckets").and_then(|entry| desk.table("buckets", entry)) else { return sandbox };
    for (bucket, entry) in buckets {
        if !is_bucket(bucket) {
            desk.refuse(entry.key, format!("`{bucket}` is not a name for a bucket"))
                .label("expected 3 to 63 of `a-z`, `0-9`, `-` and `.`, a letter or digit at both ends");
        }
        let named = desk.texts(bucket, &entry.node);
        for (role, place) in &named {
            if !roles.contains(role.as_str()) {
                unused_role(desk, role, *place, &roles, services);
            }
        }
        sandbox.buckets.insert(bucket.clone(), named.into_iter().map(|(role, _)| role).collect());
    }
    sandbox
}

fn unused_role(
    desk: &mut Desk<'_>,
    role: &str,
    place: Place,
    roles: &BTreeSet<&str>,
    services: &BTreeMap<Name, Arc<Service>>,
) {
    let of_service = services.get(role).and_then(|service| service.role.as_ref()).map(|role| role.arn.role_name());
    let of_arn = role.starts_with("arn:").then(|| role.rsplit('/').next().unwrap_or_default());
    let of_arn = of_arn.filter(|name| roles.contains(name));
    let near = of_service.or(of_arn).or_else(|| words::nearest(role, roles.iter().copied()));
    let draft = desk.refuse(place, format!("no service runs as role `{role}`")).absent();
    match near {
        Some(near) if of_service.is_some() => draft.label(format!("service `{role}` runs as `{near}`")),
        Some(near) => draft.label(format!("did you mean `{near}`?")),
        None if roles.is_empty() => draft.label("no service has a role"),
        None => draft.label(format!("the roles are {}", quoted(roles.iter().copied()))),
    };
}

/// S3's rule, without the finer points.
fn is_bucket(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|letter| plain(letter) || letter == '-' || letter == '.')
}
