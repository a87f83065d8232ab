//! What the embedded AWS holds, and the first line it says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::faults::Faults;
use crate::manifest::{ACCOUNT, SandboxPlan};

/// What the embedded AWS holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    pub region: String,
    pub account: String,
    /// The role devsup's base identity is a session of (`dev`). An IAM user's ARN makes it that user, with no session
    /// token: then nothing is chained.
    pub base_role_arn: String,
    /// Every role of the manifest; trust: may be assumed by the base role. (arn)
    pub roles: Vec<String>,
    /// Bucket to the role names that may use it.
    pub buckets: BTreeMap<String, Vec<String>>,
    /// The life of every lease, unless the request asks for less.
    pub lease: Duration,
    pub strict: bool,
    /// 0: any free port.
    pub port: u16,
    /// Role ARN to the external id its trust policy wants.
    #[serde(default)]
    pub external_ids: BTreeMap<String, String>,
    /// Role ARN to the ARNs of roles, beside the base role, whose sessions may assume it.
    #[serde(default)]
    pub trusts: BTreeMap<String, Vec<String>>,
    /// Role ARN to its MaxSessionDuration; 1 h where it is not named. Looked at when `strict`.
    #[serde(default)]
    pub max_session: BTreeMap<String, Duration>,
    /// The base identity is an IAM user who must show a code of this device before it may assume a role.
    #[serde(default)]
    pub mfa_serial: Option<String>,
    /// The longest session that a code opens.
    #[serde(default = "day_and_a_half")]
    pub mfa_lasts: Duration,
    /// What is wrong from the start on.
    #[serde(default)]
    pub faults: Faults,
}

/// What AWS allows a user.
fn day_and_a_half() -> Duration {
    Duration::from_hours(36)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            account: ACCOUNT.into(),
            base_role_arn: format!("arn:aws:iam::{ACCOUNT}:role/dev"),
            roles: Vec::new(),
            buckets: BTreeMap::new(),
            lease: Duration::from_mins(1),
            strict: false,
            port: 0,
            external_ids: BTreeMap::new(),
            trusts: BTreeMap::new(),
            max_session: BTreeMap::new(),
            mfa_serial: None,
            mfa_lasts: day_and_a_half(),
            faults: Faults::default(),
        }
    }
}

impl From<SandboxPlan> for Config {
    fn from(plan: SandboxPlan) -> Self {
        let SandboxPlan { region, account, base_role_arn, roles, .. } = plan;
        let SandboxPlan { external_ids, trusts, mfa_serial, buckets, lease, strict, port, .. } = plan;
        let known = Self { region, account, base_role_arn, roles, buckets, lease, strict, port, ..Self::default() };
        Self { external_ids, trusts, mfa_serial, ..known }
    }
}

/// First line on stdout of `devsup sandbox --format json`, and what the daemon reads: how to be the base identity there.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ready {
    pub url: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("url", &self.url)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manifest::Manifest;
    use crate::manifest::{Access, Aws, Name, Role, RoleArn, Sandbox, Service};

    fn service(name: &str, arn: &str, external_id: Option<&str>) -> (Name, Arc<Service>) {
        let role = Role { external_id: external_id.map(str::to_owned), ..Role::of(RoleArn::checked(arn)) };
        let service = Service { role: Some(role), ..Service::of(name, None, "/") };
        (name.into(), Arc::new(service))
    }

    fn manifest(base_role: Option<&str>) -> Manifest {
        let (shared, own) = ("arn:aws:iam::111122223333:role/shared", "arn:aws:iam::111122223333:role/p/own");
        Manifest {
            files: Vec::new(),
            dir: "/".into(),
            name: "shop".into(),
            aws: Aws { base_role: base_role.map(RoleArn::checked), ..Aws::default() },
            services: [service("a", shared, Some("x1")), service("b", shared, None), service("c", own, Some("x2"))]
                .into(),
            access: Access::default(),
            logs_max_total: None,
            sandbox: Sandbox { buckets: [("bucket1".into(), vec!["own".into()])].into(), ..Sandbox::default() },
        }
    }

    #[test]
    fn a_manifest_gives_roles_account_and_the_external_ids_its_services_agree_on() {
        let config = Config::from(manifest(None).sandbox_plan(Some("eu-west-1")));
        assert_eq!(config.base_role_arn, "arn:aws:iam::111122223333:role/dev");
        assert_eq!(config.roles, ["arn:aws:iam::111122223333:role/p/own", "arn:aws:iam::111122223333:role/shared"]);
        assert_eq!(config.external_ids, [("arn:aws:iam::111122223333:role/p/own".to_owned(), "x2".to_owned())].into());
        assert_eq!(config.buckets["bucket1"], ["own"]);
        let named = Config::from(manifest(Some("arn:aws:iam::999999999999:role/box")).sandbox_plan(Some("eu-west-1")));
        assert_eq!(
            (named.base_role_arn.as_str(), named.account.as_str()),
            ("arn:aws:iam::999999999999:role/box", "999999999999")
        );
    }

    #[test]
    fn debug_of_ready_holds_no_secret() {
        let ready = Ready {
            url: "http://127.0.0.1:1".into(),
            region: "r".into(),
            access_key_id: "ASIASANDBOXX".into(),
            secret_access_key: "hush-one".into(),
            session_token: Some("hush-two".into()),
        };
        let text = format!("{ready:?}");
        assert!(text.contains("ASIASANDBOXX") && !text.contains("hush"), "{text}");
    }
}
