//! One loading of the base credentials: an STS client that speaks as them, and where they came from.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::{BehaviorVersion, Builder, Region};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use super::base::{BaseSpec, Identity, Patience, SandboxBase, wall};
use super::chain::{self, Variables, Wish};
use super::error::Failure;
use super::http;

/// Base credentials with less life than this are loaded again before they are used.
const SOON_MS: i64 = 60_000;

pub(super) struct Loaded {
    pub(super) client: aws_sdk_sts::Client,
    pub(super) source: String,
    /// Which variable, file or address that was.
    pub(super) place: String,
    pub(super) region: Option<String>,
    /// What the SDK's own settings, a profile's included, put in AWS's place.
    pub(super) endpoint: Option<String>,
    pub(super) expires_ms: Option<i64>,
    /// What the client signs with. Zeroized when the last handle goes.
    pub(super) credentials: Credentials,
    pub(super) identity: OnceCell<Identity>,
}

impl Loaded {
    pub(super) async fn load(spec: &BaseSpec, env: &Variables, patience: Patience) -> Result<Self, Failure> {
        match &spec.sandbox {
            Some(sandbox) => Ok(Self::of_sandbox(spec, sandbox, patience)),
            None => Self::of_chain(spec, env, patience).await,
        }
    }

    fn of_sandbox(spec: &BaseSpec, sandbox: &SandboxBase, patience: Patience) -> Self {
        let credentials = Credentials::new(
            sandbox.access_key_id.clone(),
            sandbox.secret_access_key.expose_secret(),
            sandbox.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            None,
            "devsup sandbox",
        );
        let region = spec.aws.region.clone().unwrap_or_else(|| sandbox.region.clone());
        let config = bounds(aws_sdk_sts::Config::builder().behavior_version(BehaviorVersion::latest()), patience)
            .http_client(http::plain_client())
            .region(Region::new(region.clone()))
            .endpoint_url(sandbox.url.clone())
            .credentials_provider(credentials.clone())
            .build();
        Self::new(config, ("sandbox".to_owned(), sandbox.url.clone()), Some(region), None, credentials)
    }

    async fn of_chain(spec: &BaseSpec, env: &Variables, patience: Patience) -> Result<Self, Failure> {
        let aws = &spec.aws;
        let wish = Wish { profile: aws.profile.as_deref(), region: aws.region.as_deref() };
        let found = chain::find(env, &wish).await;
        let credentials = found.credentials.map_err(Failure::NoBase)?;
        let region = found.config.region().map(ToString::to_string);
        let endpoint = found.config.endpoint_url().map(str::to_owned);
        let mut config = bounds(Builder::from(&found.config), patience)
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()));
        if region.is_none() {
            // STS answers in every region; which one matters only to where the request goes.
            config = config.region(Region::new("us-east-1"));
        }
        if let Some(url) = &aws.sts_endpoint {
            config = config.endpoint_url(url);
        }
        Ok(Self::new(config.build(), (found.source, found.place), region, endpoint, credentials))
    }

    fn new(
        config: aws_sdk_sts::Config,
        (source, place): (String, String),
        region: Option<String>,
        endpoint: Option<String>,
        credentials: Credentials,
    ) -> Self {
        let expires_ms = credentials.expiry().and_then(chain::unix_ms);
        let client = aws_sdk_sts::Client::from_conf(config);
        Self { client, source, place, region, endpoint, expires_ms, credentials, identity: OnceCell::new() }
    }

    pub(super) fn ends_soon(&self) -> bool {
        self.expires_ms.is_some_and(|at| at - wall().0 < SOON_MS)
    }

    pub(super) fn ended(&self) -> bool {
        self.expires_ms.is_some_and(|at| at <= wall().0)
    }
}

/// The SDK's own bounds within one ask; the supervisor's backoff stands above them.
fn bounds(config: Builder, patience: Patience) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(patience.attempt)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.whole)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(patience.attempts).with_initial_backoff(patience.pause);
    config.timeout_config(timeouts).retry_config(retries)
}
