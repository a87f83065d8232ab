//! Which inherited variables no child gets: they would give it another AWS identity than its own, or tie it to the
//! supervisor that started devsup.

/// Names that choose or carry an AWS identity.
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

/// Beginnings of names that other credential tools leave behind.
const SCRUBBED_PREFIXES: &[&str] = &["AWS_VAULT_", "AWSUME_", "GRANTED_"];

/// Does this variable choose or carry an AWS identity?
pub fn is_scrubbed(name: &str) -> bool {
    SCRUBBED.contains(&name) || SCRUBBED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Meant for devsup itself by what started it: a child would answer for devsup, or take its sockets.
pub(super) fn is_devsups_own(name: &str) -> bool {
    const OWN: &[&str] =
        &["NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "DEVSUP", "MANAGERPID", "SYSTEMD_EXEC_PID"];
    OWN.contains(&name) || ["LISTEN_", "WATCHDOG_", "DEVSUP_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Points an SDK at another address than AWS's: kept with real credentials, removed in the sandbox.
pub(super) fn is_endpoint(name: &str) -> bool {
    name == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" || name == "AWS_ENDPOINT_URL" || name.starts_with("AWS_ENDPOINT_URL_")
}
