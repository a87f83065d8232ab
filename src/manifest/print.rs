//! `devsup config`: the manifest as resolved, as TOML that can be read again, each value with where it came from.
//!
//! Never a secret: values of variables whose names or looks are secret are `***`, wherever they were expanded to.

use std::fmt::{Display, Write};
use std::path::Path;
use std::time::Duration;

use super::load::Loaded;
use super::{Access, Aws, Check, Command, Condition, Dependency, Handover, Live, Manifest, Port, Probe, Ready};
use super::{Listen, Replace, Restart, Role, listening};
use super::{Sandbox, Service, StopMode, kept, resources, scrub, signal, size, template};

/// The manifest as devsup reads it, with `# default`, `# services.toml:12` and `# [defaults], services.toml:3`.
pub fn print(loaded: &Loaded) -> String {
    let mut page = Page { text: String::new(), loaded };
    let manifest = &loaded.manifest;
    page.line("name", "name", quote(&manifest.name));
    aws(&mut page, &manifest.aws);
    for service in manifest.services.values() {
        self::service(&mut page, manifest, service);
    }
    access(&mut page, &manifest.access);
    all_logs(&mut page, manifest.logs_max_total);
    sandbox(&mut page, &manifest.sandbox);
    page.text
}

struct Page<'a> {
    text: String,
    loaded: &'a Loaded,
}

impl Page<'_> {
    fn header(&mut self, path: &str) {
        self.put(format_args!("\n[{path}]\n"));
    }

    fn line(&mut self, path: &str, key: &str, value: impl Display) {
        let value = self.loaded.origins.masked(&value.to_string());
        let origin = self.loaded.origins.say(path);
        self.put(format_args!("{key} = {value}  # {origin}\n"));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _written = self.text.write_fmt(text);
    }
}

fn aws(page: &mut Page<'_>, aws: &Aws) {
    if *aws == Aws::default() {
        return;
    }
    page.header("aws");
    let values = [
        ("base_role", aws.base_role.as_ref().map(ToString::to_string)),
        ("profile", aws.profile.clone()),
        ("region", aws.region.clone()),
        ("role_prefix", aws.role_prefix.clone()),
        ("sts_endpoint", aws.sts_endpoint.clone()),
        ("mfa_serial", aws.mfa_serial.clone()),
    ];
    for (key, value) in values {
        if let Some(value) = value {
            page.line(&format!("aws.{key}"), key, text(&value));
        }
    }
}

fn service(page: &mut Page<'_>, manifest: &Manifest, service: &Service) {
    let above = format!("services.{}", service.name);
    page.header(&above);
    let Some(argv) = &service.command else {
        // An external one has nothing else.
        checks(page, service, &above);
        return;
    };
    let mut line = |key: &str, value: String| page.line(&format!("{above}.{key}"), key, value);
    line("command", command(argv));
    line("working_dir", path(&service.working_dir, &manifest.dir));
    line("env_file", list(service.env_file.iter().map(|file| path(file, &manifest.dir))));
    line("clean_env", service.clean_env.to_string());
    line("autostart", service.autostart.to_string());
    line("depends_on", dependencies(service));
    line("restart", quote(restart(service.restart)));
    let backoff = service.backoff;
    let [first, max, reset] = [backoff.first, backoff.max, backoff.reset_after].map(span);
    line("backoff", format!("{{ first = {first}, max = {max}, reset_after = {reset} }}"));
    line("max_restarts", service.max_restarts.map_or_else(|| quote("none"), |count| count.to_string()));
    line("stop_signal", quote(signal::name(service.stop_signal).unwrap_or("SIGTERM")));
    line("stop_mode", quote(if service.stop_mode == StopMode::Group { "group" } else { "main" }));
    line("stop_timeout", span(service.stop_timeout));
    if let Some(stop) = &service.stop_command {
        line("stop_command", command(stop));
    }
    checks(page, service, &above);
    page.line(&format!("{above}.replace"), "replace", quote(replace(service.replace)));
    identity(page, service, &above);
    if service.role.is_none() {
        page.line(&format!("{above}.inherit_aws"), "inherit_aws", service.inherit_aws);
    }
    if !service.env.is_empty() {
        env(page, service, &format!("{above}.env"));
    }
    if !service.ports.is_empty() {
        ports(page, service, &format!("{above}.ports"), &manifest.dir);
    }
    if let Some(role) = &service.role {
        self::role(page, role, &above);
    }
}

