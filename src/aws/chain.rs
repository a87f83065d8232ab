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

use super::{http, profile};

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
    pub(super) credentials: Result<Credentials, Missing>,
    /// `environment`, `profile dev`, `profile dev (sso)`, `instance metadata` …
    pub(super) source: String,
    /// Which variable, file or address that was.
    pub(super) place: String,
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// One sentence.
    pub(super) why: String,
    /// The mend, where it is one command or one place.
    pub(super) hint: Option<String>,
}

impl Missing {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    fn profile(profile: &str) -> Self {
        Self {
            why: format!("profile `{profile}` gives none"),
            hint: Some(format!(
                "`{profile}`, or the `source_profile` it names, is missing or empty in ~/.aws/config and ~/.aws/credentials: \
                 `aws configure list-profiles`"
            )),
        }
    }
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
    let named = wish.profile.or_else(|| env.get("AWS_PROFILE"));
    let credentials = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map_err(|error| missing(&error, named)),
        None => Err(Missing::new("the SDK's chain is empty")),
    };
    let credentials = match credentials {
        Err(why) => {
            let wanted = profile::wants_code(&Env::from(env.0.clone()), named.unwrap_or("default")).await;
            Err(wanted.unwrap_or(why))
        }
        given => given,
    };
    let features = credentials.as_ref().ok().and_then(Credentials::get_property::<Vec<Feature>>);
    let (source, place) =
        credentials.as_ref().ok().map(|_| source(features, named.unwrap_or("default"), &env)).unwrap_or_default();
    let credentials = match (credentials, wish.profile) {
        // The chain goes on when a profile is missing; that would silently be somebody else.
        (Ok(_), Some(profile)) if !source.starts_with("profile ") => Err(Missing::profile(profile)),
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

/// Every source was asked and none had any.
fn is_not_loaded(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_))
}

/// The SDK's own text is "an error occurred while loading credentials": the innermost cause says more.
fn missing(error: &CredentialsError, named: Option<&str>) -> Missing {
    let text = innermost(error);
    let metadata = text.contains("IMDS");
    if let Some(profile) = named.filter(|_| metadata || is_not_loaded(error)) {
        // The chain went on to what comes after profiles.
        return Missing::profile(profile);
    }
    if is_not_loaded(error) {
        return Missing::new(
            "no environment variables, profile, web identity, container or instance metadata gave any",
        );
    }
    let text = text.trim_end_matches('.');
    if metadata {
        return Missing::new(format!("no environment variables or profile gave any, and instance metadata: {text}"));
    }
    let of = named.map_or_else(String::new, |profile| format!(" --profile {profile}"));
    if text.contains("SSO") {
        return Missing { why: text.to_owned(), hint: Some(format!("log in: `aws sso login{of}`")) };
    }
    match text.split_once("external process exited with code ") {
        Some((_, how)) => Missing {
            why: format!("`credential_process` of profile `{}` failed: {}", named.unwrap_or("default"), helper(how)),
            hint: Some(format!("run it yourself: `aws configure export-credentials{of}`")),
        },
        None => Missing::new(text),
    }
}

/// `exit status: 1. Stderr: what it said`, without a stderr that is empty.
fn helper(how: &str) -> String {
    match how.split_once(". Stderr:") {
        Some((code, said)) if said.trim().is_empty() => code.to_owned(),
        Some((code, said)) => format!("{code}: {}", said.trim()),
        None => how.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str, named: Option<&str>) -> Missing {
        missing(&CredentialsError::provider_error(text), named)
    }

    #[test]
    fn what_is_missing_is_said_with_its_own_mend() {
        let sso = of("the SSO token has expired and cannot be refreshed", Some("dev"));
        assert_eq!(sso.hint.as_deref(), Some("log in: `aws sso login --profile dev`"));
        let refused = "request forbidden: IMDS is disabled or the caller has insufficient permissions.";
        assert!(of(refused, None).why.ends_with(
            "and instance metadata: request forbidden: IMDS is disabled or the caller has insufficient permissions"
        ));
        assert_eq!(of(refused, Some("dev")), Missing::profile("dev"));
        let helper =
            of("Error retrieving credentials: external process exited with code exit status: 1. Stderr:", Some("dev"));
        assert_eq!(helper.why, "`credential_process` of profile `dev` failed: exit status: 1");
        let helper =
            of("Error retrieving credentials: external process exited with code exit status: 1. Stderr: locked", None);
        assert_eq!(helper.why, "`credential_process` of profile `default` failed: exit status: 1: locked");
        let none = missing(&CredentialsError::not_loaded("nobody"), None);
        assert!(none.why.starts_with("no environment variables") && none.hint.is_none());
    }
}
