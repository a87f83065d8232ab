//! Asks AWS: who we are, a lease for a role, and what a child's environment must be. Called by the daemon and by
//! `whoami`; never by the supervisor. Secrets live here in [`Credentials`] and leave only into a child's environment.
//!
//! (Skeleton of the interface; bodies follow.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use secrecy::SecretString;

use crate::manifest::{Aws, Role, Service};
use crate::supervisor::{Refusal, Wall};

/// Temporary credentials. Debug shows the access key id only; zeroized on drop.
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: SecretString,
    /// AWS's own Expiration.
    pub expires: Wall,
}

/// Where AWS is and who we are there.
pub struct BaseSpec {
    pub aws: Aws,
    /// The environment the base identity is resolved in (the owner's, as handed over).
    pub env: Vec<(OsString, OsString)>,
    /// Set with `--sandbox`: the chain is never loaded.
    pub sandbox: Option<SandboxBase>,
}

/// The embedded AWS: its address and the base identity it gave us.
#[derive(Clone)]
pub struct SandboxBase {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
}

/// The base identity and its STS client; built at the first ask, dropped and built again when its credentials expired.
pub struct Base {}

/// An answer of AssumeRole, checked to be the role and account that was asked for.
pub struct Grant {
    pub credentials: Credentials,
    /// Expiration − the answer's own Date.
    pub left: Duration,
    pub assumed_role_arn: String,
    /// Local clock − the answer's Date, milliseconds.
    pub skew_ms: i64,
    /// The role allowed only one hour because our base is itself a role; remembered by `Base`.
    pub capped: bool,
    pub packed_policy_percent: Option<i32>,
}

pub struct Identity {
    pub arn: String,
    pub account: String,
    /// Where the SDK found the credentials: `environment`, `profile dev`, `instance metadata`, `sandbox` …
    pub source: String,
}

/// Fills `{user}`, `{host}`, `{project}` of a session name.
#[derive(Clone)]
pub struct Who {
    pub user: String,
    pub host: String,
    pub project: String,
}

impl Base {
    pub fn new(_spec: BaseSpec) -> Self {
        Self {}
    }

    /// One AssumeRole: 5 s an attempt, 15 s in all. Cheap to clone handles, may be called concurrently from tasks of one thread.
    pub async fn assume(&self, _service: &Service, _role: &Role, _who: &Who) -> Result<Grant, Refusal> {
        std::future::pending().await
    }

    pub async fn identity(&self) -> Result<Identity, Refusal> {
        std::future::pending().await
    }

    /// GetCallerIdentity with a service's own credentials: the ARN.
    pub async fn identity_of(&self, _credentials: &Credentials) -> Result<String, Refusal> {
        std::future::pending().await
    }

    /// The region services get: `[aws] region`, else what the base identity resolves to.
    pub async fn region(&self) -> Option<String> {
        None
    }

    /// Endpoint overrides in force with real credentials, for `up` and `ps`: `AWS_ENDPOINT_URL_STS = http://…`.
    pub fn overrides(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a run of `service` gets, whole: inherited environment scrubbed, env_file, env, credentials, region, proxies, marks.
pub struct ChildEnvironment {
    pub variables: Vec<ChildVariable>,
    /// Inherited names that were removed.
    pub scrubbed: Vec<String>,
}

pub struct ChildVariable {
    pub name: OsString,
    pub value: OsString,
    /// `environment`, `env`, `env_file .env`, `devsup`, `role`.
    pub source: String,
    pub secret: bool,
}

/// What the run's environment is made of.
pub struct ChildSpec<'a> {
    pub service: &'a Service,
    pub run: u32,
    /// `<project>/<service>#<n>`: the mark.
    pub mark: String,
    pub inherited: &'a [(OsString, OsString)],
    /// Read just now from `env_file`s: (file as written, variables).
    pub env_files: Vec<(String, BTreeMap<String, String>)>,
    pub credentials: Option<&'a Credentials>,
    pub region: Option<&'a str>,
    pub sandbox_url: Option<&'a str>,
    /// Path of this binary, for `DEVSUP`.
    pub devsup: &'a std::path::Path,
}

pub fn child_environment(_spec: &ChildSpec<'_>) -> ChildEnvironment {
    ChildEnvironment { variables: Vec::new(), scrubbed: Vec::new() }
}
