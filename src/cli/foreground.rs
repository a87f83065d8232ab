//! A foreground `up` once its services are on their way: shows their logs and what becomes of them, hears Ctrl-C, and
//! knows when to end. Called by `up` only.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::context::Context;
use super::failure::{Code, Failure, Kind};
use super::follow::Follower;
use super::followed::{alive, unreadable};
use super::news::News;
use super::outcome::{Goal, troubles};
use super::paint::Paint;
use super::patience::{Spoken, tell};
use super::project::{Watching, gone};
use super::stopping::{End, bring_down, see_it_end};
use crate::control::Client;
use crate::control::api::{ExitJson, Service, Watch};
use crate::logs::show::{Printer, Style};
use crate::logs::{Filter, Query};
use crate::manifest::Name;
use crate::supervisor::{State, Want};
use crate::sys::tty::{Interruption, Interruptions};

/// Ctrl-C goes to whoever reads our stdout as well, and their death may be seen before our own signal is.
const SIGNAL_FOLLOWS: Duration = Duration::from_millis(500);

/// What this `up` is to the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It started the daemon, and its Ctrl-C ends it.
    Launched,
    /// It came later, and only looks.
    Attached,
}

pub(crate) struct Foreground<'a> {
    context: &'a Context,
    client: Client,
    hold: Hold,
    names: Vec<String>,
    exit_code_from: Option<String>,
    watching: Watching,
    interruptions: Interruptions,
    follower: Option<Follower>,
    pub(crate) news: News,
    last: Option<Watch>,
}

/// Why the loop ended.
enum Turn {
    /// Nothing wanted is left, or the service of `--exit-code-from` has ended.
    Over,
    /// The daemon's stream ended.
    DaemonGone,
    Interrupted(Interruption),
    /// Whoever read our stdout has left, or the logs cannot be read.
    Logs(io::Result<()>),
    Failed(Failure),
}

impl<'a> Foreground<'a> {
    pub(crate) async fn begin(
        context: &'a Context,
        client: Client,
        hold: Hold,
        names: Vec<String>,
        exit_code_from: Option<String>,
    ) -> Result<Self, Failure> {
        let interruptions = Interruptions::catch()
            .map_err(|error| Failure::new(Kind::Failed, "signals cannot be caught").cause(error))?;
        let watching = Watching::open(&client).await?;
        let news = News::new(names.clone(), hold, context.terminal.err);
        Ok(Self {
            context,
            client,
            hold,
            names,
            exit_code_from,
            watching,
            interruptions,
            follower: None,
            news,
            last: None,
        })
    }

    /// Shows what is written from `from_ns` on.
    pub(crate) fn follow(&mut self, folder: &Path, from_ns: i64) -> Result<(), Failure> {
        let logs = folder.join("logs");
        let names: Vec<Name> = self.names.iter().map(|name| Name::new(name)).collect();
        let style = Style {
            format: self.context.terminal.log_format(),
            prefix: true,
            times: false,
            color: self.context.terminal.out == Paint::Ansi,
            terminal: self.context.terminal.interactive,
        };
        let printer = Printer::new(style, &names);
        let filter = Filter { since: Some(from_ns), ..Filter::default() };
        let alive = alive(folder, &logs, true);
        let query = Query { logs, services: names, tail: None, follow: true, all: false, filter };
        let terminal = self.context.terminal.clone();
        self.follower = Some(Follower::start(query, alive, printer, terminal).map_err(unreadable)?);
        Ok(())
    }

    pub(crate) async fn run(mut self) -> Result<Code, Failure> {
        let mut turn = self.look_on().await;
        if matches!(&turn, Turn::Logs(Err(error)) if left(error))
            && let Ok(why) = tokio::time::timeout(SIGNAL_FOLLOWS, self.interruptions.next()).await
        {
            turn = Turn::Interrupted(why);
        }
        match turn {
            Turn::Over => self.end().await,
            Turn::DaemonGone if self.last.as_ref().is_some_and(|watch| watch.project.shutting_down) => {
                self.finish().await
            }
            Turn::DaemonGone => Err(gone()),
            Turn::Interrupted(Interruption::Interrupt) => self.interrupted().await,
            // A lost terminal or a killed client: nobody is there to be told, and the project stays.
            Turn::Interrupted(Interruption::HangUp) => Ok(Code::HUNG_UP),
            Turn::Interrupted(Interruption::Terminate) => Ok(Code::TERMINATED),
            Turn::Logs(ended) => ended.map(|()| Code::OK).map_err(Failure::from),
            Turn::Failed(failure) => Err(failure),
        }
    }