fn checks(page: &mut Page<'_>, service: &Service, above: &str) {
    if let Some(ready) = &service.ready {
        page.line(&format!("{above}.ready"), "ready", self::ready(ready));
    }
    if let Some(live) = &service.live {
        page.line(&format!("{above}.live"), "live", self::live(live));
    }
}

fn ready(ready: &Ready) -> String {
    let timeout = span(ready.timeout);
    let check = match &ready.check {
        Check::Probe(probe) => {
            return format!("{{ {}, timeout = {timeout}, interval = {} }}", self::probe(probe), span(ready.interval));
        }
        Check::Log(pattern) => format!("log = {}", text(pattern)),
        Check::Notify => "notify = true".into(),
        Check::Fd(number) => format!("fd = {number}"),
    };
    format!("{{ {check}, timeout = {timeout} }}")
}

fn live(live: &Live) -> String {
    let [interval, timeout] = [live.interval, live.timeout].map(span);
    let probe = probe(&live.probe);
    format!("{{ {probe}, interval = {interval}, timeout = {timeout}, failures = {} }}", live.failures)
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Http(url) => format!("http = {}", text(&url.to_string())),
        Probe::Tcp(address) => format!("tcp = {}", text(&address.to_string())),
        Probe::Exec(command) => format!("exec = {}", self::command(command)),
    }
}

fn identity(page: &mut Page<'_>, service: &Service, above: &str) {
    let mut line = |key: &str, value: String| page.line(&format!("{above}.{key}"), key, value);
    line("watch", list(service.watch.iter().map(|glob| text(glob))));
    if let Some(user) = &service.user {
        line("user", text(user));
    }
    if let Some(group) = &service.group {
        line("group", text(group));
    }
    if let Some(umask) = service.umask {
        line("umask", quote(&format!("{umask:03o}")));
    }
    if let Some(nice) = service.nice {
        line("nice", nice.to_string());
    }
    line("limits", resources::show(&service.limits));
    line("logs", kept::show(&service.logs));
    line("tty", service.tty.to_string());
    line("isolate", service.isolate.to_string());
}

fn env(page: &mut Page<'_>, service: &Service, above: &str) {
    page.header(above);
    for (name, value) in &service.env {
        let secret = scrub::is_secret_name(name) || scrub::is_secret_value(value);
        let value = if secret { quote("***") } else { text(value) };
        let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let key = if bare { name.clone() } else { quote(name) };
        page.line(&format!("{above}.{name}"), &key, value);
    }
}

fn ports(page: &mut Page<'_>, service: &Service, above: &str, dir: &Path) {
    page.header(above);
    for (name, port) in &service.ports {
        page.line(&format!("{above}.{name}"), name, self::port(port, dir));
    }
}

fn port(port: &Port, dir: &Path) -> String {
    let listen = match &port.listen {
        Listen::Unix(socket) => listening::written(socket, dir),
        listen => listen.to_string(),
    };
    let wait = if port.handover == Handover::Forward { format!(", wait = {}", span(port.wait)) } else { String::new() };
    format!("{{ listen = {}, handover = {}{wait} }}", text(&listen), quote(port.handover.word()))
}

fn replace(replace: Replace) -> &'static str {
    match replace {
        Replace::Restart => "restart",
        Replace::Overlap => "overlap",
    }
}

fn role(page: &mut Page<'_>, role: &Role, service: &str) {
    let above = format!("{service}.role");
    page.header(&above);
    // The short form has its place at `role` itself.
    let short = page.loaded.origins.get(&format!("{above}.arn")).is_none();
    page.line(&if short { above.clone() } else { format!("{above}.arn") }, "arn", quote(role.arn.as_str()));
    let mut line = |key: &str, value: String| page.line(&format!("{above}.{key}"), key, value);
    line("duration", span(role.duration));
    if let Some(before) = role.rotate_before {
        line("rotate_before", span(before));
    }
    line("delivery", quote(&format!("{:?}", role.delivery).to_lowercase()));
    line("session_name", quote(&role.session_name));
    if let Some(id) = &role.external_id {
        line("external_id", quote(id));
    }
    if let Some(policy) = &role.policy {
        line("policy", quote(policy));
    }
    if !role.policy_arns.is_empty() {
        line("policy_arns", list(role.policy_arns.iter().map(|arn| quote(arn))));
    }
    if !role.via.is_empty() {
        line("via", list(role.via.iter().map(|arn| quote(arn.as_str()))));
    }
    if let Some(identity) = &role.source_identity {
        line("source_identity", quote(identity));
    }
    if !role.tags.is_empty() {
        let tags: Vec<String> =
            role.tags.iter().map(|(key, value)| format!("{} = {}", quote(key), quote(value))).collect();
        line("tags", format!("{{ {} }}", tags.join(", ")));
    }
    if !role.transitive_tags.is_empty() {
        line("transitive_tags", list(role.transitive_tags.iter().map(|key| quote(key))));
    }
}

