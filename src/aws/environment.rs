//! The environment of a run, whole: inherited without what is not the child's, `env_file`s, `env`, then devsup's own.
//!
//! Called by the daemon for every start, and by `exec` and `env`. What must never happen: a service sees an AWS
//! identity other than its own, or one at all when it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::scrub::{is_devsups_own, is_endpoint};
use super::{Credentials, SandboxBase};
use crate::manifest::is_scrubbed;
use crate::manifest::{Name, Service};
use crate::supervisor::Wall;

/// What stays of the inherited environment with `clean_env = true`.
const ALWAYS: &[&str] = &["PATH", "HOME", "USER", "LANG", "TERM", "TMPDIR"];
/// Never through a proxy: this machine, instance metadata and container credentials.
const DIRECT: &[&str] = &["127.0.0.1", "localhost", "169.254.169.254", "169.254.170.2"];

/// The session of whoever typed the command, which is not that of another user.
const OF_A_SESSION: &[&str] = &["DBUS_SESSION_BUS_ADDRESS", "HOME", "LOGNAME", "MAIL", "SHELL", "USER"];

fn is_of_a_session(name: &str) -> bool {
    OF_A_SESSION.contains(&name) || name.starts_with("XDG_") || name.starts_with("SSH_")
}

/// What a run of `service` gets, whole: inherited environment scrubbed, env_file, env, credentials, region, proxies, marks.
pub struct ChildEnvironment {
    /// In name order.
    pub variables: Vec<ChildVariable>,
    /// Names that were removed: inherited ones, and those of an `env_file` that would override the role.
    pub scrubbed: Vec<String>,
}

pub struct ChildVariable {
    pub name: OsString,
    pub value: OsString,
    /// `environment`, `user`, `env`, `env_file .env`, `devsup`, `role`.
    pub source: String,
    pub secret: bool,
}

impl ChildEnvironment {
    /// (What to write instead, the secret) for the log: the secrets devsup put here on purpose, nobody else's.
    pub fn redactions(&self, service: &Name) -> Vec<(String, String)> {
        self.variables
            .iter()
            .filter(|variable| variable.secret)
            .filter_map(|variable| {
                let what = match variable.name.to_str()? {
                    "AWS_SECRET_ACCESS_KEY" => "secret access key",
                    "AWS_SESSION_TOKEN" => "session token",
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN" => "endpoint token",
                    _ => return None,
                };
                Some((format!("[devsup: {what} of {service}]"), variable.value.to_str()?.to_owned()))
            })
            .filter(|(_, secret)| !secret.is_empty())
            .collect()
    }
}

/// What the run's environment is made of.
pub struct ChildSpec<'a> {
    pub service: &'a Service,
    pub run: u32,
    /// `<project>/<service>#<n>`: the mark.
    pub mark: String,
    pub inherited: &'a [(OsString, OsString)],
    /// With `user`: whose home and name it gets, instead of those of whoever typed the command.
    pub login: Option<&'a Login>,
    /// Read just now from `env_file`s: (file as written, variables).
    pub env_files: Vec<(String, BTreeMap<String, String>)>,
    /// `PORT`, `PORT_HTTP`: over what a file says, for that is the same for every run; the manifest's own `env` wins.
    pub ports: &'a [(String, String)],
    /// `None`: it has no role, or its credentials are not to be shown.
    pub handed: Option<Handed<'a>>,
    pub region: Option<&'a str>,
    pub sandbox_url: Option<&'a str>,
    /// With `--sandbox`: whom an `inherit_aws` service becomes.
    pub base_sandbox: Option<&'a SandboxBase>,
    /// `[aws] profile`: whom an `inherit_aws` service becomes without `--sandbox`, if the manifest names one.
    pub base_profile: Option<&'a str>,
    /// Path of this binary, for `DEVSUP`.
    pub devsup: &'a Path,
}

