//! What the shell that `doctor` was typed in says of AWS, and services do not get to hear. Names only.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::cli::render::list;
use crate::manifest::{Delivery, Service, is_scrubbed};

#[derive(Default)]
pub(super) struct Facts {
    /// Names that are taken from every service, in order.
    pub(super) removed: Vec<String>,
    /// Names that change how an SDK asks, and are left: some set them on purpose.
    pub(super) left: Vec<String>,
    /// The file with a `[default]` profile.
    pub(super) default_profile: Option<PathBuf>,
    /// How the services get their credentials.
    pub(super) by_env: bool,
    pub(super) by_file: bool,
    /// Services that keep all of it on purpose.
    pub(super) inherit: Vec<String>,
    pub(super) sandbox: bool,
}

/// Beats keys in variables in some SDK: the profile in JavaScript's, the old token in botocore.
const OVER_ENV: &[&str] = &["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN"];
/// Asked before the container endpoint, or before the `[default]` profile that devsup writes.
const OVER_FILE: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

pub(super) fn facts(env: &[(OsString, OsString)], services: &[Service], sandbox: bool) -> Facts {
    let mut names: Vec<String> = env.iter().filter_map(|(name, _)| name.to_str()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    let removed = names.iter().filter(|name| is_scrubbed(name)).cloned().collect();
    let changes = |name: &str| {
        name.starts_with("AWS_ENDPOINT_URL")
            || ["AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]
                .contains(&name)
    };
    let delivered = |wanted: &[Delivery]| {
        services.iter().filter_map(|it| it.role.as_ref()).any(|role| wanted.contains(&role.delivery))
    };
    let home = env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    Facts {
        removed,
        left: names.iter().filter(|name| changes(name)).cloned().collect(),
        default_profile: home.and_then(|home| default_profile(&home)),
        by_env: delivered(&[Delivery::Env]),
        by_file: delivered(&[Delivery::Endpoint, Delivery::Process]),
        inherit: services.iter().filter(|it| it.inherit_aws).map(|it| it.name.to_string()).collect(),
        sandbox,
    }
}

/// A file of profiles with a `[default]` one.
fn default_profile(home: &Path) -> Option<PathBuf> {
    [".aws/credentials", ".aws/config"].into_iter().map(|name| home.join(name)).find(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.trim().replace(' ', "") == "[default]")
    })
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    let beats = |name: &String| {
        (facts.by_env && OVER_ENV.contains(&name.as_str())) || (facts.by_file && OVER_FILE.contains(&name.as_str()))
    };
    let beating: Vec<&str> = facts.removed.iter().filter(|name| beats(name)).map(String::as_str).collect();
    let removed: Vec<&str> = facts.removed.iter().map(String::as_str).collect();
    if !removed.is_empty() {
        let kept = match facts.inherit.as_slice() {
            [] => String::new(),
            keep => format!(", but for {} (`inherit_aws`)", keep.join(", ")),
        };
        let over = if beating.is_empty() {
            String::new()
        } else {
            format!("; {} would have beaten a service's role in some SDK", list(&beating))
        };
        all.push(Finding::ok("environment", format!("{} kept from services{kept}{over}", list_is(&removed))));
    }
    if let Some(file) = facts.default_profile.as_ref().filter(|_| facts.by_file) {
        let sentence =
            format!("the `[default]` profile of `{}` is kept from services: it beats their role", file.display());
        all.push(Finding::ok("environment", sentence));
    }
    // In the sandbox the endpoints are not.
    let (endpoints, others): (Vec<&str>, Vec<&str>) =
        facts.left.iter().map(String::as_str).partition(|name| name.contains("ENDPOINT"));
    if !endpoints.is_empty() && !facts.sandbox {
        let detail = "an SDK then asks there instead of AWS; devsup leaves them, for some set them on purpose";
        let fix = format!("unset {}", endpoints.join(" "));
        all.push(
            Finding::warn("environment", format!("services get {} too", list(&endpoints))).detail(detail).fix(fix),
        );
    }
    if !others.is_empty() {
        all.push(Finding::ok("environment", format!("services get {} too", list(&others))));
    }
    if all.is_empty() {
        all.push(Finding::ok("environment", "nothing in it would change who services are in AWS"));
    }
    all
}

fn list_is(names: &[&str]) -> String {
    format!("{} {}", list(names), if names.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(names: &[&str], by_env: bool, by_file: bool) -> Facts {
        let removed = names.iter().map(ToString::to_string).collect();
        Facts { removed, by_env, by_file, ..Facts::default() }
    }

    fn said(facts: &Facts) -> String {
        judge(facts).into_iter().map(|found| found.sentence).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_beats_a_role_depends_on_how_it_is_handed_over() {
        let names = ["AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"];
        let by_env = said(&removed(&names, true, false));
        assert_eq!(
            by_env,
            "`AWS_PROFILE` and `AWS_WEB_IDENTITY_TOKEN_FILE` are kept from services; `AWS_PROFILE` would have beaten a \
             service's role in some SDK"
        );
        let by_file = said(&removed(&names, false, true));
        assert!(by_file.ends_with(
            "`AWS_PROFILE` and `AWS_WEB_IDENTITY_TOKEN_FILE` would have beaten a service's role in some SDK"
        ));
        assert!(!said(&removed(&["AWS_VAULT"], true, true)).contains("beaten"));
    }

    #[test]
    fn a_default_profile_matters_to_what_is_asked_after_it() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".aws")).expect("a folder");
        assert_eq!(default_profile(home.path()), None);
        std::fs::write(home.path().join(".aws/credentials"), "[dev]\n[ default ]\n").expect("a file");
        let found = default_profile(home.path());
        assert_eq!(found, Some(home.path().join(".aws/credentials")));
        let facts = Facts { default_profile: found, by_file: true, ..Facts::default() };
        assert!(said(&facts).contains("`[default]` profile of"), "{}", said(&facts));
        assert!(!said(&Facts { by_file: false, ..facts }).contains("[default]"));
    }

    #[test]
    fn only_names_are_read_and_endpoints_are_said() {
        let env = [("AWS_ENDPOINT_URL", "http://u:geheim@x"), ("AWS_SECRET_ACCESS_KEY", "geheim"), ("PATH", "/bin")];
        let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let all = judge(&facts(&env, &[], false));
        let text = format!("{all:?}");
        assert!(text.contains("AWS_ENDPOINT_URL") && text.contains("AWS_SECRET_ACCESS_KEY"), "{text}");
        assert!(!text.contains("geheim") && !text.contains("PATH"), "{text}");
        let sandboxed = judge(&facts(&env, &[], true));
        assert!(!format!("{sandboxed:?}").contains("AWS_ENDPOINT_URL"), "{sandboxed:?}");
    }
}
