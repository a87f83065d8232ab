//! Everything the sandbox knows, shared by its connections: keys, objects, faults, counts, and its clock.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::calls::Ledger;
use super::config::{Config, Ready};
use super::faults::{Faults, Gate, Strike, Target};
use super::identity::{Key, Keys, Principal, Token};
use super::objects::Objects;
use super::policy::Policy;
use super::refusal::Distrust;
use super::session::Carried;
use super::sigv4::{Claims, Signer};
use crate::sys::clock;

/// AWS takes a signature this far from its own clock.
const TOLERANCE: Duration = Duration::from_mins(15);

pub(super) struct World {
    pub(super) config: Config,
    base: Key,
    keys: Mutex<Keys>,
    gate: Mutex<Gate>,
    ledger: Mutex<Ledger>,
    objects: Mutex<Objects>,
}

/// A caller whose signature was checked.
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) policy: Option<Policy>,
    pub(super) carried: Carried,
    pub(super) signer: Signer,
}

impl Caller {
    /// Does the session's own policy leave this to it?
    pub(super) fn in_scope(&self, action: &str, resource: &str) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.allows(action, resource))
    }
}

impl World {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        let base = if config.base_role_arn.contains(":user/") {
            Key::new(Principal::user(&config.base_role_arn), Token::Without, None)?
        } else {
            Key::new(Principal::session_of(&config.base_role_arn, "i-0sandbox0000000"), Token::With, None)?
        };
        let mut keys = Keys::default();
        keys.insert(clock::realtime(), base.clone());
        Ok(Self {
            base,
            keys: Mutex::new(keys),
            gate: Mutex::new(Gate::new(config.faults.clone())),
            ledger: Mutex::default(),
            objects: Mutex::new(Objects::new(config.buckets.keys())),
            config,
        })
    }

    pub(super) fn ready(&self, url: String) -> Ready {
        Ready {
            url,
            region: self.config.region.clone(),
            access_key_id: self.base.id.clone(),
            secret_access_key: self.base.secret_text().to_owned(),
            session_token: self.base.token_text().map(str::to_owned),
        }
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Keys> {
        hold(&self.keys)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        hold(&self.gate)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        hold(&self.ledger)
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        hold(&self.objects)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        *self.gate() = Gate::new(faults);
    }

    /// Faults and counts as at the very start; whoever holds a session keeps it, and objects stay.
    pub(super) fn reset(&self) {
        self.set_faults(self.config.faults.clone());
        self.ledger().calls = super::calls::Calls::default();
    }

    pub(super) fn strike(&self, target: Target) -> (Duration, Strike) {
        self.gate().strike(clock::realtime(), target)
    }

    /// A true moment as this server's clock shows it.
    pub(super) fn shown(&self, moment: Duration) -> Timestamp {
        let skew = self.gate().faults.skew_s;
        let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX).saturating_add(skew);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The value of this server's Date header.
    pub(super) fn date(&self) -> String {
        let seconds = u64::try_from(self.shown(clock::realtime()).as_second()).unwrap_or(0);
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Who signed this request, if the signature is good and the key still is.
    pub(super) fn caller(&self, parts: &Parts, claims: &Claims, payload_hash: &str) -> Result<Caller, Distrust> {
        let key = self.keys().get(&claims.key_id).cloned().ok_or(Distrust::UnknownKey)?;
        match (key.token_text(), claims.token.as_deref()) {
            (Some(due), Some(given)) if bool::from(due.as_bytes().ct_eq(given.as_bytes())) => {}
            (None, None) => {}
            _ => return Err(Distrust::WrongToken),
        }
        self.check_time(claims)?;
        let signer = Signer::new(key.secret_text(), claims);
        let due = signer.request(parts, claims, payload_hash);
        if !bool::from(due.as_bytes().ct_eq(claims.signature.as_bytes())) {
            return Err(Distrust::WrongSignature);
        }
        if key.expires.is_some_and(|expires| clock::realtime() >= expires) {
            return Err(Distrust::Expired);
        }
        Ok(Caller { principal: key.principal, policy: key.policy, carried: key.carried, signer })
    }

    fn check_time(&self, claims: &Claims) -> Result<(), Distrust> {
        let malformed = Distrust::Unsigned(super::sigv4::Unsigned::Malformed("the date of the request is no date"));
        let is = stamp(&claims.time).ok_or(malformed)?;
        let server = self.shown(clock::realtime());
        let (oldest, newest) = (server - TOLERANCE, server + TOLERANCE);
        let said = |bound: Timestamp| (compact(is), compact(bound), compact(server));
        if is > newest {
            let (is, bound, server) = said(newest);
            return Err(Distrust::TooNew { is, bound, server });
        }
        if let Some(seconds) = claims.presigned {
            return if is + Duration::from_secs(seconds) < server { Err(Distrust::Elapsed) } else { Ok(()) };
        }
        if is < oldest {
            let (is, bound, server) = said(oldest);
            return Err(Distrust::TooOld { is, bound, server });
        }
        Ok(())
    }
}

/// A poisoned lock guards plain counts and maps, whole after every statement: go on with them.
fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

fn compact(moment: Timestamp) -> String {
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}
