//! Who was asked what, and what was answered: for tests that count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Role ARN to action to count. For AssumeRole it is the role asked for, else the caller's.
    pub by_role: BTreeMap<String, BTreeMap<String, u64>>,
    /// Action to `ok`, `dropped` or the error's code to count.
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// The most AssumeRole requests that were ever open at once.
    pub max_concurrent_assume_role: u64,
}

impl Calls {
    /// How often `action` was asked for this role (name or ARN).
    pub fn count(&self, role: &str, action: &str) -> u64 {
        let named = |arn: &str| arn == role || arn.rsplit('/').next() == Some(role);
        self.by_role.iter().filter(|(arn, _)| named(arn)).filter_map(|(_, actions)| actions.get(action)).sum()
    }

    /// How often `action` was answered with `code` (`ok` when it went well).
    pub fn answered(&self, action: &str, code: &str) -> u64 {
        self.answers.get(action).and_then(|codes| codes.get(code)).copied().unwrap_or(0)
    }
}

/// The counts and what is open now.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) calls: Calls,
    open: u64,
}

impl Ledger {
    pub(super) fn asked(&mut self, role: &str, action: &str) {
        *self.calls.by_role.entry(role.to_owned()).or_default().entry(action.to_owned()).or_default() += 1;
    }

    pub(super) fn answered(&mut self, action: &str, code: &str) {
        *self.calls.answers.entry(action.to_owned()).or_default().entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn opened(&mut self) {
        self.open += 1;
        self.calls.max_concurrent_assume_role = self.calls.max_concurrent_assume_role.max(self.open);
    }

    pub(super) fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }
}
