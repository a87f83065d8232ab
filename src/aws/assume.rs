//! AssumeRole: a lease for a service, checked to be the role that was asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::types::PolicyDescriptorType;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use zeroize::Zeroize;

use super::base::{Base, wall};
use super::error::{self, Failure, date_ms};
use super::flight::Question;
use super::loaded::Loaded;
use super::session::{Who, session_name};
use super::{Credentials, arn};
use crate::manifest::{Role, Service};
use crate::supervisor::{Refusal, Wall};

/// What a role that is assumed by a role may have at most.
const CHAINED: Duration = Duration::from_hours(1);

/// An answer of AssumeRole, checked to be the role and account that was asked for.
#[derive(Clone, Debug)]
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

impl Base {
    /// One AssumeRole: 5 s an attempt, 15 s in all. Cheap to clone handles, may be called concurrently from tasks of one thread.
    pub async fn assume(&self, service: &Service, role: &Role, who: &Who) -> Result<Grant, Refusal> {
        let session = session_name(&role.session_name, &service.name, who);
        // On the heap: the SDK's futures are large, and a hundred services may ask at once.
        let ask = Box::pin(self.bounded(Some(role), Box::pin(self.ask(role, &session))));
        self.inner().flights.fly(Question::new(role, &session), ask).await
    }

    /// Asks until there is an answer, or a failure that asking at once does not mend.
    async fn ask(&self, role: &Role, session: &str) -> Result<Grant, Failure> {
        let mut stale: Option<Arc<Loaded>> = None;
        loop {
            let loaded = self.loaded(stale.as_ref()).await?;
            let answer = match self.check_base_role(&loaded).await {
                Ok(()) => self.ask_once(&loaded, role, session).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Err(failure) if failure.base_is_stale() && stale.is_none() => {
                    self.drop_base(&loaded).await;
                    stale = Some(loaded);
                }
                Err(failure) if failure.is_chain_limit() && !self.is_capped(role.arn.as_str()) => {
                    self.remember_cap(role.arn.as_str());
                }
                Err(failure) if failure.wants_caller() => {
                    // Best effort: knowing who asked is half of the mend. It is remembered for the refusal.
                    drop(self.identity_by(&loaded).await);
                    return Err(failure);
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once(&self, loaded: &Loaded, role: &Role, session: &str) -> Result<Grant, Failure> {
        let capped = self.is_capped(role.arn.as_str()) && role.duration > CHAINED;
        let duration = if capped { CHAINED } else { role.duration };
        let date = AnswersDate::default();
        let policies = role.policy_arns.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect();
        let answer = loaded
            .client
            .assume_role()
            .role_arn(role.arn.as_str())
            .role_session_name(session)
            .duration_seconds(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX))
            .set_external_id(role.external_id.clone())
            .set_policy(role.policy.clone())
            .set_policy_arns(Some(policies).filter(|all: &Vec<_>| !all.is_empty()))
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|error| Failure::of(&error, wall().0))?;
        self.checked(answer, date.ms(), loaded, role).map(|grant| Grant { capped, ..grant })
    }

    /// The answer as a grant, if it is what was asked for and can be used.
    fn checked(
        &self,
        answer: AssumeRoleOutput,
        date_ms: Option<i64>,
        loaded: &Loaded,
        role: &Role,
    ) -> Result<Grant, Failure> {
        #[expect(deprecated, reason = "stands-in for AWS and older partitions send only the old name")]
        let packed = answer.session_token_utilization.or(answer.packed_policy_size);
        let about = || self.about(Some(role), Some(loaded));
        let refused = |refusal| Failure::Refused(Box::new(refusal));
        let user = answer.assumed_role_user.map(|user| user.arn).unwrap_or_default();
        let Some(mut given) = answer.credentials else {
            return Err(refused(error::unusable("without credentials", &about())));
        };
        if !arn::AssumedRole::read(&user).is_some_and(|got| got.is(&role.arn)) {
            given.secret_access_key.zeroize();
            given.session_token.zeroize();
            return Err(refused(error::wrong_role(&user, &about())));
        }
        let credentials = Credentials {
            access_key_id: given.access_key_id,
            secret_access_key: given.secret_access_key.into(),
            session_token: given.session_token.into(),
            expires: Wall(given.expiration.to_millis().unwrap_or(0)),
        };
        let local = wall().0;
        let now = date_ms.unwrap_or(local);
        let left = Duration::from_millis(u64::try_from(credentials.expires.0 - now).unwrap_or(0));
        if left.is_zero() {
            return Err(refused(error::unusable("with credentials that are already expired", &about())));
        }
        let skew_ms = local - now;
        Ok(Grant { credentials, left, assumed_role_arn: user, skew_ms, capped: false, packed_policy_percent: packed })
    }
}

/// Reads the `Date` of the answer: the SDK's output does not carry it.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswersDate(Arc<Mutex<Option<i64>>>);

impl AnswersDate {
    pub(super) fn ms(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for AnswersDate {
    fn name(&self) -> &'static str {
        "the answer's date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(date_ms);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
