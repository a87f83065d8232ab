//! The base identity: who devsup itself is in AWS, and the STS client that speaks as it.
//!
//! ```text
//! nothing ──first ask──▶ loaded ──credentials run out, or AWS refuses them──▶ nothing
//! ```
//!
//! Built at the first ask, because reading the trust stores takes longer than all of `ps`. What must never happen: with
//! `--sandbox` the chain is not even looked at.

mod standing;

pub use standing::Standing;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::chain::{Missing, Variables};
use super::error::{self, About, Failure};
use super::examine::Examined;
use super::flight::Flights;
use super::loaded::Loaded;
use super::mfa::Mfa;
use super::speaker::OnTheWay;
use super::{Credentials, arn, http};
use crate::manifest::{Aws, Role};
use crate::supervisor::{Refusal, Wall};
use crate::sys::clock;

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

/// How long AWS may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// One attempt.
    pub attempt: Duration,
    /// All of them, base identity included.
    pub whole: Duration,
    /// The SDK's own attempts within one ask, and its first pause between them.
    pub attempts: u32,
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(5),
            whole: Duration::from_secs(15),
            attempts: 3,
            pause: Duration::from_millis(500),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub arn: String,
    pub account: String,
    /// Where the SDK found the credentials: `environment`, `profile dev`, `instance metadata`, `sandbox` …
    pub source: String,
}

/// The base identity and its STS client; built at the first ask, dropped and built again when its credentials expired.
/// Clones are handles on the same.
#[derive(Clone)]
pub struct Base {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    spec: BaseSpec,
    env: Variables,
    patience: Patience,
    loaded: tokio::sync::Mutex<Option<Arc<Loaded>>>,
    /// Roles of which AWS said that they last an hour at most.
    capped: Mutex<BTreeSet<String>>,
    pub(super) flights: Flights,
    pub(super) on_the_way: OnTheWay,
    pub(super) mfa: Mfa,
    pub(super) examined: Examined,
    /// PackedPolicySize of each role's last lease, in percent.
    packed: Mutex<BTreeMap<String, i32>>,
    /// Local clock − AWS's, as of its last answer.
    skew_ms: Mutex<Option<i64>>,
}

