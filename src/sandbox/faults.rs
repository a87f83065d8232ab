//! What goes wrong, on demand: set at the start, or while it runs by `POST /_sandbox/faults` and [`super::Handle`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The faults in force. Setting them replaces all of them; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Nobody answers as they should.
    pub down: Option<Down>,
    /// Every answer comes so much later.
    pub slow_ms: u64,
    /// The next so many requests are answered with Throttling.
    pub throttle: u32,
    /// More requests than this in one second are answered with Throttling.
    pub throttle_above: Option<u32>,
    /// Roles (name or ARN) that AssumeRole refuses with AccessDenied.
    pub deny: Vec<String>,
    /// The server's clock is ahead by this (or behind, when negative): its Date, its Expiration, and what it thinks of the
    /// date of a signature, so over 15 min every request is refused. Sessions still live as long as they would.
    pub skew_s: i64,
    /// The next so many requests are answered with InternalFailure.
    pub fail_5xx: u32,
    /// Who is struck by all of these but `deny` and `skew_s`.
    pub reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Down {
    /// The connection ends with no answer.
    Drop,
    /// 503.
    Unavailable,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    #[default]
    Sts,
    /// STS and S3.
    All,
}

/// Which half of the sandbox a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Sts,
    S3,
}

/// What one request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    Nothing,
    Drop,
    Unavailable,
    Throttle,
    Fail,
}

/// The faults in force and the running count of the present second.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) faults: Faults,
    second: u64,
    seen: u32,
}

impl Gate {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// How long the request waits, and what then becomes of it. Uses up one of a counted fault.
    pub(super) fn strike(&mut self, now: Duration, target: Target) -> (Duration, Strike) {
        if target == Target::S3 && self.faults.reach == Reach::Sts {
            return (Duration::ZERO, Strike::Nothing);
        }
        if self.second != now.as_secs() {
            (self.second, self.seen) = (now.as_secs(), 0);
        }
        self.seen = self.seen.saturating_add(1);
        (Duration::from_millis(self.faults.slow_ms), self.kind())
    }

    fn kind(&mut self) -> Strike {
        let faults = &mut self.faults;
        match faults.down {
            Some(Down::Drop) => return Strike::Drop,
            Some(Down::Unavailable) => return Strike::Unavailable,
            None => {}
        }
        if faults.fail_5xx > 0 {
            faults.fail_5xx -= 1;
            return Strike::Fail;
        }
        if faults.throttle > 0 {
            faults.throttle -= 1;
            return Strike::Throttle;
        }
        if faults.throttle_above.is_some_and(|limit| self.seen > limit) { Strike::Throttle } else { Strike::Nothing }
    }

    /// Is this role refused on demand?
    pub(super) fn denies(&self, role_arn: &str) -> bool {
        self.faults.deny.iter().any(|denied| denied == role_arn || Some(denied.as_str()) == role_arn.rsplit('/').next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(faults: Faults, target: Target, count: usize) -> Vec<Strike> {
        let mut gate = Gate::new(faults);
        (0..count).map(|_| gate.strike(Duration::from_secs(7), target).1).collect()
    }

    #[test]
    fn counted_faults_are_used_up_and_s3_is_spared_by_default() {
        let faults = Faults { throttle: 1, fail_5xx: 1, ..Faults::default() };
        assert_eq!(kinds(faults.clone(), Target::Sts, 3), [Strike::Fail, Strike::Throttle, Strike::Nothing]);
        assert_eq!(kinds(faults.clone(), Target::S3, 1), [Strike::Nothing]);
        let all = Faults { reach: Reach::All, ..faults };
        assert_eq!(kinds(all, Target::S3, 1), [Strike::Fail]);
    }

    #[test]
    fn a_rate_holds_for_a_second() {
        let mut gate = Gate::new(Faults { throttle_above: Some(1), ..Faults::default() });
        let mut at = |s| gate.strike(Duration::from_secs(s), Target::Sts).1;
        assert_eq!([at(1), at(1), at(2)], [Strike::Nothing, Strike::Throttle, Strike::Nothing]);
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"slow": 5}"#).is_err());
        let faults: Faults = serde_json::from_str(r#"{"down": "drop", "slow_ms": 5}"#).expect("the documented words");
        assert_eq!((faults.down, faults.slow_ms), (Some(Down::Drop), 5));
    }
}
