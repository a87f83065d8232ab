//! The words of the manifest: which keys each table knows, which come later, and what people call them elsewhere.

/// The tables of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Top,
    Aws,
    Service,
    Role,
    Backoff,
    Dependency,
    Sandbox,
}

/// A word from elsewhere, ours for it, and what else to know.
type Foreign = (&'static str, &'static str, &'static str);

const SECTIONS: [Section; 7] = [
    Section::Top,
    Section::Aws,
    Section::Service,
    Section::Role,
    Section::Backoff,
    Section::Dependency,
    Section::Sandbox,
];

impl Section {
    /// Keys this version reads.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["name", "aws", "defaults", "services", "sandbox"],
            Self::Aws => &["base_role", "profile", "region", "role_prefix", "sts_endpoint"],
            Self::Service => &[
                "command",
                "working_dir",
                "env",
                "env_file",
                "clean_env",
                "autostart",
                "depends_on",
                "restart",
                "backoff",
                "max_restarts",
                "stop_signal",
                "stop_mode",
                "stop_timeout",
                "stop_command",
                "role",
                "inherit_aws",
            ],
            Self::Role => &[
                "arn",
                "duration",
                "rotate_before",
                "delivery",
                "external_id",
                "session_name",
                "policy",
                "policy_arns",
            ],
            Self::Backoff => &["first", "max", "reset_after"],
            Self::Dependency => &["condition", "restart"],
            Self::Sandbox => &["lease", "buckets", "strict"],
        }
    }

    /// Keys of the design that this version refuses by name.
    pub(super) fn later(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["access", "logs"],
            Self::Aws => &["mfa_serial"],
            Self::Service => &[
                "ready", "live", "watch", "ports", "user", "group", "tty", "isolate", "limits", "nice", "umask",
                "logs", "replace",
            ],
            Self::Role => &["via", "source_identity", "tags", "transitive_tags"],
            Self::Backoff | Self::Dependency | Self::Sandbox => &[],
        }
    }

    /// How the table is written.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Top => "the top of the file",
            Self::Aws => "`[aws]`",
            Self::Service => "`[services.NAME]`",
            Self::Role => "`[services.NAME.role]`",
            Self::Backoff => "`backoff`",
            Self::Dependency => "`depends_on.NAME`",
            Self::Sandbox => "`[sandbox]`",
        }
    }

    fn foreign(self) -> &'static [Foreign] {
        match self {
            Self::Top => TOP,
            Self::Aws => AWS,
            Self::Service => SERVICE,
            Self::Role => ROLE,
            Self::Backoff => BACKOFF,
            Self::Dependency | Self::Sandbox => &[],
        }
    }
}

const TOP: &[Foreign] = &[
    ("service", "services", "each service is a table: `[services.web]`"),
    ("processes", "services", "each service is a table: `[services.web]`"),
    ("programs", "services", "each service is a table: `[services.web]`"),
    ("program", "services", "each service is a table: `[services.web]`"),
    ("project", "name", ""),
    ("project_name", "name", ""),
    ("default", "defaults", ""),
    ("x-defaults", "defaults", ""),
    ("include", "services.local.toml", "one developer's own changes are read from there"),
];

const AWS: &[Foreign] = &[
    ("aws_profile", "profile", ""),
    ("default_region", "region", ""),
    ("aws_region", "region", ""),
    ("endpoint", "sts_endpoint", ""),
    ("endpoint_url", "sts_endpoint", ""),
    ("prefix", "role_prefix", ""),
];

