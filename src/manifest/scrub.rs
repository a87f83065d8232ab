//! Names of variables: those that carry an AWS identity and are taken from every child, and those whose values are never shown.

/// Removed from every child before its own identity is put in (research 2.4). Patterns are in [`is_scrubbed`].
pub const SCRUBBED: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_SESSION_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CREDENTIAL_FILE",
    "AWS_CREDENTIAL_PROFILES_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_SDK_LOAD_CONFIG",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_ACCOUNT_ID",
    "AWS_VAULT",
];

/// Is this variable taken from every child? [`SCRUBBED`], and everything that awsume and granted leave behind.
pub fn is_scrubbed(name: &str) -> bool {
    SCRUBBED.contains(&name) || name.starts_with("AWSUME_") || name.starts_with("GRANTED_")
}

/// Does the variable's name say that its value is nobody's business?
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "KEY", "CREDENTIAL"].iter().any(|word| name.contains(word))
}

/// Does the value carry a password, as `postgres://user:password@host` does?
pub fn is_secret_value(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubs_identities_and_leaves_endpoints() {
        assert!(is_scrubbed("AWS_PROFILE") && is_scrubbed("AWSUME_EXPIRATION") && is_scrubbed("GRANTED_SSO"));
        assert!(!is_scrubbed("AWS_ENDPOINT_URL_S3") && !is_scrubbed("AWS_REGION"));
    }

    #[test]
    fn knows_a_secret_by_name_and_by_value() {
        assert!(is_secret_name("stripe_api_key") && is_secret_name("DB_PASSWORD") && !is_secret_name("LOG_LEVEL"));
        assert!(is_secret_value("postgres://app:hunter2@db/x") && !is_secret_value("http://127.0.0.1:8001/a@b:c"));
    }
}
