//! `devsup attach`.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep_until;

use crate::cli::attached::{Attached, Left};
use crate::cli::context::Context;
use crate::cli::detach::Keys;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::foreground::child_code;
use crate::cli::outcome::Explained;
use crate::cli::patience::{Spoken, now, tell};
use crate::cli::project::{Watching, connect, segment};
use crate::control::Client;
use crate::control::api::{ExitJson, Watch};
use crate::control::attach::Begun;
use crate::supervisor::State;
use crate::sys::raw::size;
use crate::sys::tty::{Interruption, Interruptions, stdin_is_terminal};

/// This terminal to a service's own (`tty = true`)
#[derive(Debug, Args)]
#[command(
    after_help = "What you type goes to the service, Ctrl-C too. Ctrl-P Ctrl-Q leaves it running. Several may\nbe attached at once. When devsup replaces the service, you are attached to its new run.\n\nExit code: 0 when you leave; the service's own when it has ended for good.\n\nExamples:\n  devsup attach console\n  devsup attach --detach-keys ctrl-a,d console\n"
)]
pub(crate) struct Attach {
    /// Which service
    #[arg(value_name = "SVC")]
    service: String,
    /// What leaves: keys with commas between, each a letter or ctrl- and a letter
    #[arg(long, value_name = "KEYS", env = "DEVSUP_DETACH_KEYS", default_value = "ctrl-p,ctrl-q", hide_env = true)]
    detach_keys: Keys,
}

/// What comes after a run has ended.
enum Next {
    /// Another run is there.
    Attach,
    /// There will be none by itself.
    Over,
    Interrupted(Interruption),
}

/// The keeper closed the connection, and the daemon says that its run goes on: it hears of the end within this.
const NEWS_WITHIN: Duration = Duration::from_secs(10);

impl Attach {
    pub(crate) async fn run(self, context: &Context) -> Result<Code, Failure> {
        if !stdin_is_terminal() {
            return Err(Failure::new(Kind::Usage, "`attach` needs a terminal, and standard input is none")
                .hint("over ssh: ssh -t HOST devsup attach SVC")
                .hint(format!("to see what it writes: devsup logs -f {}", self.service)));
        }
        let client = connect(context).await?.client;
        let mut interruptions = Interruptions::catch()
            .map_err(|error| Failure::new(Kind::Failed, "signals cannot be caught").cause(error))?;
        let mut before: Option<(u32, Option<ExitJson>)> = None;
        loop {
            match self.once(context, &client, &mut interruptions, before).await {
                Ok((_, Left::Detached)) => {
                    context.terminal.say(format_args!("left {}; it stays up", self.service));
                    return Ok(Code::OK);
                }
                Ok((_, Left::Interrupted(why))) => return Ok(interrupted(why)),
                Ok((run, Left::Ended(exit))) => before = Some((run, exit)),
                // It has ended between two looks.
                Err(failure) if before.is_some() && failure.kind == Kind::NotRunning => {}
                Err(failure) => return Err(failure),
            }
            let Some((run, exit)) = before else { continue };
            match self.between(context, &client, &mut interruptions, run, exit).await? {
                Next::Attach => {}
                Next::Over => return self.over(context, exit),
                Next::Interrupted(why) => return Ok(interrupted(why)),
            }
        }
    }

    async fn once(
        &self,
        context: &Context,
        client: &Client,
        interruptions: &mut Interruptions,
        before: Option<(u32, Option<ExitJson>)>,
    ) -> Result<(u32, Left), Failure> {
        let (rows, cols) = size().map_or((0, 0), |size| (size.rows, size.cols));
        let path = format!("/v1/attach/{}?rows={rows}&cols={cols}", segment(&self.service)?);
        let attachment = client.attach(&path).await?;
        let keys = self.detach_keys.clone();
        let Some((attached, begun)) = Attached::begin(&self.service, attachment, keys).await? else {
            return Ok((before.map_or(0, |(run, _)| run), Left::Ended(None)));
        };
        context.terminal.say(self.greeting(&begun, before.is_some()));
        Ok((begun.run, attached.stay(interruptions).await?))
    }

    /// The first is told how to leave; who comes back is told why, in the words of the log.
    fn greeting(&self, begun: &Begun, again: bool) -> String {
        let (service, run) = (&self.service, begun.run);
        match (again, begun.why.is_empty()) {
            (false, _) => format!("attached to {service} · run {run}; {} leaves it running", self.detach_keys),
            (true, true) => format!("── {service} started · run {run} ──"),
            (true, false) => format!("── {service} restarted ({}) · run {run} ──", begun.why.join(", ")),
        }
    }

    /// Waits for what comes after this run, and says for what it waits.
    async fn between(
        &self,
        context: &Context,
        client: &Client,
        interruptions: &mut Interruptions,
        run: u32,
        exit: Option<ExitJson>,
    ) -> Result<Next, Failure> {
        let Ok(mut watching) = Watching::open(client).await else { return Ok(Next::Over) };
        let (mut spoken, mut explained) = (Spoken::begin(), Explained::default());
        let give_up = now() + NEWS_WITHIN;
        let mut stale = true;
        loop {
            tokio::select! {
                why = interruptions.next() => return Ok(Next::Interrupted(why)),
                seen = watching.next() => {
                    let Some(watch) = seen? else { return Ok(Next::Over) };
                    if let Some(next) = next(&self.service, run, &watch) {
                        return Ok(next);
                    }
                    stale = goes_on(&self.service, run, &watch);
                }
                () = spoken.due() => tell(context, client, std::slice::from_ref(&self.service), &mut explained).await,
                () = sleep_until(give_up), if stale && exit.is_none() => {
                    return Err(Failure::new(Kind::Failed, format!("the terminal of `{}` does not answer", self.service))
                        .hint(format!("devsup ps {0}; devsup restart {0}", self.service)));
                }
            }
        }
    }

    fn over(&self, context: &Context, exit: Option<ExitJson>) -> Result<Code, Failure> {
        let Some(exit) = exit else {
            return Err(Failure::new(Kind::NotRunning, format!("service `{}` has ended", self.service))
                .hint(format!("devsup ps {}", self.service)));
        };
        let how = match exit {
            ExitJson::Code(code) => format!("exit {code}"),
            ExitJson::Signal(signal) => format!("signal {signal}"),
        };
        context.terminal.say(format_args!("{} ended: {how}", self.service));
        Ok(child_code(exit))
    }
}

fn interrupted(why: Interruption) -> Code {
    match why {
        Interruption::Interrupt => Code::INTERRUPTED,
        Interruption::Terminate => Code::TERMINATED,
        Interruption::HangUp => Code::HUNG_UP,
    }
}

/// What this look at the services means to one whose run has ended; `None`: something will come of it.
fn next(service: &str, run: u32, watch: &Watch) -> Option<Next> {
    let Some(service) = watch.services.iter().find(|known| known.name == service) else { return Some(Next::Over) };
    match service.state {
        State::Starting | State::Running if service.run > Some(run) && service.pid.is_some() => Some(Next::Attach),
        State::Stopped | State::Done | State::Failed => Some(Next::Over),
        State::Starting | State::Running | State::Stopping | State::Waiting | State::Backoff => None,
    }
}

/// The daemon has not heard of the end yet.
fn goes_on(service: &str, run: u32, watch: &Watch) -> bool {
    let same = |known: &&crate::control::api::Service| known.name == service && known.run == Some(run);
    watch.services.iter().find(same).is_some_and(|known| matches!(known.state, State::Starting | State::Running))
}
