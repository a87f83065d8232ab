//! When to ask, and which answers are news.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::ask::{Answer, Asker};
use crate::daemon::world::Fact;
use crate::manifest::{Live, Name, Ready};
use crate::supervisor::{Event, RunId};

/// The first pause; then twice as long each time, up to the interval: what is ready soon is known soon.
const FIRST: Duration = Duration::from_millis(20);
/// One that was there is asked no more often than this.
const SETTLED: Duration = Duration::from_secs(5);
const EXTERNAL_PATIENCE: Duration = Duration::from_secs(5);

/// The loop has ended when nobody hears it any more: then the task ends too.
fn tell(facts: &UnboundedSender<Fact>, event: Event) {
    drop(facts.send(Fact::Event(event)));
}

pub(super) async fn until_ready(mut asker: Asker, ready: Ready, run: RunId, facts: UnboundedSender<Fact>) {
    let within = asker.patience(ready.timeout);
    let mut pause = FIRST.min(ready.interval);
    let mut said = None;
    loop {
        match asker.ask(within).await {
            Answer::Well => return tell(&facts, Event::BecameReady { run }),
            Answer::Trouble(what) if said.as_ref() != Some(&what) => {
                tell(&facts, Event::NotReady { run: run.clone(), what: what.clone() });
                said = Some(what);
            }
            Answer::Trouble(_) | Answer::Unasked => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(ready.interval);
    }
}

pub(super) async fn while_ready(mut asker: Asker, live: Live, run: RunId, facts: UnboundedSender<Fact>) {
    let mut failures = 0;
    let mut unwell = false;
    loop {
        sleep(live.interval).await;
        match asker.ask(live.timeout).await {
            Answer::Well => {
                failures = 0;
                if std::mem::take(&mut unwell) {
                    tell(&facts, Event::Health { run: run.clone(), trouble: None });
                }
            }
            Answer::Trouble(what) => {
                failures += 1;
                if failures >= live.failures && !unwell {
                    unwell = true;
                    tell(&facts, Event::Health { run: run.clone(), trouble: Some(what) });
                }
            }
            Answer::Unasked => {}
        }
    }
}

pub(super) async fn whether_there(mut asker: Asker, interval: Duration, service: Name, facts: UnboundedSender<Fact>) {
    let mut said = None;
    loop {
        let trouble = match asker.ask(EXTERNAL_PATIENCE).await {
            Answer::Well => None,
            Answer::Trouble(what) => Some(what),
            Answer::Unasked => return,
        };
        let pause = if trouble.is_none() { interval.max(SETTLED) } else { interval };
        if said.as_ref() != Some(&trouble) {
            tell(&facts, Event::External { service: service.clone(), trouble: trouble.clone() });
            said = Some(trouble);
        }
        sleep(pause).await;
    }
}
