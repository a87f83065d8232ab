//! `devsup exec`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::project::{connect, segment};
use crate::control::api::Environment;
use crate::sys::identity;
use crate::sys::tty::become_command;

/// Run a command in the environment, folder and credentials a new run of the service would get, as its user
#[derive(Debug, Args)]
#[command(
    after_help = "The command takes devsup's place: your terminal, your session. Neither `stop` nor a\nrotation touches it; its credentials end when they expire; its limits and\nisolation are yours, not the service's.\n\nExit code: its own; 125 when devsup fails before it, 126 and 127 as in a shell.\n\nExamples:\n  devsup exec a -- aws s3 ls s3://bucket1\n  devsup exec a -- bash\n  devsup exec a            (the service's own command)\n"
)]
pub(crate) struct Exec {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// The service's own command, if none is given
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let environment = self.ask(context).await.map_err(|failure| failure.of_kind(Kind::Own))?;
        let argv = if self.command.is_empty() { environment.argv } else { self.command };
        let env: Vec<(OsString, OsString)> =
            environment.env.into_iter().map(|variable| (variable.name, variable.value)).collect();
        let env = at_this_terminal(env, &context.env);
        if let Some(who) = &environment.identity {
            identity::assume(who.uid, who.gid, &who.groups).map_err(|error| {
                let what = format!("service `{}`: this command cannot become its user, uid {}", self.service, who.uid);
                Failure::new(Kind::Own, what).cause(error).hint("only root becomes another user: sudo devsup exec")
            })?;
        }
        let folder = Path::new(&environment.working_dir);
        if let Err(error) = std::env::set_current_dir(folder) {
            return Err(Failure::new(Kind::Own, format!("service `{}`: folder `{}`", self.service, folder.display()))
                .cause(error)
                .hint("`working_dir` in the manifest"));
        }
        let error = become_command(&argv, &env, folder);
        Err(not_started(argv.first().map_or("", String::as_str), &error))
    }

    async fn ask(&self, context: &Context) -> Result<Environment, Failure> {
        let connection = connect(context).await?;
        Ok(connection
            .client
            .get(&format!("/v1/environment/{}?reveal=true&command=true", segment(&self.service)?))
            .await?)
    }
}

/// It is no run, so it must not carry a run's mark, by which leftovers are found and ended; and the terminal is ours.
fn at_this_terminal(mut env: Vec<(OsString, OsString)>, own: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let term = own.iter().find(|(name, _)| name == OsStr::new("TERM"));
    env.retain(|(name, _)| name != OsStr::new("DEVSUP_RUN") && !(term.is_some() && name == OsStr::new("TERM")));
    env.extend(term.cloned());
    env
}

fn not_started(program: &str, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => Kind::CommandNotFound,
        _ => Kind::CannotExecute,
    };
    Failure::new(kind, format!("command `{program}` cannot be executed")).cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        text.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn a_command_has_our_terminal_and_no_mark_of_a_run() {
        let env = variables(&[("DEVSUP_RUN", "shop-1/a#2"), ("TERM", "dumb"), ("PORT", "1")]);
        let own = variables(&[("TERM", "xterm"), ("HOME", "/root")]);
        assert_eq!(at_this_terminal(env.clone(), &own), variables(&[("PORT", "1"), ("TERM", "xterm")]));
        assert_eq!(at_this_terminal(env, &[]), variables(&[("TERM", "dumb"), ("PORT", "1")]));
    }
}
