//! What an IAM role's ARN looks like, and what people paste instead.

/// A role ARN is wrong in this way; `help` mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadArn {
    pub(super) label: String,
    pub(super) help: Option<String>,
}

fn bad(label: impl Into<String>) -> BadArn {
    BadArn { label: label.into(), help: Some("a role's ARN looks like `arn:aws:iam::033145145979:role/service-a`".into()) }
}

/// Checks `arn:<partition>:iam::<account>:role/<path/><name>` (IAM limits: 20..2048 characters, name up to 64).
pub(super) fn check_role(arn: &str) -> Result<(), BadArn> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, region, account, resource] = parts[..] else {
        return Err(bad("not an ARN"));
    };
    if arn.contains(char::is_whitespace) {
        return Err(bad("an ARN has no spaces"));
    }
    if arn.contains("${") {
        return Err(BadArn {
            label: "nothing is expanded in `role`".into(),
            help: Some("write the ARN itself; one developer's own role belongs in services.local.toml".into()),
        });
    }
    if partition != "aws" && !partition.starts_with("aws-") {
        return Err(bad(format!("`{partition}` is no partition of AWS: expected `aws`, `aws-cn` or `aws-us-gov`")));
    }
    check_kind(partition, service, account, resource)?;
    if !region.is_empty() {
        return Err(bad(format!("roles have no region: drop `{region}`")));
    }
    check_account(account)?;
    let path = resource.strip_prefix("role/").unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    check_name(name)?;
    if arn.len() > 2048 {
        return Err(bad("longer than 2048 characters"));
    }
    Ok(())
}

/// Tells a role from the things of AWS that look like one.
fn check_kind(partition: &str, service: &str, account: &str, resource: &str) -> Result<(), BadArn> {
    let instead = |label: &str, name: &str| {
        let help = format!("the role behind it is probably `arn:{partition}:iam::{account}:role/{name}`");
        Err(BadArn { label: label.into(), help: Some(help) })
    };
    if let Some(session) = resource.strip_prefix("assumed-role/") {
        return instead("a session of a role, not the role", session.split('/').next().unwrap_or_default());
    }
    if let Some(name) = resource.strip_prefix("instance-profile/") {
        return instead("an instance profile, not a role", name);
    }
    if service != "iam" {
        return Err(bad(format!("roles live in `iam`, this is of `{service}`")));
    }
    if resource.starts_with("user/") {
        return Err(bad("a user, not a role; a user is a base identity: `[aws] profile`"));
    }
    if resource.starts_with("policy/") {
        return Err(bad("a policy, not a role"));
    }
    if !resource.starts_with("role/") {
        return Err(bad("expected `role/NAME` after the account"));
    }
    Ok(())
}

pub(super) fn check_account(account: &str) -> Result<(), BadArn> {
    let digits = account.len();
    if account.is_empty() {
        return Err(bad("the account is missing"));
    }
    if !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(format!("`{account}` is no account: expected 12 digits")));
    }
    if digits != 12 {
        return Err(bad(format!("the account has {digits} digits, not 12")));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), BadArn> {
    if name.is_empty() {
        return Err(bad("the role's name is missing"));
    }
    if let Some(letter) = name.chars().find(|letter| !is_word(*letter)) {
        return Err(bad(format!("`{letter}` cannot be in a role's name")));
    }
    if name.len() > 64 {
        return Err(bad("a role's name has at most 64 characters"));
    }
    Ok(())
}

/// IAM's `[\w+=,.@-]`.
pub(super) fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)
}

/// `arn:<partition>:iam::<account or aws>:policy/...`
pub(super) fn is_policy(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", _, "iam", "", account, resource]
        if (account == "aws" || check_account(account).is_ok()) && resource.len() > 7 && resource.starts_with("policy/"))
}

/// `arn:<partition>:iam::<account>:role/` and perhaps a path, ending in `/`.
pub(super) fn is_prefix(prefix: &str) -> bool {
    prefix.ends_with('/') && check_role(&format!("{prefix}x")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_roles_of_every_partition() {
        for arn in [
            "arn:aws:iam::033145145979:role/service-a",
            "arn:aws-cn:iam::033145145979:role/team/x/service-a",
            "arn:aws-us-gov:iam::033145145979:role/a+b=c,d.e@f_g",
        ] {
            assert_eq!(check_role(arn), Ok(()), "{arn}");
        }
    }

    #[test]
    fn says_what_was_pasted_instead() {
        for (arn, word) in [
            ("service-a", "not an ARN"),
            ("arn:aws:sts::033145145979:assumed-role/a/b", "a session of a role"),
            ("arn:aws:iam::033145145979:instance-profile/a", "an instance profile"),
            ("arn:aws:iam::33145145979:role/a", "11 digits"),
            ("arn:aws:iam::033145145979:user/a", "a user"),
            ("arn:aws:s3:::bucket", "of `s3`"),
            ("arn:aws:iam:us-east-1:033145145979:role/a", "no region"),
            ("arn:aws:iam::033145145979:role/", "name is missing"),
            ("arn:aws:iam::033145145979:role/a b", "no spaces"),
            ("arn:aws:iam::033145145979:role/${X}", "nothing is expanded"),
        ] {
            let found = check_role(arn).expect_err(arn);
            assert!(found.label.contains(word), "{arn}: {}", found.label);
        }
    }
}
