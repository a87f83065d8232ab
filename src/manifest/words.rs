//! The words of the manifest: which keys each table knows, and what is said of a key that is not known.

use super::elsewhere::{self, Foreign};

/// The tables of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Top,
    Aws,
    Service,
    Role,
    Backoff,
    Dependency,
    Ready,
    Live,
    Port,
    Limits,
    Limit,
    Access,
    Logs,
    AllLogs,
    Sandbox,
}

const SECTIONS: [Section; 15] = [
    Section::Top,
    Section::Aws,
    Section::Service,
    Section::Role,
    Section::Backoff,
    Section::Dependency,
    Section::Ready,
    Section::Live,
    Section::Port,
    Section::Limits,
    Section::Limit,
    Section::Access,
    Section::Logs,
    Section::AllLogs,
    Section::Sandbox,
];

const SERVICE: [&str; 29] = [
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
    "replace",
    "ports",
    "ready",
    "live",
    "watch",
    "user",
    "group",
    "umask",
    "nice",
    "limits",
    "logs",
    "tty",
    "isolate",
    "role",
    "inherit_aws",
];

impl Section {
    /// Keys this version reads.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &["name", "aws", "defaults", "services", "access", "logs", "sandbox"],
            Self::Aws => &["base_role", "profile", "region", "role_prefix", "sts_endpoint", "mfa_serial"],
            Self::Service => &SERVICE,
            Self::Role => &[
                "arn",
                "duration",
                "rotate_before",
                "delivery",
                "token",
                "external_id",
                "session_name",
                "policy",
                "policy_arns",
                "via",
                "source_identity",
                "tags",
                "transitive_tags",
            ],
            Self::Backoff => &["first", "max", "reset_after"],
            Self::Dependency => &["condition", "restart"],
            Self::Ready => &["http", "tcp", "exec", "log", "notify", "fd", "timeout", "interval"],
            Self::Live => &["http", "tcp", "exec", "interval", "timeout", "failures"],
            Self::Port => &["listen", "handover", "wait"],
            Self::Limits => {
                &["as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "stack", "memory", "pids"]
            }
            Self::Limit => &["soft", "hard"],
            Self::Access => &["look", "operate"],
            Self::Logs => &["total", "file", "redact"],
            Self::AllLogs => &["max_total"],
            Self::Sandbox => &["lease", "buckets", "strict"],
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
            Self::Ready => "`ready`",
            Self::Live => "`live`",
            Self::Port => "`[services.NAME.ports.NAME]`",
            Self::Limits => "`limits`",
            Self::Limit => "`limits.NAME`",
            Self::Access => "`[access]`",
            Self::Logs => "`logs`",
            Self::AllLogs => "`[logs]`",
            Self::Sandbox => "`[sandbox]`",
        }
    }

    fn foreign(self) -> &'static [Foreign] {
        match self {
            Self::Top => elsewhere::TOP,
            Self::Aws => elsewhere::AWS,
            Self::Service => elsewhere::SERVICE,
            Self::Role => elsewhere::ROLE,
            Self::Backoff => elsewhere::BACKOFF,
            Self::Ready => elsewhere::READY,
            Self::Live => elsewhere::LIVE,
            Self::Port => elsewhere::PORT,
            Self::Limits => elsewhere::LIMITS,
            Self::Access => elsewhere::ACCESS,
            Self::Logs => elsewhere::LOGS,
            Self::Dependency | Self::Limit | Self::AllLogs | Self::Sandbox => &[],
        }
    }
}

/// What is to be said of a key that the table does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// People elsewhere say it so; here it is this.
    Ours {
        key: &'static str,
        note: &'static str,
    },
    /// A slip of the finger.
    Near(&'static str),
    /// A right word in the wrong table.
    Elsewhere(Section),
    Nothing,
}

/// Judges a key that `section` does not have.
pub(super) fn answer(section: Section, key: &str) -> Answer {
    let bare = bare(key);
    if let Some((_, ours, note)) = section.foreign().iter().find(|(word, ..)| self::bare(word) == bare) {
        return Answer::Ours { key: ours, note };
    }
    if let Some(near) = section.keys().iter().find(|known| self::bare(known) == bare) {
        return Answer::Near(near);
    }
    let other = |section: &Section| section.keys().contains(&key);
    if let Some(elsewhere) = SECTIONS.into_iter().filter(|other| *other != section).find(other) {
        return Answer::Elsewhere(elsewhere);
    }
    match nearest(key, section.keys().iter().copied()) {
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
                let known = section.keys().contains(ours);
                let another = *ours == "services.local.toml" || (section == Section::Live && *ours == "ready");
                assert!(known || another, "{word} leads to {ours}");
                assert!(!section.keys().contains(word), "{word} is our own");
            }
        }
    }

    #[test]
    fn answers_people_from_elsewhere() {
        assert_eq!(answer(Section::Service, "comand"), Answer::Near("command"));
        assert_eq!(answer(Section::Service, "workingDir"), Answer::Near("working_dir"));
        assert_eq!(answer(Section::Service, "region"), Answer::Elsewhere(Section::Aws));
        assert!(matches!(answer(Section::Service, "healthcheck"), Answer::Ours { key: "ready", .. }));
        assert!(matches!(answer(Section::Service, "expose"), Answer::Ours { key: "ports", .. }));
        assert!(matches!(answer(Section::Ready, "initialDelaySeconds"), Answer::Ours { key: "timeout", .. }));
        assert_eq!(answer(Section::Service, "handover"), Answer::Elsewhere(Section::Port));
        assert!(matches!(answer(Section::Service, "update_config"), Answer::Ours { key: "replace", .. }));
        assert_eq!(answer(Section::Ready, "failures"), Answer::Elsewhere(Section::Live));
        assert_eq!(answer(Section::Service, "zzzzzz"), Answer::Nothing);
    }
}
