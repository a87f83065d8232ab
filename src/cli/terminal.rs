//! Where words go: stdout for what was asked, stderr for everything else, each coloured only where that helps a person.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use super::args::{Format, Globals, When};
use super::failure::Failure;
use super::paint::Paint;
use crate::logs::show;
use crate::sys::tty;

/// Both streams as this command may use them.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pub out: Paint,
    pub err: Paint,
    pub format: Format,
    pub talk: Talk,
    /// stdout is a terminal: cursor tricks are allowed there.
    pub interactive: bool,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    Quiet,
    Usual,
    Verbose,
}

impl Terminal {
    /// `--color` wins over `NO_COLOR` (set and not empty), which wins over what the stream is.
    pub(crate) fn new(globals: &Globals, no_color: bool) -> Self {
        let paint = |is_terminal: bool| match globals.color {
            When::Always => Paint::Ansi,
            When::Auto if is_terminal && !no_color => Paint::Ansi,
            When::Never | When::Auto => Paint::Plain,
        };
        let talk = match (globals.quiet, globals.verbose) {
            (true, _) => Talk::Quiet,
            (false, true) => Talk::Verbose,
            (false, false) => Talk::Usual,
        };
        let interactive = tty::stdout_is_terminal();
        Self {
            out: paint(interactive),
            err: paint(tty::stderr_is_terminal()),
            format: globals.format,
            talk,
            interactive,
        }
    }

    /// What `logs` makes of `--format`.
    pub(crate) fn log_format(&self) -> show::Format {
        match self.format {
            Format::Table => show::Format::Text,
            Format::Json => show::Format::Json,
        }
    }

    /// What was asked for, at once and as it is.
    #[expect(clippy::unused_self, reason = "verbs print through the terminal they were given, never past it")]
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// One object, one line.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(&json_line(value))
    }

    /// A line for the person at the other end. That nobody reads it is no error.
    pub(crate) fn say(&self, line: impl Display) {
        if self.talk != Talk::Quiet {
            writeln!(io::stderr().lock(), "{line}").ok();
        }
    }

    /// The same, only with `-v`.
    pub(crate) fn mention(&self, line: impl Display) {
        if self.talk == Talk::Verbose {
            self.say(line);
        }
    }

    /// Text that must be read, `-q` or not; its lines are ended.
    #[expect(clippy::unused_self, reason = "verbs print through the terminal they were given, never past it")]
    pub(crate) fn complain(&self, text: &str) {
        io::stderr().lock().write_all(text.as_bytes()).ok();
    }
}

pub(crate) fn json_line(value: &impl Serialize) -> String {
    // Our own shapes have string keys and no failing serializer: there is no error to report.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}