/// How the credentials of a role reach the process.
#[derive(Clone, Copy)]
pub enum Handed<'a> {
    /// As variables: a renewal is a replacement.
    Env(&'a Credentials),
    /// It asks `url` and shows a token. `config`: a private file with nothing in it that beats the endpoint.
    Endpoint { url: &'a str, token: Proof<'a>, config: &'a Path },
    /// `config` names a `credential_process`.
    Process { config: &'a Path },
}

/// What it shows at the endpoint.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    Token(&'a SecretString),
    /// The token is in this file, without a line end.
    File(&'a Path),
}

/// A user as passwd has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub name: String,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// Which AWS identity the child gets.
#[derive(Clone, Copy)]
enum Identity<'a> {
    Role(Handed<'a>),
    /// The base identity on purpose: the inherited AWS variables stay.
    Base {
        profile: Option<&'a str>,
    },
    BaseOfSandbox(&'a SandboxBase),
    None,
}

pub fn child_environment(spec: &ChildSpec<'_>) -> ChildEnvironment {
    let identity = match (spec.handed, spec.base_sandbox) {
        (Some(handed), _) => Identity::Role(handed),
        (None, Some(base)) if spec.service.inherit_aws => Identity::BaseOfSandbox(base),
        (None, _) if spec.service.inherit_aws => Identity::Base { profile: spec.base_profile },
        (None, _) => Identity::None,
    };
    let mut table = Table::default();
    inherit(&mut table, spec, identity);
    written(&mut table, spec, identity);
    become_identity(&mut table, identity);
    place(&mut table, spec);
    marks(&mut table, spec);
    table.finish()
}

/// Inherited variables, without those that are not the child's.
fn inherit(table: &mut Table, spec: &ChildSpec<'_>, identity: Identity<'_>) {
    let keeps_aws = matches!(identity, Identity::Base { .. });
    for (name, value) in spec.inherited {
        let text = name.to_string_lossy();
        let foreign = is_devsups_own(&text)
            || (is_scrubbed(&text) && !keeps_aws)
            || (is_endpoint(&text) && spec.sandbox_url.is_some())
            || (is_of_a_session(&text) && spec.login.is_some());
        if foreign {
            table.scrubbed.insert(text.into_owned());
        } else if (!spec.service.clean_env || ALWAYS.contains(&&*text) || (keeps_aws && text.starts_with("AWS_")))
            && !table.has(&text)
        {
            // `getenv` answers with the first of two; so do we.
            let secret = keeps_aws && ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].contains(&&*text);
            table.put(name, value, "environment", secret);
        }
    }
    if let Some(login) = spec.login {
        for name in ["USER", "LOGNAME"] {
            table.set(name, &login.name, "user");
        }
        table.put(OsStr::new("HOME"), login.home.as_os_str(), "user", false);
        table.put(OsStr::new("SHELL"), login.shell.as_os_str(), "user", false);
    }
}

/// What the manifest says, over what is inherited. The manifest's check refuses identity variables beside a role; a file
/// that is read at every start is held to the same rule here.
fn written(table: &mut Table, spec: &ChildSpec<'_>, identity: Identity<'_>) {
    let files = spec.env_files.iter().map(|(file, variables)| (format!("env_file {file}"), variables));
    let mut ports: BTreeMap<String, String> = spec.ports.iter().cloned().collect();
    ports.retain(|name, _| !spec.service.env.contains_key(name));
    let own = [("devsup".to_owned(), &ports), ("env".to_owned(), &spec.service.env)];
    for (source, variables) in files.chain(own) {
        for (name, value) in variables {
            let overrides_role =
                is_scrubbed(name) && matches!(identity, Identity::Role(_) | Identity::BaseOfSandbox(_));
            if overrides_role {
                table.scrubbed.insert(name.clone());
            } else {
                table.put(OsStr::new(name), OsStr::new(value), &source, false);
            }
        }
    }
}

/// The AWS identity itself.
fn become_identity(table: &mut Table, identity: Identity<'_>) {
    match identity {
        Identity::Role(handed) => {
            become_role(table, handed);
            table.set("AWS_EC2_METADATA_DISABLED", "true", "devsup");
        }
        Identity::BaseOfSandbox(base) => {
            table.set("AWS_ACCESS_KEY_ID", &base.access_key_id, "role");
            table.set_secret("AWS_SECRET_ACCESS_KEY", base.secret_access_key.expose_secret());
            if let Some(token) = &base.session_token {
                table.set_secret("AWS_SESSION_TOKEN", token.expose_secret());
            }
            table.set("AWS_EC2_METADATA_DISABLED", "true", "devsup");
        }
        Identity::Base { profile: Some(profile) } => {
            // Keys in variables beat a profile in most SDKs, and the profile is who devsup itself is.
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE"] {
                if table.is_inherited(name) {
                    table.remove(name);
                }
            }
            table.set("AWS_PROFILE", profile, "devsup");
        }
        Identity::Base { profile: None } => {}
        Identity::None => {
            // Unless the manifest's own `env` gives an identity by hand (LocalStack's `test` keys): then that one.
            for name in ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"] {
                table.set_unless_written(name, "/dev/null");
            }
            table.set_unless_written("AWS_EC2_METADATA_DISABLED", "true");
        }
    }
}

