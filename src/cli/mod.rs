//! What a person types and reads: a client of the control socket like any other, and the only place where words are
//! printed. [`run`] is called by `main`; each verb is one file in `verbs/`, text is made in `render/`, every error becomes
//! a `Failure` with its exit code.
//!
//! Nothing here decides about services; a verb asks the daemon, then watches what comes of it and says for whom it waits.
//! A secret is printed by `env --reveal` and `credential-process` and handed to a command by `exec`, and never otherwise.

mod args;
mod attached;
mod audience;
mod aws_config;
mod context;
mod daemon_log;
mod detach;
mod doctor;
mod failure;
mod follow;
mod followed;
mod foreground;
mod news;
mod outcome;
mod paint;
mod patience;
mod project;
mod remote_logs;
mod render;
mod screen;
mod stopping;
mod terminal;
#[cfg(test)]
mod tests;
mod values;
mod verbs;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Cli, Verb};
use context::Context;
use failure::{Code, Failure, Kind};
use paint::Paint;
use verbs::config::Schema;
use verbs::version::Version;

pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(not_understood(&error).0),
    };
    let paint = stderr_paint();
    let ended = Context::new(cli.globals).and_then(|context| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Kind::Failed, "no event loop").cause(error))?;
        let ended = runtime.block_on(dispatch(&context, cli.verb)).map_err(|failure| (failure, context.terminal.err));
        // A thread that still writes to a slow terminal must not keep us.
        runtime.shutdown_background();
        Ok(ended)
    });
    let (failure, paint) = match ended {
        Ok(Ok(code)) => return ExitCode::from(code.0),
        Ok(Err((failure, paint))) => (failure, paint),
        Err(failure) => (failure, paint),
    };
    complain(&failure.render(paint));
    ExitCode::from(failure.kind.code().0)
}

/// `devsup __see`: for `doctor`, what another user can reach and execute.
pub fn see() -> ExitCode {
    doctor::see()
}

/// `--help` and `--version` are answers, on stdout; everything else is a failure in our words.
fn not_understood(error: &clap::Error) -> Code {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().ok();
            Code::OK
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            complain(args::HELP);
            Kind::Usage.code()
        }
        _ => {
            let failure = Failure::from(error);
            complain(&failure.render(stderr_paint()));
            failure.kind.code()
        }
    }
}

/// Before the options are known.
fn stderr_paint() -> Paint {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stderr().is_terminal() && !no_color { Paint::Ansi } else { Paint::Plain }
}

fn complain(text: &str) {
    use std::io::Write as _;
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

async fn dispatch(context: &Context, verb: Verb) -> Result<Code, Failure> {
    match verb {
        Verb::Up(up) => up.run(context).await,
        Verb::Down(down) => down.run(context).await,
        Verb::Start(start) => start.run(context).await,
        Verb::Stop(stop) => stop.run(context).await,
        Verb::Restart(restart) => restart.run(context).await,
        Verb::Ps(ps) => ps.run(context).await,
        Verb::Logs(logs) => logs.run(context).await,
        Verb::Exec(exec) => exec.run(context).await,
        Verb::Attach(attach) => attach.run(context).await,
        Verb::Env(env) => env.run(context).await,
        Verb::Creds(creds) => creds.run(context).await,
        Verb::CredentialProcess(credentials) => credentials.run(context).await,
        Verb::Profile(profile) => profile.run(context),
        Verb::Hold(hold) => hold.run(context).await,
        Verb::Release(release) => release.run(context).await,
        Verb::Whoami(whoami) => whoami.run(context).await,
        Verb::Events(events) => events.run(context).await,
        Verb::Reload(reload) => reload.run(context).await,
        Verb::Unit(unit) => unit.run(context),
        Verb::Wait(wait) => wait.run(context).await,
        Verb::Kill(kill) => kill.run(context).await,
        Verb::Doctor(doctor) => doctor.run(context).await,
        Verb::Config(config) => config.run(context),
        Verb::Schema(_) => Schema::run(context),
        Verb::Iam(iam) => iam.run(context),
        Verb::Sandbox(sandbox) => sandbox.run(context).await,
        Verb::Ls(ls) => ls.run(context).await,
        Verb::Completion(completion) => completion.run(context),
        Verb::Version(_) => Version::run(context),
    }
}
