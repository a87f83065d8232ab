//! Finds the base identity by the SDK's own chain, in the owner's environment instead of this process's.
//!
//! Everything the chain reads from variables follows the handed-over environment: keys, profile and its files, web
//! identity, container, SSO's cache (by `HOME`), instance metadata's switches, region, endpoint overrides, proxy. What does
//! not follow: the environment a `credential_process` is started in, and `SSL_CERT_FILE`; both are this process's.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_types::os_shim_internal::Env;

use super::http;

/// An environment as a value.
#[derive(Clone, Default)]
pub(super) struct Variables(HashMap<String, String>);

impl Variables {
    /// The first of two counts, as for `getenv`; what is not text no SDK would understand.
    pub(super) fn new(pairs: &[(OsString, OsString)]) -> Self {
        let mut map = HashMap::with_capacity(pairs.len());
        for (name, value) in pairs {
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
                map.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        Self(map)
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Empty is unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The SDKs' switch that turns every endpoint override off.
    pub(super) fn ignores_endpoints(&self) -> bool {
        self.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// `[aws] profile` says who devsup is: keys that lie around in the environment must not win over it.
    fn for_profile(mut self) -> Self {
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            self.remove(name);
        }
        self
    }
}

/// What the chain is asked with, beside the environment.
pub(super) struct Wish<'a> {
    pub(super) profile: Option<&'a str>,
    pub(super) region: Option<&'a str>,
}

/// What the chain answered.
pub(super) struct Found {
    pub(super) config: SdkConfig,
    /// Or why there are none, as one sentence.
    pub(super) credentials: Result<Credentials, String>,
    /// `environment`, `profile dev`, `profile dev (sso)`, `instance metadata` …
    pub(super) source: String,
    /// Which variable, file or address that was.
    pub(super) place: String,
}

pub(super) async fn find(env: &Variables, wish: &Wish<'_>) -> Found {
    let env = if wish.profile.is_some() { env.clone().for_profile() } else { env.clone() };
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .env(Env::from(env.0.clone()))
        .http_client(http::client(http::Proxy::of(&env)));
    if let Some(profile) = wish.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = wish.region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let config = loader.load().await;
    let credentials = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map_err(|error| sentence(&error)),
        None => Err("the SDK's chain is empty".to_owned()),
    };
    let features = credentials.as_ref().ok().and_then(Credentials::get_property::<Vec<Feature>>);
    let profile = wish.profile.or_else(|| env.get("AWS_PROFILE")).unwrap_or("default");
    let (source, place) = credentials.as_ref().ok().map(|_| source(features, profile, &env)).unwrap_or_default();
    let credentials = match (credentials, wish.profile) {
        // The chain goes on when a profile is missing; that would silently be somebody else.
        (Ok(_), Some(profile)) if !source.starts_with("profile ") => {
            Err(format!("profile `{profile}` holds no credentials"))
        }
        (answer, _) => answer,
    };
    Found { config, credentials, source, place }
}

fn source(features: Option<&Vec<Feature>>, profile: &str, env: &Variables) -> (String, String) {
    let has = |feature: Feature| features.is_some_and(|all| all.contains(&feature));
    let file = |name: &str, default: &str| env.get(name).unwrap_or(default).to_owned();
    if has(Feature::CredentialsProfile) {
        let how = if has(Feature::CredentialsSso) || has(Feature::CredentialsProfileSso) {
            " (sso)"
        } else if has(Feature::CredentialsProcess) || has(Feature::CredentialsProfileProcess) {
            " (credential_process)"
        } else if has(Feature::CredentialsStsAssumeRole) {
            " (assumed role)"
        } else {
            ""
        };
        let files = format!(
            "{}, {}",
            file("AWS_CONFIG_FILE", "~/.aws/config"),
            file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        );
        (format!("profile {profile}{how}"), files)
    } else if has(Feature::CredentialsEnvVars) {
        ("environment".into(), "AWS_ACCESS_KEY_ID".into())
    } else if has(Feature::CredentialsHttp) {
        let place = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        let url = place.into_iter().find_map(|name| env.get(name)).unwrap_or_default();
        ("container".into(), http::without_password(url))
    } else if has(Feature::CredentialsImds) {
        ("instance metadata".into(), file("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254"))
    } else if env.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        ("web identity".into(), file("AWS_WEB_IDENTITY_TOKEN_FILE", ""))
    } else {
        ("the SDK's chain".into(), String::new())
    }
}

/// The innermost cause that says something, on one line. The SDK's own text is "an error occurred while loading credentials".
fn sentence(error: &CredentialsError) -> String {
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return "no environment variables, profile, web identity, container or instance metadata gave any".to_owned();
    }
    innermost(error)
}

/// Milliseconds since 1970.
pub(super) fn unix_ms(at: SystemTime) -> Option<i64> {
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// The deepest cause's text, on one line.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    one_line(&deepest.to_string())
}

/// At most 300 characters of the first line.
pub(super) fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().chars().take(300).collect()
}