fn become_role(table: &mut Table, handed: Handed<'_>) {
    let config = match handed {
        Handed::Env(credentials) => {
            table.set("AWS_ACCESS_KEY_ID", &credentials.access_key_id, "role");
            table.set_secret("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.expose_secret());
            table.set_secret("AWS_SESSION_TOKEN", credentials.session_token.expose_secret());
            table.set("AWS_CREDENTIAL_EXPIRATION", &zulu(credentials.expires), "role");
            return;
        }
        Handed::Endpoint { url, token, config } => {
            // Never the relative URI beside it, and never both tokens: SDKs disagree which of two wins.
            table.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, "role");
            match token {
                Proof::Token(token) => table.set_secret("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.expose_secret()),
                Proof::File(path) => {
                    let name = OsStr::new("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
                    table.put(name, path.as_os_str(), "role", false);
                }
            }
            config
        }
        Handed::Process { config } => config,
    };
    // A `[default]` profile on disk beats either.
    table.set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", "devsup");
    table.put(OsStr::new("AWS_CONFIG_FILE"), config.as_os_str(), "role", false);
}

/// Where AWS is: region, sandbox, what goes past the proxy.
fn place(table: &mut Table, spec: &ChildSpec<'_>) {
    // A region written for this very service wins; written once, it counts for both names.
    let own = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| table.written(name));
    let region = own.or_else(|| spec.region.map(OsString::from));
    if let Some(region) = region {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if table.written(name).is_none() {
                table.put(OsStr::new(name), &region, "devsup", false);
            }
        }
    }
    if let Some(url) = spec.sandbox_url {
        table.set("AWS_ENDPOINT_URL", url, "devsup");
    }
    let rules = table.value("NO_PROXY").or_else(|| table.value("no_proxy")).unwrap_or_default();
    let rules = direct(&rules.to_string_lossy());
    table.set("NO_PROXY", &rules, "devsup");
    table.set("no_proxy", &rules, "devsup");
}

/// Who started it.
fn marks(table: &mut Table, spec: &ChildSpec<'_>) {
    if !table.has("PYTHONUNBUFFERED") {
        // Into a pipe Python would hold its output back for minutes.
        table.set("PYTHONUNBUFFERED", "1", "devsup");
    }
    if spec.service.tty && !table.has("TERM") {
        table.set("TERM", "xterm-256color", "devsup");
    }
    table.put(OsStr::new("DEVSUP"), spec.devsup.as_os_str(), "devsup", false);
    table.set("DEVSUP_SERVICE", spec.service.name.as_str(), "devsup");
    table.set("DEVSUP_RUN", &spec.mark, "devsup");
    table.put(OsStr::new("PWD"), spec.service.working_dir.as_os_str(), "devsup", false);
}

/// The rules there were, and ours behind them.
fn direct(rules: &str) -> String {
    let mut all: Vec<&str> = rules.split(',').map(str::trim).filter(|rule| !rule.is_empty()).collect();
    for rule in DIRECT {
        if !all.contains(rule) {
            all.push(rule);
        }
    }
    all.join(",")
}

/// `2026-11-22T12:00:00Z`: whole seconds, rounded down, because some SDKs parse exactly that form.
pub fn zulu(at: Wall) -> String {
    jiff::Timestamp::from_second(at.0.div_euclid(1000)).map(|at| at.to_string()).unwrap_or_default()
}

/// The variables so far, one of each name.
#[derive(Default)]
struct Table {
    variables: BTreeMap<OsString, (OsString, String, bool)>,
    scrubbed: BTreeSet<String>,
}

impl Table {
    fn put(&mut self, name: &OsStr, value: &OsStr, source: &str, secret: bool) {
        self.variables.insert(name.to_owned(), (value.to_owned(), source.to_owned(), secret));
    }

    fn set(&mut self, name: &str, value: &str, source: &str) {
        self.put(OsStr::new(name), OsStr::new(value), source, false);
    }

    fn set_secret(&mut self, name: &str, value: &str) {
        self.put(OsStr::new(name), OsStr::new(value), "role", true);
    }

    fn set_unless_written(&mut self, name: &str, value: &str) {
        if self.written(name).is_none() {
            self.set(name, value, "devsup");
        }
    }

    fn remove(&mut self, name: &str) {
        self.variables.remove(OsStr::new(name));
        self.scrubbed.insert(name.to_owned());
    }

    fn has(&self, name: &str) -> bool {
        self.variables.contains_key(OsStr::new(name))
    }

    fn value(&self, name: &str) -> Option<OsString> {
        self.variables.get(OsStr::new(name)).map(|(value, ..)| value.clone())
    }

    fn is_inherited(&self, name: &str) -> bool {
        self.variables.get(OsStr::new(name)).is_some_and(|(_, source, _)| source == "environment")
    }

    /// The value that the manifest itself gives.
    fn written(&self, name: &str) -> Option<OsString> {
        let (value, source, _) = self.variables.get(OsStr::new(name))?;
        (source == "env" || source.starts_with("env_file ")).then(|| value.clone())
    }

    fn finish(self) -> ChildEnvironment {
        let variables = self
            .variables
            .into_iter()
            .map(|(name, (value, source, secret))| ChildVariable { name, value, source, secret })
            .collect();
        ChildEnvironment { variables, scrubbed: self.scrubbed.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests;
