//! Why was it denied, when AWS does not say which side? What this caller may look at is looked at: the role and its trust
//! policy (iam:GetRole), and what the caller's own policies come to (iam:SimulatePrincipalPolicy).
//!
//! Best effort and bounded: both at once, two seconds in all, remembered for a while. A caller that may look at nothing
//! learns nothing here, and the refusal names both statements to check.

mod iam;
mod trust;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::iam::{Decision, Iam, RoleSeen, Said};
use self::trust::Verdict;
use super::arn;
use super::base::Base;
use super::loaded::Loaded;
use super::route::Step;
use super::speaker::Speaker;
use crate::sys::clock;

/// Each question to IAM; they are asked at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many services of one role ask at once, and look once.
const FOUND_LASTS: Duration = Duration::from_mins(1);
/// Permission to look is not given every minute.
const NOTHING_LASTS: Duration = Duration::from_mins(10);
/// IAM's changes have arrived everywhere after this.
const ARRIVED_MS: i64 = 120_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Whose policy must change, if that is known now.
    pub(super) side: Option<&'static str>,
    /// Each one sentence, the weightiest first.
    pub(super) sentences: Vec<String>,
    /// Which statement to add is not the question: the sentences say what to mend.
    pub(super) complete: bool,
}

impl Findings {
    fn complete(sentence: String) -> Self {
        Self { side: Some("target"), sentences: vec![sentence], complete: true }
    }

    /// The first side that is known counts.
    fn tell(&mut self, side: Option<&'static str>, sentence: String) {
        self.side = self.side.or(side);
        self.sentences.push(sentence);
    }
}

/// Role and caller.
type Key = (String, String);

/// What was found, and until when on boottime it counts.
#[derive(Default)]
pub(super) struct Examined(Mutex<HashMap<Key, (Arc<Findings>, Duration)>>);

impl Examined {
    fn get(&self, key: &Key) -> Option<Arc<Findings>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, until)| *until > clock::boottime());
        all.get(key).map(|(found, _)| Arc::clone(found))
    }

    fn keep(&self, key: Key, found: &Arc<Findings>) {
        let lasts = if found.sentences.is_empty() { NOTHING_LASTS } else { FOUND_LASTS };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, (Arc::clone(found), clock::boottime() + lasts));
    }

    /// It was granted, or refused for a reason that AWS tells.
    pub(super) fn forget(&self, role: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| known != role);
    }
}

/// Who asked for what.
struct Case<'a> {
    step: &'a Step,
    /// As policies name it.
    principal: String,
    /// It has shown an MFA code.
    mfa: bool,
}

impl Base {
    /// Looks why this AssumeRole was denied. `told`: whom AWS named as the caller.
    pub(super) async fn examine(
        &self,
        loaded: &Loaded,
        speaker: &Speaker,
        step: &Step,
        told: Option<String>,
    ) -> Arc<Findings> {
        let known = || loaded.identity.get().map(|who| who.arn.clone());
        let Some(caller) = told.or_else(|| speaker.caller.clone()).or_else(known) else { return Arc::default() };
        let key = (step.role.arn.to_string(), caller.clone());
        if let Some(found) = self.inner().examined.get(&key) {
            return found;
        }
        let found = Arc::new(self.look(loaded, speaker, step, &caller).await);
        self.inner().examined.keep(key, &found);
        found
    }

    async fn look(&self, loaded: &Loaded, speaker: &Speaker, step: &Step, caller: &str) -> Findings {
        let role = &step.role.arn;
        let Some(iam) = Iam::at(self, loaded, speaker, role.partition()) else { return Findings::default() };
        let case = Case { step, principal: self.principal(caller), mfa: self.mfa_serial().is_some() };
        // Only the own account's roles can be looked at.
        let own = arn::account(caller) == Some(role.account());
        let get = async { if own { iam.role(role.role_name()).await } else { Said::Nothing } };
        let simulate = iam.simulate(&case.principal, role.as_str());
        let bounded = tokio::join!(tokio::time::timeout(PATIENCE, get), tokio::time::timeout(PATIENCE, simulate));
        let seen = bounded.0.unwrap_or(Said::Nothing);
        let may = bounded.1.unwrap_or(Said::Nothing);
        conclude(&case, own, &seen, &may)
    }

    /// A session's ARN lacks its role's path; the manifest may know it.
    fn principal(&self, caller: &str) -> String {
        let named = self.spec().aws.base_role.as_ref();
        let is = |role: &&crate::manifest::RoleArn| arn::AssumedRole::read(caller).is_some_and(|got| got.is(role));
        named.filter(is).map_or_else(|| arn::principal(caller), ToString::to_string)
    }
}

/// From what IAM said to what is to be done. `own`: the role is of the caller's account.
fn conclude(case: &Case<'_>, own: bool, seen: &Said<RoleSeen>, may: &Said<Decision>) -> Findings {
    let role = &case.step.role.arn;
    let mut found = Findings::default();
    let verdict = match seen {
        Said::Refused(code) if code == "NoSuchEntity" => {
            let (name, account) = (role.role_name(), role.account());
            return Findings::complete(format!("there is no role `{name}` in account {account}"));
        }
        Said::So(seen) => match seen.other_arn(role) {
            Some(other) => return Findings::complete(other),
            None => Some(of_role(&mut found, seen, case)),
        },
        Said::Refused(_) | Said::Nothing => None,
    };
    of_caller(&mut found, case, own, verdict.as_ref(), may);
    found
}

fn of_role(found: &mut Findings, seen: &RoleSeen, case: &Case<'_>) -> Verdict {
    let verdict = trust::read(&seen.trust, case);
    for sentence in verdict.troubles() {
        found.tell(Some("target"), sentence);
    }
    found.complete = matches!(verdict, Verdict::Unless(_) | Verdict::Denied);
    if seen.age_ms.is_some_and(|age| (0..ARRIVED_MS).contains(&age)) {
        let new = "the role was made less than two minutes ago, and IAM takes a minute to tell everybody";
        found.tell(None, new.to_owned());
    }
    verdict
}

/// The caller's own policies, and what they mean beside what the trust policy says.
fn of_caller(found: &mut Findings, case: &Case<'_>, own: bool, verdict: Option<&Verdict>, may: &Said<Decision>) {
    let principal = &case.principal;
    let trusted = matches!(verdict, Some(Verdict::Direct | Verdict::Account));
    // In one account a trust that names the caller is enough.
    let enough = own && verdict == Some(&Verdict::Direct);
    let known = verdict.is_some_and(|verdict| *verdict != Verdict::Unreadable);
    let caller = Some("caller");
    match may {
        Said::So(Decision::Denied) => found.tell(caller, format!("a policy of `{principal}` denies it (simulated)")),
        Said::So(Decision::Allowed) if trusted => found.tell(None, both_allow()),
        Said::So(Decision::NotAllowed) if enough => found.tell(None, both_allow()),
        Said::So(Decision::NotAllowed) => {
            found.tell(caller, format!("no policy of `{principal}` allows it (simulated)"));
        }
        Said::So(Decision::Allowed) if !known => {
            found.tell(Some("target"), format!("the policies of `{principal}` allow it (simulated)"));
        }
        Said::Refused(_) | Said::Nothing if trusted => {
            found.tell(caller, format!("the trust policy lets `{principal}` in, so look at its own policies"));
        }
        Said::So(Decision::Allowed) | Said::Refused(_) | Said::Nothing => {}
    }
}

fn both_allow() -> String {
    "IAM says that both sides allow it: a change takes up to two minutes to arrive".to_owned()
}

#[cfg(test)]
mod tests;
