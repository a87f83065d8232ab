//! What may be typed: the global options and the list of verbs. Each verb's own flags stand beside the verb.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use super::verbs;
use crate::control::api::VERSION;

/// One screen: a test keeps it so, and keeps every verb and option of the parser in it.
pub(crate) const HELP: &str = "\
devsup runs many services on one machine, each as its own IAM role.

Usage: devsup [-f FILE] VERB [ARGS]         devsup VERB --help says more, with examples

Run
  up              start what is missing, apply what changed, follow the logs
  down            stop everything in reverse order, and devsup with it
  start, stop, restart
                  one service alone; the others keep their pids
  exec            a command in a service's environment, with its credentials
  attach          this terminal to a service's own (`tty = true`)
  kill            send a signal to a service
  reload          read the manifest again and apply what changed

Look
  ps, status      what runs, as which role, until when; one service in detail
  logs            what the services wrote; follow goes on over restarts
  events          who did what, and what happened
  wait            until services have started, are ready, or have ended

Credentials
  whoami          who AWS says you are, here, and where that comes from
  creds           each service's role, identity, expiry, last error
  env             the environment a service gets
  profile, credential-process
                  a service's role for the AWS CLI, an IDE, a notebook
  hold, release   keep a service from being replaced, for a while
  iam             the IAM statements that the manifest needs, as JSON or Terraform
  sandbox         the embedded stand-in for AWS, alone

Project
  doctor          would `up` work here? each role tried, each finding with its mend
  config          check the manifest and print it as it was understood
  schema          the manifest's JSON Schema, for editors
  ls              your projects on this machine, and those it shares
  unit            a systemd unit that keeps this project up
  completion      a script for your shell
  version         which devsup this is

Options (each is also a variable: DEVSUP_FILE, DEVSUP_PROJECT …)
  -f, --file FILE      the manifest; else services.toml here or above
  -p, --project NAME   a project by its name, without its manifest
      --profile NAME, --region NAME       AWS's, over [aws] in the manifest
      --color auto|always|never           --format table|json
  -q, --quiet          -v, --verbose      -h, --help      -V, --version

Exit codes: 0 ok, 1 failed, 2 usage or manifest, 3 not running, 4 no such service,
5 project not up, 6 not permitted, 7 credentials refused, 124 timed out, 130 interrupted
";

/// Below the help of every verb.
const VERB_TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}";

#[derive(Debug, Parser)]
#[command(
    name = "devsup",
    override_help = HELP,
    version = VERSION,
    subcommand_required = true,
    subcommand_value_name = "VERB"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Globals {
    /// The manifest; before the verb, because after `logs` and `events` `-f` follows
    #[arg(short = 'f', long, value_name = "FILE", env = "DEVSUP_FILE", hide = true)]
    pub file: Option<PathBuf>,
    /// A project by its name
    #[arg(short, long, value_name = "NAME", env = "DEVSUP_PROJECT", global = true, hide = true)]
    pub project: Option<String>,
    /// AWS profile of the base identity, over `[aws] profile`
    #[arg(long, value_name = "NAME", env = "DEVSUP_PROFILE", global = true, hide = true)]
    pub profile: Option<String>,
    /// AWS region, over `[aws] region`
    #[arg(long, value_name = "NAME", env = "DEVSUP_REGION", global = true, hide = true)]
    pub region: Option<String>,
    /// When to colour
    #[arg(
        long,
        value_name = "WHEN",
        env = "DEVSUP_COLOR",
        default_value = "auto",
        hide_possible_values = true,
        global = true,
        hide = true
    )]
    pub color: When,
    /// How to print
    #[arg(
        long,
        value_name = "FORMAT",
        env = "DEVSUP_FORMAT",
        default_value = "table",
        hide_possible_values = true,
        global = true,
        hide = true
    )]
    pub format: Format,
    /// Only errors on stderr
    #[arg(short, long, env = "DEVSUP_QUIET", global = true, hide = true)]
    pub quiet: bool,
    /// More on stderr
    #[arg(short, long, env = "DEVSUP_VERBOSE", global = true, hide = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    /// One object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(help_template = VERB_TEMPLATE)]
    Up(verbs::up::Up),
    #[command(help_template = VERB_TEMPLATE)]
    Down(verbs::down::Down),
    #[command(help_template = VERB_TEMPLATE)]
    Start(verbs::start::Start),
    #[command(help_template = VERB_TEMPLATE)]
    Stop(verbs::start::Stop),
    #[command(help_template = VERB_TEMPLATE)]
    Restart(verbs::start::Restart),
    #[command(help_template = VERB_TEMPLATE, visible_alias = "status")]
    Ps(verbs::ps::Ps),
    #[command(help_template = VERB_TEMPLATE)]
    Logs(verbs::logs::Logs),
    #[command(help_template = VERB_TEMPLATE)]
    Exec(verbs::exec::Exec),
    #[command(help_template = VERB_TEMPLATE)]
    Attach(verbs::attach::Attach),
    #[command(help_template = VERB_TEMPLATE)]
    Env(verbs::env::Env),
    #[command(help_template = VERB_TEMPLATE)]
    Creds(verbs::creds::Creds),
    #[command(help_template = VERB_TEMPLATE)]
    CredentialProcess(verbs::credential_process::CredentialProcess),
    #[command(help_template = VERB_TEMPLATE)]
    Profile(verbs::profile::Profile),
    #[command(help_template = VERB_TEMPLATE)]
    Hold(verbs::hold::Hold),
    #[command(help_template = VERB_TEMPLATE)]
    Release(verbs::hold::Release),
    #[command(help_template = VERB_TEMPLATE)]
    Whoami(verbs::whoami::Whoami),
    #[command(help_template = VERB_TEMPLATE)]
    Events(verbs::events::Events),
    #[command(help_template = VERB_TEMPLATE)]
    Wait(verbs::wait::Wait),
    #[command(help_template = VERB_TEMPLATE)]
    Reload(verbs::reload::Reload),
    #[command(help_template = VERB_TEMPLATE)]
    Unit(verbs::unit::Unit),
    #[command(help_template = VERB_TEMPLATE)]
    Kill(verbs::kill::Kill),
    #[command(help_template = VERB_TEMPLATE)]
    Doctor(verbs::doctor::Doctor),
    #[command(help_template = VERB_TEMPLATE)]
    Config(verbs::config::Config),
    #[command(help_template = VERB_TEMPLATE)]
    Schema(verbs::config::Schema),
    #[command(help_template = VERB_TEMPLATE)]
    Iam(verbs::iam::Iam),
    #[command(help_template = VERB_TEMPLATE)]
    Sandbox(Box<verbs::sandbox::Sandbox>),
    #[command(help_template = VERB_TEMPLATE)]
    Ls(verbs::ls::Ls),
    #[command(help_template = VERB_TEMPLATE)]
    Completion(verbs::completion::Completion),
    #[command(help_template = VERB_TEMPLATE)]
    Version(verbs::version::Version),
}

/// All that may stand in a verb's place.
pub(crate) fn verbs() -> Vec<String> {
    let command = Cli::command();
    let names =
        command.get_subcommands().flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_all_aliases()));
    names.map(str::to_owned).collect()
}
