//! A stand-in for AWS on loopback: STS and a little S3, so that every manifest runs with no account. It is for trying and
//! testing, says so, and never touches real credentials.
//!
//! (Skeleton of the interface; bodies follow.)

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the embedded AWS holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub region: String,
    pub account: String,
    /// The role devsup's base identity is a session of (`dev`).
    pub base_role_arn: String,
    /// Every role of the manifest; trust: may be assumed by the base role. (arn)
    pub roles: Vec<String>,
    /// Bucket to the role names that may use it.
    pub buckets: std::collections::BTreeMap<String, Vec<String>>,
    /// The life of every lease, unless the request asks for less.
    pub lease: Duration,
    pub strict: bool,
    /// 0: any free port.
    pub port: u16,
}

/// First line on stdout of `devsup sandbox --format json`, and what the daemon reads: how to be the base identity there.
#[derive(Serialize, Deserialize)]
pub struct Ready {
    pub url: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}
