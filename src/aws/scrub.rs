//! Which inherited variables no child gets: they would give it another AWS identity than its own, or tie it to the
//! supervisor that started devsup.

/// Meant for devsup itself by what started it: a child would answer for devsup, take its sockets, or use its folders. What
/// systemd.exec(5) sets for the process of a unit, and our own.
const OWN: &[&str] = &[
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "DEVSUP",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LOGS_DIRECTORY",
    "LOG_NAMESPACE",
    "MAINPID",
    "MAINPIDFDID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Of inherited variables only: what the manifest itself gives a service is meant for it.
pub(super) fn is_devsups_own(name: &str) -> bool {
    OWN.contains(&name) || name.starts_with("DEVSUP_")
}

/// Points an SDK at another address than AWS's: kept with real credentials, removed in the sandbox.
pub(super) fn is_endpoint(name: &str) -> bool {
    name == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" || name == "AWS_ENDPOINT_URL" || name.starts_with("AWS_ENDPOINT_URL_")
}
