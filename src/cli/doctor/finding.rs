//! What `doctor` has to say: one fact about one thing, whether it is well, and how to mend it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// `up` would work, and this is worth knowing.
    Warn,
    /// `up` would not work, or not whole.
    Error,
}

/// What an error stands in the way with: the exit code tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bar {
    #[default]
    Machine,
    /// There is no identity, or AWS refuses a role.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// A word of the table in docs/doctor.md.
    pub check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub verdict: Verdict,
    pub sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// A command or a snippet to paste, of one line or several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    #[serde(skip)]
    pub bar: Bar,
}

impl Finding {
    fn new(verdict: Verdict, check: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { check, service: None, verdict, sentence, detail: None, fix: None, bar: Bar::Machine }
    }

    pub(crate) fn ok(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, sentence)
    }

    pub(crate) fn warn(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, check, sentence)
    }

    pub(crate) fn error(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(Verdict::Error, check, sentence)
    }

    pub(crate) fn of(mut self, service: &str) -> Self {
        self.service = Some(service.to_owned());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into()).filter(|words| !words.is_empty());
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into()).filter(|words| !words.is_empty());
        self
    }

    pub(crate) fn refused(mut self) -> Self {
        self.bar = Bar::Refused;
        self
    }
}