/// Variables that send devsup's own requests elsewhere than to AWS.
const OVERRIDES: &[&str] = &["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];

/// The wall clock now.
pub(super) fn wall() -> Wall {
    Wall(i64::try_from(clock::realtime().as_millis()).unwrap_or(i64::MAX))
}

impl Base {
    pub fn new(spec: BaseSpec) -> Self {
        Self::with_patience(spec, Patience::default())
    }

    pub fn with_patience(spec: BaseSpec, patience: Patience) -> Self {
        let env = Variables::new(&spec.env);
        let loaded = tokio::sync::Mutex::new(None);
        let inner = Inner {
            spec,
            env,
            patience,
            loaded,
            capped: Mutex::default(),
            flights: Flights::default(),
            on_the_way: OnTheWay::default(),
            mfa: Mfa::default(),
            examined: Examined::default(),
            packed: Mutex::default(),
            skew_ms: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub async fn identity(&self) -> Result<Identity, Refusal> {
        let ask = Box::pin(async {
            let loaded = self.loaded(None).await?;
            match self.identity_by(&loaded).await {
                Err(failure) if failure.base_is_stale() => {
                    self.drop_base(&loaded).await;
                    self.identity_by(&*self.loaded(None).await?).await
                }
                answer => answer,
            }
        });
        self.bounded(None, ask).await
    }

    /// GetCallerIdentity with a service's own credentials: the ARN.
    pub async fn identity_of(&self, credentials: &Credentials) -> Result<String, Refusal> {
        let own = aws_credential_types::Credentials::new(
            credentials.access_key_id.clone(),
            credentials.secret_access_key.expose_secret(),
            Some(credentials.session_token.expose_secret().to_owned()),
            None,
            "devsup lease",
        );
        let ask = Box::pin(async {
            let loaded = self.loaded(None).await?;
            let config = loaded.client.config().to_builder().credentials_provider(own).build();
            let answer = aws_sdk_sts::Client::from_conf(config).get_caller_identity().send().await;
            answer.map(|who| who.arn.unwrap_or_default()).map_err(|error| Failure::of(&error, wall().0))
        });
        self.bounded(None, ask).await
    }

    /// The region services get: `[aws] region`, else what the base identity resolves to.
    pub async fn region(&self) -> Option<String> {
        if let Some(region) =
            self.spec().aws.region.clone().or_else(|| self.spec().sandbox.as_ref().map(|s| s.region.clone()))
        {
            return Some(region);
        }
        if let Some(region) = self.env("AWS_REGION").or_else(|| self.env("AWS_DEFAULT_REGION")) {
            return Some(region.to_owned());
        }
        tokio::time::timeout(self.patience().whole, self.loaded(None)).await.ok()?.ok()?.region.clone()
    }

    /// Endpoint overrides in force with real credentials, for `up` and `ps`: `AWS_ENDPOINT_URL_STS = http://…`.
    pub fn overrides(&self) -> Vec<String> {
        if self.spec().sandbox.is_some() {
            return Vec::new();
        }
        let mut all = Vec::new();
        if let Some(url) = &self.spec().aws.sts_endpoint {
            all.push(format!("[aws] sts_endpoint = {}", http::without_password(url)));
        }
        let ignored = self.inner.env.ignores_endpoints();
        let names = if ignored { &["AWS_EC2_METADATA_SERVICE_ENDPOINT"][..] } else { OVERRIDES };
        all.extend(
            names.iter().filter_map(|name| Some(format!("{name} = {}", http::without_password(self.env(name)?)))),
        );
        if let Some(url) = self.profile_endpoint() {
            all.push(format!("endpoint_url = {url} in the profile"));
        }
        all
    }

    /// Within the whole patience; whatever goes wrong becomes a refusal about `role`.
    pub(super) async fn bounded<T>(
        &self,
        role: Option<&Role>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Refusal> {
        let answer = tokio::time::timeout(self.patience().whole, work).await;
        let failure = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unreachable(format!("no answer in {}", crate::manifest::Secs(self.patience().whole))),
        };
        let loaded = self.inner.loaded.try_lock().ok().and_then(|held| held.clone());
        Err(error::refusal(&failure, &self.about(role, loaded.as_deref())))
    }

    /// The base as it is now, loaded if it is not, or its credentials are about to end.
    pub(super) async fn loaded(&self, not: Option<&Arc<Loaded>>) -> Result<Arc<Loaded>, Failure> {
        let mut held = self.inner.loaded.lock().await;
        if let Some(loaded) = held.as_ref()
            && !loaded.ends_soon()
            && not.is_none_or(|stale| !Arc::ptr_eq(stale, loaded))
        {
            return Ok(Arc::clone(loaded));
        }
        match Box::pin(Loaded::load(&self.inner.spec, &self.inner.env, self.inner.patience)).await {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                *held = Some(Arc::clone(&fresh));
                Ok(fresh)
            }
            // What is held is still good for a moment.
            Err(_) if held.as_ref().is_some_and(|old| !old.ended() && not.is_none()) => {
                held.clone().ok_or_else(|| Failure::NoBase(Missing::new("they just ended")))
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn drop_base(&self, stale: &Arc<Loaded>) {
        let mut held = self.inner.loaded.lock().await;
        if held.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, stale)) {
            *held = None;
        }
    }

    /// Who the loaded base is, asked once a loading.
    pub(super) async fn identity_by(&self, loaded: &Loaded) -> Result<Identity, Failure> {
        let ask = async {
            let who =
                loaded.client.get_caller_identity().send().await.map_err(|error| Failure::of(&error, wall().0))?;
            let arn = who.arn.unwrap_or_default();
            let account = who.account.or_else(|| arn::account(&arn).map(str::to_owned)).unwrap_or_default();
            Ok(Identity { arn, account, source: loaded.source.clone() })
        };
        loaded.identity.get_or_try_init(|| ask).await.cloned()
    }

    /// `[aws] base_role` must be who we are, before anything is asked in its name.
    pub(super) async fn check_base_role(&self, loaded: &Arc<Loaded>) -> Result<(), Failure> {
        let Some(must) = self.spec().aws.base_role.as_ref().filter(|_| self.spec().sandbox.is_none()) else {
            return Ok(());
        };
        let is = self.identity_by(loaded).await?;
        if arn::AssumedRole::read(&is.arn).is_some_and(|role| role.is(must)) {
            return Ok(());
        }
        let refusal = error::base_role_mismatch(&is.arn, must.as_str(), &self.about(None, Some(loaded)));
        // Somebody may have mended it when it is asked again.
        self.drop_base(loaded).await;
        Err(Failure::Refused(Box::new(refusal)))
    }

    pub(super) fn about<'a>(&'a self, role: Option<&'a Role>, loaded: Option<&Loaded>) -> About<'a> {
        let sandbox = self.spec().sandbox.as_ref();
        let region = loaded.and_then(|loaded| loaded.region.clone()).or_else(|| self.spec().aws.region.clone());
        About {
            role,
            caller: loaded.and_then(|loaded| loaded.identity.get()).map(|who| who.arn.clone()),
            base_role: self.spec().aws.base_role.as_ref().map(crate::manifest::RoleArn::as_str),
            source: loaded.map(|loaded| loaded.source.clone()).unwrap_or_default(),
            endpoint: self.endpoint(region.as_deref(), loaded.and_then(|loaded| loaded.endpoint.as_deref())),
            sent_by: self.sent_by(loaded),
            proxy: http::Proxy::of(&self.inner.env).shown().filter(|_| sandbox.is_none()),
            mfa_serial: self.mfa_serial(),
            sandbox: sandbox.is_some(),
            packed: role.and_then(|role| self.packed(role.arn.as_str())),
            region,
            at: wall(),
        }
    }

    /// Where the profile's `endpoint_url` sends us, once the base is loaded, and if nothing stronger does.
    fn profile_endpoint(&self) -> Option<String> {
        let stronger = self.spec().aws.sts_endpoint.is_some()
            || ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].into_iter().any(|name| self.env(name).is_some());
        let loaded = self.inner.loaded.try_lock().ok().and_then(|held| held.clone())?;
        loaded.endpoint.as_deref().filter(|_| !stronger).map(http::without_password)
    }

    /// Host (and port) that answers for STS.
    fn endpoint(&self, region: Option<&str>, of_profile: Option<&str>) -> String {
        let ignored = self.inner.env.ignores_endpoints();
        let env = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
            .into_iter()
            .filter(|_| !ignored)
            .find_map(|name| self.env(name));
        let sandbox = self.spec().sandbox.as_ref().map(|sandbox| sandbox.url.as_str());
        match sandbox.or(self.spec().aws.sts_endpoint.as_deref()).or(env).or(of_profile) {
            Some(url) => {
                let shown = http::without_password(url);
                shown.split_once("://").map_or(shown.as_str(), |(_, host)| host).to_owned()
            }
            None => format!("sts.{}.amazonaws.com", region.unwrap_or("us-east-1")),
        }
    }

    /// Which setting sends us there instead of to AWS.
    fn sent_by(&self, loaded: Option<&Loaded>) -> Option<&'static str> {
        if self.spec().sandbox.is_some() {
            return None;
        }
        if self.spec().aws.sts_endpoint.is_some() {
            return Some("[aws] sts_endpoint");
        }
        let ignored = self.inner.env.ignores_endpoints();
        let by_variable = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
            .into_iter()
            .filter(|_| !ignored)
            .find(|name| self.env(name).is_some());
        by_variable
            .or_else(|| loaded.and_then(|loaded| loaded.endpoint.as_ref()).map(|_| "endpoint_url in the profile"))
    }

    pub(super) fn is_capped(&self, role: &str) -> bool {
        self.inner.capped.lock().unwrap_or_else(PoisonError::into_inner).contains(role)
    }

    pub(super) fn remember_cap(&self, role: &str) {
        self.inner.capped.lock().unwrap_or_else(PoisonError::into_inner).insert(role.to_owned());
    }

    pub(super) fn remember_packed(&self, role: &str, percent: i32) {
        self.inner.packed.lock().unwrap_or_else(PoisonError::into_inner).insert(role.to_owned(), percent);
    }

    fn packed(&self, role: &str) -> Option<i32> {
        self.inner.packed.lock().unwrap_or_else(PoisonError::into_inner).get(role).copied()
    }

    /// How far this machine's clock was from AWS's at its last answer: local less AWS's, in milliseconds.
    pub fn skew_ms(&self) -> Option<i64> {
        *self.inner.skew_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember_skew(&self, skew_ms: Option<i64>) {
        if skew_ms.is_some() {
            *self.inner.skew_ms.lock().unwrap_or_else(PoisonError::into_inner) = skew_ms;
        }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn patience(&self) -> Patience {
        self.inner.patience
    }

    pub(super) fn spec(&self) -> &BaseSpec {
        &self.inner.spec
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.inner.env
    }

    fn env(&self, name: &str) -> Option<&str> {
        self.inner.env.get(name)
    }
}