    async fn look_on(&mut self) -> Turn {
        let mut spoken = Spoken::begin();
        loop {
            let over = self.follower.as_mut().map(|follower| &mut follower.over);
            let logs = async {
                match over {
                    Some(over) => over.await.unwrap_or(Ok(())),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What a person wants goes before what became of our reader.
                biased;
                why = self.interruptions.next() => return Turn::Interrupted(why),
                seen = self.watching.next() => match seen {
                    Ok(Some(watch)) => {
                        let idle = self.news.all_there();
                        if self.took(watch) {
                            return Turn::Over;
                        }
                        // A wait is counted from its own beginning, not from the first one's.
                        if idle && !self.news.all_there() {
                            spoken = Spoken::begin();
                        }
                    }
                    Ok(None) => return Turn::DaemonGone,
                    Err(failure) => return Turn::Failed(failure),
                },
                ended = logs => { self.follower = None; return Turn::Logs(ended) }
                () = spoken.due(), if !self.news.all_there() => {
                    let names = self.news.awaited();
                    tell(self.context, &self.client, &names, &mut self.news.explained).await;
                }
            }
        }
    }

    /// Says what is new. True when this was the last that matters.
    fn took(&mut self, watch: Watch) -> bool {
        for line in self.news.of(&watch) {
            self.context.terminal.say(line);
        }
        let over = is_over(&self.names, self.exit_code_from.as_deref(), self.hold, &watch);
        self.last = Some(watch);
        over
    }

    async fn interrupted(mut self) -> Result<Code, Failure> {
        let name = self.last.as_ref().map_or_else(|| "the project".to_owned(), |watch| watch.project.name.clone());
        if self.hold == Hold::Attached {
            self.context.terminal.say(format_args!("left; {name} stays up. To stop it: devsup down"));
            return Ok(Code::INTERRUPTED);
        }
        self.context.terminal.say(format_args!("stopping {name}; Ctrl-C again kills every process"));
        let end = self.down().await?;
        self.drain().await;
        if let End::Left(code) = end {
            return Ok(code);
        }
        self.context.terminal.say(format_args!("{name} is down"));
        Ok(Code::INTERRUPTED)
    }

    /// Everything that mattered has ended. A daemon of ours has nothing to do any more.
    async fn end(mut self) -> Result<Code, Failure> {
        // What decides the exit code is how they ended by themselves, before we stop the rest.
        let verdict = self.verdict();
        if self.hold == Hold::Launched {
            self.down().await?;
        }
        self.drain().await;
        verdict
    }

    async fn down(&mut self) -> Result<End, Failure> {
        let (context, client) = (self.context, &self.client);
        if self.last.as_ref().is_some_and(|watch| watch.project.shutting_down) {
            return see_it_end(context, client, &mut self.watching, &mut self.interruptions).await;
        }
        bring_down(context, client, &mut self.watching, &mut self.interruptions, None).await
    }

    /// Somebody else has brought the project down.
    async fn finish(mut self) -> Result<Code, Failure> {
        self.drain().await;
        self.context.terminal.say("the project was brought down");
        self.verdict()
    }

    /// The rest of the logs. What becomes of them changes nothing in how the project ended.
    async fn drain(&mut self) {
        let Some(follower) = self.follower.take() else { return };
        if let Err(error) = follower.finish().await
            && !left(&error)
        {
            self.context.terminal.say(format_args!("the last lines of the logs could not be shown: {error}"));
        }
    }

    fn verdict(&self) -> Result<Code, Failure> {
        let Some(watch) = &self.last else { return Ok(Code::OK) };
        if let Some(name) = &self.exit_code_from {
            let exit = watch.services.iter().find(|service| service.name == *name).and_then(|service| service.exit);
            return Ok(exit.map_or(Code::FAILED, child_code));
        }
        let mine: Vec<&Service> = watch.services.iter().filter(|service| self.names.contains(&service.name)).collect();
        troubles(&mine, &watch.services, Goal::Started).map_or(Ok(Code::OK), Err)
    }
}

/// Whoever read our stdout has left.
fn left(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Nothing wanted is left: of everything if the project is ours, else of what was chosen.
fn is_over(names: &[String], exit_code_from: Option<&str>, hold: Hold, watch: &Watch) -> bool {
    let ended = |service: &Service| matches!(service.state, State::Stopped | State::Done | State::Failed);
    if let Some(name) = exit_code_from {
        let it = watch.services.iter().find(|service| service.name == name);
        return it.is_some_and(|service| ended(service) && service.exit.is_some());
    }
    // What somebody else runs keeps nobody here.
    let chosen = |service: &Service| hold == Hold::Launched || names.contains(&service.name);
    let matters = |service: &&Service| !service.external && chosen(service);
    watch
        .services
        .iter()
        .filter(matters)
        .all(|service| ended(service) && !(service.want == Want::Up && service.state == State::Stopped))
}

pub(crate) fn child_code(exit: ExitJson) -> Code {
    match exit {
        ExitJson::Code(code) => Code(u8::try_from(code & 0xff).unwrap_or(1)),
        ExitJson::Signal(signal) => Code(u8::try_from(128 + signal).unwrap_or(255)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[test]
    fn what_somebody_else_runs_keeps_no_up_from_ending() {
        let mut watch = sample::watch(vec![sample::external("db", true), sample::service("a", State::Done, "done")]);
        for there in [true, false] {
            watch.services[0] = sample::external("db", there);
            assert!(is_over(&[], None, Hold::Launched, &watch));
        }
        watch.services[1] = sample::running("a", 1);
        assert!(!is_over(&[], None, Hold::Launched, &watch));
    }
}
