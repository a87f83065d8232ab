//! Profiles that ask for an MFA code themselves (`role_arn` with `mfa_serial`): the SDK's chain never asks for one, so AWS
//! refuses, and nothing in its error says why. This reads the profile files to say it.

use std::borrow::Cow;

use aws_config::profile;
use aws_types::os_shim_internal::{Env, Fs};

use super::chain::Missing;

/// Longer chains of `source_profile` go round in a circle.
const DEEPEST: usize = 10;

/// Why this profile gave no credentials, if it is for want of a code.
pub(super) async fn wants_code(env: &Env, named: &str) -> Option<Missing> {
    let named = Cow::from(named.to_owned());
    #[expect(deprecated, reason = "its new name is of a crate that is no dependency of ours")]
    let files = profile::profile_file::ProfileFiles::default();
    let all = profile::load(&Fs::real(), env, &files, Some(named.clone())).await.ok()?;
    let mut name = named.into_owned();
    for _ in 0..DEEPEST {
        let profile = all.get_profile(&name)?;
        let get = |key: &str| profile.get(key).map(str::to_owned);
        let (source, role) = (get("source_profile"), get("role_arn"));
        if let (Some(serial), Some(role)) = (get("mfa_serial"), role) {
            return Some(missing(&name, &serial, &role, source.as_deref().unwrap_or("default")));
        }
        name = source.filter(|source| *source != name)?;
    }
    None
}

fn missing(profile: &str, serial: &str, role: &str, source: &str) -> Missing {
    Missing {
        why: format!(
            "profile `{profile}` assumes `{role}` with an MFA code of `{serial}`, which the SDK's chain asks nobody for"
        ),
        hint: Some(format!(
            "let devsup ask for it: in services.toml\n[aws]\nprofile = \"{source}\"\nmfa_serial = \"{serial}\"\n\
             [defaults.role]\nvia = [\"{role}\"]\nthen `devsup creds --mfa`"
        )),
    }
}