const SERVICE: &[Foreign] = &[
    ("environment", "env", ""),
    ("environment_variables", "env", ""),
    ("envs", "env", ""),
    ("EnvironmentFile", "env_file", ""),
    ("dotenv", "env_file", ""),
    ("directory", "working_dir", ""),
    ("cwd", "working_dir", ""),
    ("dir", "working_dir", ""),
    ("workdir", "working_dir", ""),
    ("WorkingDirectory", "working_dir", ""),
    ("ExecStart", "command", ""),
    ("cmd", "command", ""),
    ("exec", "command", ""),
    ("run", "command", ""),
    ("script", "command", ""),
    ("entrypoint", "command", ""),
    ("args", "command", "the whole command line is one list: `command = [\"./a\", \"--port\", \"8001\"]`"),
    ("user_data", "command", "what an instance runs at boot is, here, the service's command"),
    ("ExecStop", "stop_command", ""),
    ("pre_stop", "stop_command", ""),
    ("stop_grace_period", "stop_timeout", ""),
    ("TimeoutStopSec", "stop_timeout", ""),
    ("stopwaitsecs", "stop_timeout", ""),
    ("kill_timeout", "stop_timeout", ""),
    ("shutdown_timeout", "stop_timeout", ""),
    ("KillSignal", "stop_signal", ""),
    ("stopsignal", "stop_signal", ""),
    ("kill_signal", "stop_signal", ""),
    ("KillMode", "stop_mode", ""),
    ("stopasgroup", "stop_mode", "`group` is the default"),
    ("killasgroup", "stop_mode", "SIGKILL always takes the whole tree"),
    ("autorestart", "restart", "`always`, `on-failure` or `never`"),
    ("restart_policy", "restart", "`always`, `on-failure` or `never`"),
    ("RestartSec", "backoff", "`backoff = { first = \"500ms\", max = \"30s\" }`"),
    ("restart_delay", "backoff", "`backoff = { first = \"500ms\", max = \"30s\" }`"),
    ("startretries", "max_restarts", ""),
    ("StartLimitBurst", "max_restarts", ""),
    ("after", "depends_on", ""),
    ("requires", "depends_on", ""),
    ("wants", "depends_on", ""),
    ("needs", "depends_on", ""),
    ("enabled", "autostart", ""),
    ("disabled", "autostart", "the other way round: `autostart = false`"),
    ("auto_start", "autostart", ""),
    ("role_arn", "role", ""),
    ("iam_role", "role", ""),
    ("task_role_arn", "role", ""),
    ("iam_instance_profile", "role", "name the role, not the instance profile"),
    ("aws_profile", "role", "a service runs as a role; the profile devsup itself uses is `[aws] profile`"),
    ("healthcheck", "ready", ""),
    ("health_check", "ready", ""),
    ("readiness_probe", "ready", ""),
    ("liveness_probe", "live", ""),
    ("port", "ports", ""),
    ("expose", "ports", ""),
    ("ulimits", "limits", ""),
    ("LimitNOFILE", "limits", ""),
    ("logging", "logs", ""),
    ("log_location", "logs", ""),
    ("stdout_logfile", "logs", ""),
    ("redirect_stderr", "logs", ""),
    ("develop", "watch", ""),
    ("is_tty", "tty", ""),
];

const ROLE: &[Foreign] = &[
    ("role_arn", "arn", ""),
    ("duration_seconds", "duration", "with its unit: `duration = \"1h\"`"),
    ("session_duration", "duration", ""),
    ("role_session_name", "session_name", ""),
    ("externalId", "external_id", ""),
    ("session_policy", "policy", ""),
    ("inline_policy", "policy", ""),
    ("managed_policies", "policy_arns", ""),
    ("session_tags", "tags", ""),
    ("source_profile", "via", "the base identity is `[aws] profile`; roles on the way are `via`"),
];

const BACKOFF: &[Foreign] = &[
    ("initial", "first", ""),
    ("min", "first", ""),
    ("delay", "first", ""),
    ("max_delay", "max", ""),
    ("cap", "max", ""),
    ("reset", "reset_after", ""),
];

/// What is to be said of a key that the table does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A key of the design, for another day.
    Later,
    /// People elsewhere say it so; here it is this.
    Ours { key: &'static str, note: &'static str, later: bool },
    /// A slip of the finger.
    Near(&'static str),
    /// A right word in the wrong table.
    Elsewhere(Section),
    Nothing,
}

/// Judges a key that `section` does not have.
pub(super) fn answer(section: Section, key: &str) -> Answer {
    if section.later().contains(&key) {
        return Answer::Later;
    }
    let bare = bare(key);
    if let Some((_, ours, note)) = section.foreign().iter().find(|(word, ..)| self::bare(word) == bare) {
        return Answer::Ours { key: ours, note, later: section.later().contains(ours) };
    }
    if let Some(near) = section.keys().iter().find(|known| self::bare(known) == bare) {
        return Answer::Near(near);
    }
    let other = |section: &Section| section.keys().contains(&key) || section.later().contains(&key);
    if let Some(elsewhere) = SECTIONS.into_iter().filter(|other| *other != section).find(other) {
        return Answer::Elsewhere(elsewhere);
    }
    match nearest(key, section.keys().iter().chain(section.later()).copied()) {
        Some(near) => Answer::Near(near),
        None => Answer::Nothing,
    }
}

/// `workingDir`, `working-dir` and `WORKING_DIR` are one word.
fn bare(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The likeliest of `words` that a person meant by `typed`, if any is likely.
pub(super) fn nearest<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let allowed = (typed.chars().count() / 3).max(1);
    words
        .filter(|word| *word != typed)
        .map(|word| (strsim::damerau_levenshtein(&typed.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_foreign_word_leads_to_a_key_that_exists() {
        for section in SECTIONS {
            for (word, ours, _) in section.foreign() {
                let known = section.keys().contains(ours) || section.later().contains(ours);
                assert!(known || *ours == "services.local.toml", "{word} leads to {ours}");
                assert!(!section.keys().contains(word), "{word} is our own");
            }
        }
    }

    #[test]
    fn answers_people_from_elsewhere() {
        assert_eq!(answer(Section::Service, "comand"), Answer::Near("command"));
        assert_eq!(answer(Section::Service, "workingDir"), Answer::Near("working_dir"));
        assert_eq!(answer(Section::Service, "region"), Answer::Elsewhere(Section::Aws));
        assert_eq!(answer(Section::Service, "ready"), Answer::Later);
        assert!(matches!(answer(Section::Service, "healthcheck"), Answer::Ours { key: "ready", later: true, .. }));
        assert_eq!(answer(Section::Service, "zzzzzz"), Answer::Nothing);
    }
}
