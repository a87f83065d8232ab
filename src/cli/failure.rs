//! How a command that did not work says so: `error: …`, `cause: …`, `hint: …`, and the exit code. Every error of every
//! module becomes a [`Failure`] here, at the edge, and nowhere else.

use std::fmt::Write as _;
use std::io;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::paint::Paint;
use crate::control::api::{Failed, FailedKind};

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub u8);

impl Code {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const FAILED: Self = Self(1);
    pub(crate) const NOT_RUNNING: Self = Self(3);
    pub(crate) const CREDENTIALS_REFUSED: Self = Self(7);
    pub(crate) const HUNG_UP: Self = Self(129);
    pub(crate) const INTERRUPTED: Self = Self(130);
    pub(crate) const TERMINATED: Self = Self(143);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    /// What was typed, or the manifest.
    Usage,
    NotRunning,
    NoSuchService,
    ProjectDown,
    NotPermitted,
    CredentialsRefused,
    TimedOut,
    /// devsup's own failure before a command could be started by `exec`.
    Own,
    CannotExecute,
    CommandNotFound,
    /// The manifest, whose problems have been shown with their sum.
    Said,
    /// Whoever read our output has left (`| head`): no word, no error.
    ReaderLeft,
}

impl Kind {
    pub(crate) fn code(self) -> Code {
        Code(match self {
            Self::ReaderLeft => 0,
            Self::Failed => 1,
            Self::Usage | Self::Said => 2,
            Self::NotRunning => 3,
            Self::NoSuchService => 4,
            Self::ProjectDown => 5,
            Self::NotPermitted => 6,
            Self::CredentialsRefused => 7,
            Self::TimedOut => 124,
            Self::Own => 125,
            Self::CannotExecute => 126,
            Self::CommandNotFound => 127,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub kind: Kind,
    pub error: String,
    pub causes: Vec<String>,
    pub hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into(), causes: Vec::new(), hints: Vec::new() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over as they come")]
    pub(crate) fn cause(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same, with another exit code: `exec` answers 125 for whatever is its own.
    pub(crate) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// How the verb is typed, where nothing better can be said.
    fn with_usage(self, error: &clap::Error) -> Self {
        let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
        let usage = usage.trim_start_matches("Usage:").trim();
        if error.kind() == ErrorKind::InvalidSubcommand || usage.is_empty() {
            return self.hint("devsup --help");
        }
        let failure = self.hint(format!("usage: {usage}"));
        let several = ["start", "stop", "restart"];
        match several.into_iter().find(|verb| usage.starts_with(&format!("devsup {verb} <SVC>"))) {
            Some(verb) if error.kind() == ErrorKind::MissingRequiredArgument => {
                failure.hint(format!("all of them: devsup {verb} --all"))
            }
            _ => failure,
        }
    }

    /// All lines, each ended; nothing for [`Kind::ReaderLeft`] and [`Kind::Said`].
    pub(crate) fn render(&self, paint: Paint) -> String {
        let mut text = String::new();
        if matches!(self.kind, Kind::ReaderLeft | Kind::Said) {
            return text;
        }
        for (label, words) in std::iter::once((paint.red("error:"), &self.error))
            .chain(self.causes.iter().map(|cause| (paint.dim("cause:"), cause)))
            .chain(self.hints.iter().map(|hint| (paint.cyan("hint:"), hint)))
        {
            // A hint may be a snippet of several lines: it begins on its own, so that it can be copied whole.
            let gap = if words.contains('\n') { "\n" } else { " " };
            writeln!(text, "{label}{gap}{}", words.trim_end()).ok();
        }
        text
    }
}

/// Standard output is the only thing the verbs write to with `?`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::ReaderLeft, ""),
            _ => Self::new(Kind::Failed, "standard output cannot be written").cause(error),
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        let kind = match failed.kind {
            FailedKind::Failed => Kind::Failed,
            FailedKind::Usage => Kind::Usage,
            FailedKind::NotRunning => Kind::NotRunning,
            FailedKind::NoSuchService => Kind::NoSuchService,
            FailedKind::NotPermitted => Kind::NotPermitted,
            FailedKind::CredentialsRefused => Kind::CredentialsRefused,
        };
        Self { kind, error: failed.error, causes: failed.causes, hints: failed.hints }
    }
}

/// clap's findings, in our words.
impl From<&clap::Error> for Failure {
    fn from(error: &clap::Error) -> Self {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(one)) => one.clone(),
            Some(ContextValue::Strings(several)) => several.join("`, `"),
            _ => String::new(),
        };
        let argument = plain(&text(ContextKind::InvalidArg));
        let value = text(ContextKind::InvalidValue);
        let words = match error.kind() {
            ErrorKind::InvalidSubcommand => format!("`{}` is no verb of devsup", text(ContextKind::InvalidSubcommand)),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no verb".to_owned(),
            ErrorKind::UnknownArgument => format!("argument `{argument}` is not expected here"),
            ErrorKind::MissingRequiredArgument => format!("`{argument}` is missing"),
            ErrorKind::ArgumentConflict => {
                format!("`{argument}` cannot be used with `{}`", plain(&text(ContextKind::PriorArg)))
            }
            ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                format!("value `{value}` for `{argument}` is not understood")
            }
            _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        let mut failure = Self::new(Kind::Usage, words);
        if let Some(cause) = std::error::Error::source(error) {
            failure = failure.cause(cause);
        }
        if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
            && !values.is_empty()
        {
            failure = failure.hint(format!("one of `{}`", values.join("`, `")));
        }
        if error.kind() == ErrorKind::InvalidSubcommand
            && let Some(near) = near_verb(&text(ContextKind::InvalidSubcommand))
        {
            failure = failure.hint(format!("did you mean `{near}`?"));
        }
        for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
            let near = text(kind);
            if !near.is_empty() {
                failure = failure.hint(format!("did you mean `{near}`?"));
            }
        }
        let instead = match argument.as_str() {
            "-f" => Some("the manifest's `-f FILE` stands before the verb: devsup -f FILE VERB"),
            "--json" => Some("did you mean `--format json`?"),
            _ => None,
        };
        if let Some(instead) = instead.filter(|_| error.kind() == ErrorKind::UnknownArgument) {
            return failure.hint(instead);
        }
        if failure.hints.is_empty() && failure.causes.is_empty() { failure.with_usage(error) } else { failure }
    }
}

/// `<SVC>...` and `[SVC]...` are usage; in a sentence it is `SVC`.
fn plain(argument: &str) -> String {
    let name = argument.trim_end_matches("...");
    let bare = name.strip_prefix(['<', '[']).and_then(|name| name.strip_suffix(['>', ']']));
    bare.unwrap_or(name).to_owned()
}

/// One verb, and only when it is close: clap's own idea of near is wide.
fn near_verb(typed: &str) -> Option<String> {
    let verbs = super::args::verbs();
    let near = verbs.into_iter().map(|verb| (strsim::damerau_levenshtein(typed, &verb), verb));
    near.filter(|(distance, _)| *distance <= 1 + typed.len() / 4).min().map(|(_, verb)| verb)
}
