//! Which role a service runs as, and all that AssumeRole is asked with: `[services.x.role]`, as types.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How credentials reach the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    Env,
    Endpoint,
    Process,
}

/// `[services.x.role]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub arn: RoleArn,
    /// What is asked for; AWS caps it at 1 h when the base identity is itself a role.
    pub duration: Duration,
    /// `None`: a sixth of the life the lease really has, at least 5 m; a third where the life is under 15 m.
    pub rotate_before: Option<Duration>,
    pub delivery: Delivery,
    pub external_id: Option<String>,
    /// May hold `{user}`, `{service}`, `{host}`, `{project}`; filled in and cut to 64 by `aws`.
    pub session_name: String,
    /// Inline session policy, minified JSON.
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    /// Roles that are assumed on the way, in order; the last of them assumes `arn`.
    pub via: Vec<RoleArn>,
    /// May hold the places of `session_name`; STS refuses it unless both sides allow `sts:SetSourceIdentity`.
    pub source_identity: Option<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// Keys of `tags` that later roles of a chain inherit.
    pub transitive_tags: Vec<String>,
    /// Of `delivery = "endpoint"`: where the process finds its token.
    pub token: Token,
}

/// Where a process with `delivery = "endpoint"` finds the token that it must show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Token {
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`: every SDK takes it.
    #[default]
    Env,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, a private file: the token is in no environment dump.
    File,
}

impl Role {
    /// With the defaults of the manifest.
    pub fn of(arn: RoleArn) -> Self {
        Self {
            arn,
            duration: Duration::from_hours(1),
            rotate_before: None,
            delivery: Delivery::Env,
            external_id: None,
            session_name: "devsup-{user}-{service}".into(),
            policy: None,
            policy_arns: Vec::new(),
            via: Vec::new(),
            source_identity: None,
            tags: BTreeMap::new(),
            transitive_tags: Vec::new(),
            token: Token::Env,
        }
    }

    /// Down-scoped by a session policy: shown as `scoped`.
    pub fn scoped(&self) -> bool {
        self.policy.is_some() || !self.policy_arns.is_empty()
    }
}

/// `arn:<partition>:iam::<account>:role/<path/><name>`, checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleArn(String);

impl RoleArn {
    /// The caller has checked the shape; `manifest::arn` is where that happens.
    pub(crate) fn checked(arn: &str) -> Self {
        Self(arn.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The role's name without its path: what an assumed-role ARN carries.
    pub fn role_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
