//! The base identity as `doctor` looks at it: asked for once, with all that was noticed on the way.

use std::sync::Arc;
use std::time::Duration;

use super::{Base, Identity, wall};
use crate::aws::assume::AnswersDate;
use crate::aws::error::{self, Failure};
use crate::aws::loaded::Loaded;
use crate::aws::{arn, http};
use crate::supervisor::{Refusal, Wall};
use crate::sys::clock;

/// What one question to STS showed.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Who we are, or why that is unknown.
    pub identity: Result<Identity, Refusal>,
    /// We are known, and are not `[aws] base_role`.
    pub mismatch: Option<Refusal>,
    /// Which variable, file or address gave the base credentials.
    pub place: Option<String>,
    /// When the base credentials end, where that is told.
    pub expires: Option<Wall>,
    /// As the base identity's own settings have it: a profile, instance metadata.
    pub region: Option<String>,
    /// `sts.eu-west-1.amazonaws.com`
    pub endpoint: String,
    /// The proxy of requests over https, without its password.
    pub proxy: Option<String>,
    /// Local clock − that of the answer, milliseconds; whatever the answer was.
    pub skew_ms: Option<i64>,
    /// From the question to the answer.
    pub took: Option<Duration>,
}

/// What there is of an answer that may not have come.
#[derive(Default)]
struct Noticed {
    loaded: Option<Arc<Loaded>>,
    skew_ms: Option<i64>,
    took: Option<Duration>,
}

impl Base {
    /// GetCallerIdentity, within the whole patience.
    pub async fn standing(&self) -> Standing {
        let mut noticed = Noticed::default();
        let asked = tokio::time::timeout(self.patience().whole, Box::pin(self.ask_who(&mut noticed))).await;
        let answer = asked.unwrap_or_else(|_| {
            Err(Failure::Unreachable(format!("no answer in {}", crate::manifest::Secs(self.patience().whole))))
        });
        let loaded = noticed.loaded.as_deref();
        let about = self.about(None, loaded);
        let identity = answer.map_err(|failure| error::refusal(&failure, &about));
        let mismatch = identity.as_ref().ok().and_then(|is| {
            let must = self.spec().aws.base_role.as_ref().filter(|_| self.spec().sandbox.is_none())?;
            let same = arn::AssumedRole::read(&is.arn).is_some_and(|role| role.is(must));
            (!same).then(|| error::base_role_mismatch(&is.arn, must.as_str(), &about))
        });
        Standing {
            identity,
            mismatch,
            place: loaded.map(|loaded| http::without_password(&loaded.place)).filter(|place| !place.is_empty()),
            expires: loaded.and_then(|loaded| loaded.expires_ms).map(Wall),
            region: loaded.and_then(|loaded| loaded.region.clone()),
            endpoint: about.endpoint,
            proxy: about.proxy,
            skew_ms: noticed.skew_ms,
            took: noticed.took,
        }
    }

    async fn ask_who(&self, noticed: &mut Noticed) -> Result<Identity, Failure> {
        let loaded = self.loaded(None).await?;
        noticed.loaded = Some(Arc::clone(&loaded));
        let (began, date) = (clock::monotonic(), AnswersDate::default());
        let answer = loaded.client.get_caller_identity().customize().interceptor(date.clone()).send().await;
        noticed.skew_ms = date.ms().map(|date| wall().0 - date);
        if noticed.skew_ms.is_some() {
            noticed.took = Some(clock::monotonic().saturating_sub(began));
        }
        let who = answer.map_err(|error| Failure::of(&error, wall().0))?;
        let arn = who.arn.unwrap_or_default();
        let account = who.account.or_else(|| arn::account(&arn).map(str::to_owned)).unwrap_or_default();
        let identity = Identity { arn, account, source: loaded.source.clone() };
        // So that a role's refusal names who asked. Another question may have been quicker: the answer is the same.
        drop(loaded.identity.set(identity.clone()));
        Ok(identity)
    }
}
