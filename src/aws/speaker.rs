//! Who speaks to STS: the base identity, its MFA session, or a role on the way; and the sessions of roles on the way.
//!
//! ```text
//! base ──(mfa_serial)──▶ MFA session ──via 1──▶ via 2 ──▶ the role
//! ```
//!
//! What must never happen: credentials of a role on the way are handed to anybody, or outlive their use: they are kept here,
//! in memory, under everything that made them, until they end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials as SdkCredentials;
use secrecy::ExposeSecret;

use super::Grant;
use super::base::Base;
use super::error::Failure;
use super::loaded::Loaded;
use super::route::Step;
use crate::sys::clock;

/// An STS client and whose it is.
#[derive(Clone)]
pub(super) struct Speaker {
    pub(super) client: aws_sdk_sts::Client,
    /// Zeroized when the last handle goes.
    pub(super) credentials: SdkCredentials,
    /// Known without asking: a role on the way.
    pub(super) caller: Option<String>,
}

impl Speaker {
    pub(super) fn new(loaded: &Loaded, credentials: SdkCredentials, caller: Option<String>) -> Self {
        let config = loaded.client.config().to_builder().credentials_provider(credentials.clone()).build();
        Self { client: aws_sdk_sts::Client::from_conf(config), credentials, caller }
    }

    /// The base itself.
    pub(super) fn base(loaded: &Loaded) -> Self {
        Self { client: loaded.client.clone(), credentials: loaded.credentials.clone(), caller: None }
    }
}

/// All that can make two sessions on the way differ.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    roles: Vec<String>,
    session: String,
    source_identity: Option<String>,
    tags: Vec<(String, String)>,
}

struct Held {
    speaker: Speaker,
    /// On boottime: it is not used beyond this.
    until: Duration,
}

#[derive(Default)]
pub(super) struct OnTheWay(Mutex<HashMap<Key, Held>>);

impl OnTheWay {
    fn get(&self, key: &Key) -> Option<Speaker> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| held.until > clock::boottime());
        all.get(key).map(|held| held.speaker.clone())
    }

    fn keep(&self, key: Key, speaker: Speaker, left: Duration) {
        // A request that is on its way when the session ends would be refused.
        let until = clock::boottime() + left.saturating_sub((left / 4).min(Duration::from_mins(1)));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, Held { speaker, until });
    }

    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Base {
    /// The session of the last of these roles, assumed one by the other.
    pub(super) async fn through(&self, loaded: &Loaded, via: &[Step]) -> Result<Speaker, Failure> {
        let mut speaker = self.first_speaker(loaded)?;
        let mut roles = Vec::new();
        for step in via {
            roles.push(step.role.arn.to_string());
            let key = Key {
                roles: roles.clone(),
                session: step.session.clone(),
                source_identity: step.role.source_identity.clone(),
                tags: step.role.tags.clone().into_iter().collect(),
            };
            if let Some(held) = self.inner().on_the_way.get(&key) {
                speaker = held;
                continue;
            }
            let grant = self.asked(loaded, &speaker, step).await?;
            let left = grant.left;
            speaker = of_grant(loaded, grant);
            self.inner().on_the_way.keep(key, speaker.clone(), left);
        }
        Ok(speaker)
    }
}

fn of_grant(loaded: &Loaded, grant: Grant) -> Speaker {
    let credentials = SdkCredentials::new(
        grant.credentials.access_key_id.clone(),
        grant.credentials.secret_access_key.expose_secret(),
        Some(grant.credentials.session_token.expose_secret().to_owned()),
        None,
        "devsup via",
    );
    Speaker::new(loaded, credentials, Some(grant.assumed_role_arn))
}
