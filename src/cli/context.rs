//! What every verb is given: the global options, the environment and folder it was typed in, and the terminal.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::args::Globals;
use super::failure::{Failure, Kind};
use super::render::detail::Setting;
use super::render::table::Mode;
use super::terminal::Terminal;
use crate::control::api::{Handed, Project};
use crate::sys::clock;

pub(crate) struct Context {
    pub globals: Globals,
    /// Read once; never changed in place.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub terminal: Terminal,
    /// It is said once that a command goes to a project that others share.
    pub told_of_system: Cell<bool>,
}

impl Context {
    pub(crate) fn new(globals: Globals) -> Result<Self, Failure> {
        let env: Vec<_> = std::env::vars_os().collect();
        let no_color = env.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        let cwd = std::env::current_dir()
            .map_err(|error| Failure::new(Kind::Failed, "the current folder cannot be read").cause(error))?;
        Ok(Self { terminal: Terminal::new(&globals, no_color), globals, env, cwd, told_of_system: Cell::new(false) })
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let found = self.env.iter().find(|(key, _)| key == OsStr::new(name))?;
        found.1.to_str().map(str::to_owned)
    }

    /// The environment as AWS's SDK is to see it: `--profile` and `--region` win over what was inherited.
    pub(crate) fn aws_environment(&self) -> Vec<(OsString, OsString)> {
        let mut env = self.env.clone();
        let mut set = |names: &[&str], value: &Option<String>| {
            let Some(value) = value else { return };
            env.retain(|(key, _)| !names.iter().any(|name| key == OsStr::new(name)));
            env.extend(names.iter().map(|name| (OsString::from(name), OsString::from(value))));
        };
        set(&["AWS_PROFILE"], &self.globals.profile);
        set(&["AWS_REGION", "AWS_DEFAULT_REGION"], &self.globals.region);
        env
    }

    /// The environment this command was typed in, for the services' next runs. `--profile` and `--region` travel as
    /// `DEVSUP_PROFILE` and `DEVSUP_REGION`, because they win over the manifest, which wins over `AWS_PROFILE`.
    pub(crate) fn handed(&self) -> Handed {
        let mut env = self.env.clone();
        for (name, value) in [("DEVSUP_PROFILE", &self.globals.profile), ("DEVSUP_REGION", &self.globals.region)] {
            env.retain(|(key, _)| key != OsStr::new(name));
            env.extend(value.iter().map(|value| (OsString::from(name), OsString::from(value))));
        }
        Handed { env }
    }

    #[expect(
        clippy::unused_self,
        reason = "verbs take the time from their context, so that there is one place to look"
    )]
    pub(crate) fn now(&self) -> Timestamp {
        let since = SignedDuration::try_from(clock::realtime()).unwrap_or_default();
        Timestamp::from_duration(since).unwrap_or_default()
    }

    pub(crate) fn here_and_now(&self) -> Zoned {
        self.now().to_zoned(TimeZone::system())
    }

    pub(crate) fn setting<'a>(&self, project: &'a Project, lines: &'a [String]) -> Setting<'a> {
        Setting {
            project: &project.name,
            base: project.base.as_deref(),
            mode: Mode::of(project.sandbox),
            now: self.now(),
            zone: TimeZone::system(),
            lines,
            paint: self.terminal.out,
        }
    }
}

/// The same id twice is one request: a command that is sent again by a retry must not be carried out twice.
pub(crate) fn request_id() -> String {
    format!("{}-{:x}", std::process::id(), clock::realtime().as_nanos())
}

pub(crate) fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
