//! `devsup wait`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::outcome::{Goal, Standing, reached, standing, troubles};
use crate::cli::patience::{Verdict, until};
use crate::cli::project::{choose, connect};
use crate::cli::values::duration;
use crate::control::api::{Service, Watch};
use crate::supervisor::{State, Want};

/// Wait until services have started, are ready, or have ended
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 124 on time-out, with the names of the laggards; 1 if one has failed for good,\nor is not ready within its ready.timeout (it is left running).\n\nExamples:\n  devsup wait --for ready --timeout 30s\n  devsup wait migrate --for exit\n"
)]
pub(crate) struct Wait {
    /// All that are wanted up, if none is named
    #[arg(value_name = "SVC")]
    services: Vec<String>,
    /// For what: started, ready or exit
    #[arg(long = "for", value_name = "STATE", hide_possible_values = true)]
    goal: What,
    /// Give up after this long
    #[arg(long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Started,
    Ready,
    Exit,
}

impl Wait {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        let connection = connect(context).await?;
        until(context, &connection.client, self.timeout, |watch| self.judge(watch)).await
    }

    fn judge(&self, watch: &Watch) -> Result<Verdict<Code>, Failure> {
        let mut chosen = choose(&self.services, &watch.services)?;
        if self.services.is_empty() {
            chosen.retain(|service| service.want == Want::Up && !(service.external && self.goal == What::Exit));
        }
        if let Some(never) = chosen.iter().find(|service| service.external && self.goal == What::Exit) {
            let error = format!("service `{}`: devsup does not run it, so it cannot tell when it ends", never.name);
            return Err(Failure::new(Kind::Usage, error));
        }
        let laggards: Vec<&Service> =
            chosen.iter().copied().filter(|service| !self.there(service, &watch.services)).collect();
        if laggards.is_empty() {
            return match self.goal {
                What::Exit => Ok(Verdict::Over(Code::OK)),
                What::Started | What::Ready => {
                    troubles(&chosen, &watch.services, self.goal()).map_or(Ok(Verdict::Over(Code::OK)), Err)
                }
            };
        }
        Ok(Verdict::Waiting(laggards.iter().map(|service| service.name.clone()).collect()))
    }

    fn goal(&self) -> Goal {
        if self.goal == What::Ready { Goal::Ready } else { Goal::Started }
    }

    /// A refused role may be mended while we wait, so only a failure, or being late, ends the wait early.
    fn there(&self, service: &Service, all: &[Service]) -> bool {
        let now = standing(service, all);
        match (self.goal, &now) {
            (What::Exit, _) => matches!(service.state, State::Stopped | State::Done | State::Failed),
            (_, Standing::Refused(_) | Standing::Blocked { .. } | Standing::Stopped | Standing::Away) => false,
            // Of what somebody else runs, to be there is all.
            (What::Started, Standing::Overdue(_)) => !service.external,
            (What::Started | What::Ready, _) => reached(&now, self.goal()),
        }
    }
}
