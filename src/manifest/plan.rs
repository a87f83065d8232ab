//! What the embedded AWS must hold for a manifest: derived in one place, for the `sandbox` verb and for the daemon, which
//! hands it to its sandbox as a line of JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Manifest;

/// The account of a manifest that names none: the one of AWS's own documentation.
pub const ACCOUNT: &str = "123456789012";
/// The region of one that names none.
const REGION: &str = "us-east-1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPlan {
    pub region: String,
    pub account: String,
    /// `base_role`, or a role `dev` in the roles' account; with `mfa_serial` the user whose device it is.
    pub base_role_arn: String,
    /// The roles of all services (ARNs).
    pub roles: Vec<String>,
    /// Role ARN to the external id its trust policy wants.
    pub external_ids: BTreeMap<String, String>,
    /// Role ARN to the roles, beside the base, that may assume it: those before it in a `via`.
    #[serde(default)]
    pub trusts: BTreeMap<String, Vec<String>>,
    /// The base identity is an IAM user with this MFA device.
    #[serde(default)]
    pub mfa_serial: Option<String>,
    pub buckets: BTreeMap<String, Vec<String>>,
    pub lease: Duration,
    pub strict: bool,
    /// 0: any free port.
    pub port: u16,
}

impl Manifest {
    /// `region` wins over `[aws] region`.
    pub fn sandbox_plan(&self, region: Option<&str>) -> SandboxPlan {
        let mut wanted: BTreeMap<String, Vec<Option<&str>>> = BTreeMap::new();
        let mut trusts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for role in self.services.values().filter_map(|service| service.role.as_ref()) {
            wanted.entry(role.arn.to_string()).or_default().push(role.external_id.as_deref());
            for arn in &role.via {
                wanted.entry(arn.to_string()).or_default().push(None);
            }
            for (before, after) in role.via.iter().zip(role.via.iter().skip(1).chain([&role.arn])) {
                let trusted: &mut Vec<String> = trusts.entry(after.to_string()).or_default();
                if !trusted.iter().any(|known| known == before.as_str()) {
                    trusted.push(before.to_string());
                }
            }
        }
        let roles: Vec<String> = wanted.keys().cloned().collect();
        let base = self.aws.base_role.as_ref();
        let account = base
            .map(|base| base.account().to_owned())
            .or_else(|| roles.first().and_then(|arn| arn.split(':').nth(4)).map(str::to_owned))
            .unwrap_or_else(|| ACCOUNT.to_owned());
        SandboxPlan {
            region: region.or(self.aws.region.as_deref()).unwrap_or(REGION).to_owned(),
            base_role_arn: base.map_or_else(|| self.nobodys_base(&account), ToString::to_string),
            account,
            roles,
            trusts,
            mfa_serial: self.aws.mfa_serial.clone(),
            external_ids: wanted.into_iter().filter_map(|(arn, ids)| Some((arn, agreed(&ids)?))).collect(),
            buckets: self.sandbox.buckets.clone(),
            lease: self.sandbox.lease,
            strict: self.sandbox.strict,
            port: 0,
        }
    }
}

impl Manifest {
    /// Who the base is when the manifest does not say: a role, or the user whose MFA device it names.
    fn nobodys_base(&self, account: &str) -> String {
        match &self.aws.mfa_serial {
            Some(serial) if serial.starts_with("arn:") => serial.replace(":mfa/", ":user/"),
            Some(_) => format!("arn:aws:iam::{account}:user/dev"),
            None => format!("arn:aws:iam::{account}:role/dev"),
        }
    }
}

/// A role wants an external id when every service that uses it sends the same one.
fn agreed(ids: &[Option<&str>]) -> Option<String> {
    let first = (*ids.first()?)?;
    ids.iter().all(|id| *id == Some(first)).then(|| first.to_owned())
}
