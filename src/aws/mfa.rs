//! The session of an IAM user who has shown an MFA code: `[aws] mfa_serial`.
//!
//! ```text
//! none ──code──▶ open ──its 12 h are over, or AWS does not know it any more──▶ ended ──code──▶ open
//! ```
//!
//! Without an open session nothing is asked of AWS: a refusal of devsup's own says which command takes the code. What must
//! never happen: a code is logged, or asked with twice; a session is used for another base than the one that made it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials as SdkCredentials;
use aws_smithy_types::retry::RetryConfig;
use secrecy::{ExposeSecret, SecretString};

use super::assume::AnswersDate;
use super::base::{Base, wall};
use super::error::{self, Failure};
use super::loaded::Loaded;
use super::speaker::Speaker;
use crate::supervisor::{Refusal, Wall};
use crate::sys::clock;

/// Of GetSessionToken for a user; AWS's own default, a working day.
const LASTS: Duration = Duration::from_hours(12);
/// It is not used for an ask that may outlive it.
const SOON: Duration = Duration::from_mins(1);

#[derive(Clone)]
struct Session {
    credentials: SdkCredentials,
    /// The access key id that asked for it.
    base_key: String,
    /// On boottime: it is not used beyond this.
    until: Duration,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    None,
    Open(Session),
    Ended,
}

#[derive(Default)]
pub(super) struct Mfa(Mutex<State>);

impl Mfa {
    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn get(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// AWS does not take it any more.
    pub(super) fn end(&self) {
        if matches!(self.get(), State::Open(_)) {
            self.set(State::Ended);
        }
    }
}

impl Base {
    /// Shows AWS the code; until when the session lasts. The code is good for this one question.
    pub async fn give_code(&self, code: &SecretString) -> Result<Wall, Refusal> {
        let ask = Box::pin(async {
            let loaded = self.loaded(None).await?;
            let Some(serial) = self.mfa_serial() else {
                return Err(Failure::Refused(Box::new(error::no_mfa(&self.about(None, Some(&loaded))))));
            };
            let seconds = i32::try_from(LASTS.as_secs()).unwrap_or(i32::MAX);
            let asked = loaded.client.get_session_token().serial_number(serial).token_code(code.expose_secret());
            let date = AnswersDate::default();
            // Once: a code that was taken is good for no second attempt.
            let once = aws_sdk_sts::config::Builder::new().retry_config(RetryConfig::disabled());
            let asked = asked.duration_seconds(seconds).customize().interceptor(date.clone()).config_override(once);
            let answer = asked.send().await;
            let answer = answer.map_err(|error| Failure::of(&error, wall().0))?;
            let given = answer.credentials.ok_or_else(|| {
                let about = self.about(None, Some(&loaded));
                Failure::Refused(Box::new(error::unusable("without credentials", &about)))
            })?;
            let expires = Wall(given.expiration.to_millis().unwrap_or(0));
            let left =
                Duration::from_millis(u64::try_from(expires.0 - date.ms().unwrap_or(wall().0)).unwrap_or(0)).min(LASTS);
            let (key, secret, token) = (given.access_key_id, given.secret_access_key, given.session_token);
            let session = Session {
                credentials: SdkCredentials::new(key, secret, Some(token), None, "devsup mfa"),
                base_key: loaded.credentials.access_key_id().to_owned(),
                until: clock::boottime() + left.saturating_sub(SOON.min(left / 4)),
            };
            self.inner().mfa.set(State::Open(session));
            self.inner().on_the_way.forget();
            Ok(expires)
        });
        self.bounded(None, ask).await
    }

    /// A code is wanted, of this device.
    pub fn mfa_serial(&self) -> Option<&str> {
        self.spec().aws.mfa_serial.as_deref()
    }

    /// Made anew, because the environment or `[aws]` changed: what the person has shown stays shown, if it is the same
    /// device and, when it comes to be used, the same base.
    pub fn keep_mfa_of(&self, old: &Self) {
        if old.mfa_serial() == self.mfa_serial() && self.spec().sandbox.is_none() && old.spec().sandbox.is_none() {
            self.inner().mfa.set(old.inner().mfa.get());
        }
    }

    /// Who asks first: the base, or the session that its MFA code opened.
    pub(super) fn first_speaker(&self, loaded: &Loaded) -> Result<Speaker, Failure> {
        if self.mfa_serial().is_none() {
            return Ok(Speaker::base(loaded));
        }
        let about = self.about(None, Some(loaded));
        let refuse = |refusal| Err(Failure::Refused(Box::new(refusal)));
        match self.inner().mfa.get() {
            State::Open(session) if session.base_key != loaded.credentials.access_key_id() => {
                self.inner().mfa.set(State::None);
                refuse(error::mfa_required(&about))
            }
            State::Open(session) if session.until > clock::boottime() => {
                Ok(Speaker::new(loaded, session.credentials, None))
            }
            State::Open(_) | State::Ended => {
                self.inner().mfa.set(State::Ended);
                refuse(error::mfa_expired(&about))
            }
            State::None => refuse(error::mfa_required(&about)),
        }
    }
}
