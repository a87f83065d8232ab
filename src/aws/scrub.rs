//! Which inherited variables no child gets: they would give it another AWS identity than its own, or tie it to the
//! supervisor that started devsup.

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