fn access(page: &mut Page<'_>, access: &Access) {
    if *access == Access::default() {
        return;
    }
    page.header("access");
    for (key, group) in [("look", &access.look), ("operate", &access.operate)] {
        if let Some(group) = group {
            page.line(&format!("access.{key}"), key, text(group));
        }
    }
}

fn all_logs(page: &mut Page<'_>, max_total: Option<u64>) {
    if let Some(max_total) = max_total {
        page.header("logs");
        page.line("logs.max_total", "max_total", quote(&size::show(max_total)));
    }
}

fn sandbox(page: &mut Page<'_>, sandbox: &Sandbox) {
    page.header("sandbox");
    page.line("sandbox.lease", "lease", span(sandbox.lease));
    page.line("sandbox.strict", "strict", sandbox.strict);
    if sandbox.buckets.is_empty() {
        return;
    }
    page.header("sandbox.buckets");
    for (bucket, roles) in &sandbox.buckets {
        let key = if bucket.contains('.') { quote(bucket) } else { bucket.clone() };
        page.line(&format!("sandbox.buckets.{bucket}"), &key, list(roles.iter().map(|role| text(role))));
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Exec(words) => list(words.iter().map(|word| text(word))),
        Command::Shell(line) => text(line),
    }
}

fn dependencies(service: &Service) -> String {
    let condition = |dependency: &Dependency| match dependency.condition {
        Condition::Started => "\"started\"",
        Condition::Ready => "\"ready\"",
        Condition::Completed => "\"completed\"",
    };
    let one = |(name, dependency): (&super::Name, &Dependency)| {
        let condition = condition(dependency);
        if dependency.restart {
            format!("{name} = {{ condition = {condition}, restart = true }}")
        } else {
            format!("{name} = {condition}")
        }
    };
    let all: Vec<String> = service.depends_on.iter().map(one).collect();
    if all.is_empty() { "{}".into() } else { format!("{{ {} }}", all.join(", ")) }
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Relative to the manifest's folder where it lies in it, as a person would write it.
fn path(path: &Path, dir: &Path) -> String {
    match path.strip_prefix(dir) {
        Ok(inside) if inside.as_os_str().is_empty() => quote("."),
        Ok(inside) => text(&inside.to_string_lossy()),
        Err(_) => text(&path.to_string_lossy()),
    }
}

/// A string that is expanded when it is read again: a `$` that would begin something is doubled, and what a run fills
/// stands as it was written.
pub(super) fn text(value: &str) -> String {
    let mut escaped = String::new();
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == template::OPEN {
            escaped.push_str("${");
            continue;
        }
        escaped.push(letter);
        if letter == '$' && matches!(letters.peek(), Some('$' | '{' | &template::OPEN)) {
            escaped.push('$');
        }
    }
    quote(&escaped)
}

/// A TOML basic string: JSON's escapes are a part of TOML's, but for DEL.
fn quote(value: &str) -> String {
    serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f")
}

/// `"1h30m"`, exactly.
fn span(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let mut text = String::new();
    for (count, unit) in
        [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (u64::from(millis), "ms")]
    {
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    quote(if text.is_empty() { "0s" } else { &text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_dollars_are_exact() {
        assert_eq!(span(Duration::from_millis(5_400_500)), "\"1h30m500ms\"");
        assert_eq!(span(Duration::ZERO), "\"0s\"");
        for value in
            ["\0PORT}", "$\0PORT}$\0PORT}", "$$\0ports.a.b}", "$$", "${X}", "$X", "a$", "$$${", "\u{7f}\u{1}\"\\"]
        {
            let again: toml::Table = toml::from_str(&format!("x = {}", text(value))).expect("TOML");
            let text = again["x"].as_str().expect("a string");
            let of_run = |name: &str| Ok(template::mark(name));
            let read = super::super::interpolate::expand(text, &|_| None, &of_run);
            assert_eq!((read.text.as_str(), read.faults.len()), (value, 0));
        }
    }
}
