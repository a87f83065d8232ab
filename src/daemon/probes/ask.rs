//! One question and its answer.

use std::cell::RefCell;
use std::rc::Weak;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::door::Door;
use super::holder::Tree;
use super::http;
use crate::keeper::Link;
use crate::keeper::protocol::{Order, Which};
use crate::manifest::{HttpUrl, Target, span};

/// A keeper kills a probe in time by itself; after so much more it hangs, and says nothing of the service.
const KEEPER_HANGS: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Well,
    /// One sentence.
    Trouble(String),
    /// The one who was to ask did not.
    Unasked,
}

pub(super) enum Asker {
    Http(HttpUrl, Door),
    Tcp(Door),
    Exec(Exec),
}

impl Asker {
    /// `None`: it is said of no run yet where that is.
    pub(super) fn http(url: HttpUrl, tree: Option<Tree>) -> Option<Self> {
        let door = Door::new(url.target.address()?.clone(), tree);
        Some(Self::Http(url, door))
    }

    pub(super) fn tcp(target: &Target, tree: Option<Tree>) -> Option<Self> {
        Some(Self::Tcp(Door::new(target.address()?.clone(), tree)))
    }

    /// How long a run that is starting may take for one answer; `in_all`: for its readiness.
    pub(super) fn patience(&self, in_all: Duration) -> Duration {
        match self {
            Self::Http(..) => Duration::from_secs(5),
            Self::Tcp(_) => Duration::from_secs(2),
            Self::Exec(_) => in_all.min(Duration::from_secs(30)),
        }
    }

    pub(super) async fn ask(&mut self, within: Duration) -> Answer {
        let (asked, what) = match self {
            Self::Exec(exec) => return exec.ask(within).await,
            Self::Tcp(door) => (timeout(within, door.open()).await.map(|open| open.map(drop)), door.to_string()),
            Self::Http(url, door) => {
                let exchange = async {
                    let mut stream = door.open().await?;
                    http::get(&mut stream, url).await
                };
                (timeout(within, exchange).await, format!("GET {url}"))
            }
        };
        match asked {
            Ok(Ok(())) => Answer::Well,
            Ok(Err(trouble)) => Answer::Trouble(trouble),
            Err(_) => Answer::Trouble(format!("{what}: no answer in {}", span(within))),
        }
    }
}

/// By the run's keeper.
pub(super) struct Exec {
    /// It goes with the run.
    link: Weak<RefCell<Link>>,
    which: Which,
    answers: mpsc::UnboundedReceiver<Option<String>>,
}

impl Exec {
    pub(super) fn new(
        link: Weak<RefCell<Link>>,
        which: Which,
        answers: mpsc::UnboundedReceiver<Option<String>>,
    ) -> Self {
        Self { link, which, answers }
    }

    async fn ask(&mut self, within: Duration) -> Answer {
        // One that came too late answers an earlier question.
        while self.answers.try_recv().is_ok() {}
        let order = Order::Probe { which: self.which, timeout: within };
        let Some(link) = self.link.upgrade() else { return Answer::Unasked };
        if link.borrow_mut().order(&order).is_err() {
            return Answer::Unasked;
        }
        drop(link);
        match timeout(within + KEEPER_HANGS, self.answers.recv()).await {
            Ok(Some(None)) => Answer::Well,
            Ok(Some(Some(trouble))) => Answer::Trouble(trouble),
            Ok(None) | Err(_) => Answer::Unasked,
        }
    }
}
