//! From a whole request to its answer.

use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::time::Duration;

use http::header;
use http::request::Parts;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::Answer;
use super::caller::{Why, asks_again, candidates, culprit, find};
use super::request::{only, wanted};
use super::table::Table;
use crate::control::peer::Keepers;
use crate::daemon::audit::{Audit, How, Refused, Shown, Told};
use crate::daemon::clocks::now;
use crate::manifest::Name;
use crate::sys::inet_diag::{Client, Diag};

/// How long the first credentials are waited for: some SDKs give up after a second.
const HOLD: Duration = Duration::from_millis(800);
/// Trees that are looked through at once, and how long others wait for that.
const WALKS: usize = 2;
const WALK_WITHIN: Duration = Duration::from_millis(700);

/// What every connection shares.
pub(super) struct Desk {
    at: SocketAddrV4,
    pub(super) table: RefCell<Table>,
    /// Something else may be held now.
    pub(super) news: Notify,
    audit: Audit,
    diag: Diag,
    walks: Semaphore,
    keepers: Keepers,
}

/// One of the service's own asks.
struct Insider {
    service: Name,
    run: u32,
    pid: Option<u32>,
    uid: u32,
}

impl Desk {
    pub(super) fn new(at: SocketAddrV4, audit: Audit, keepers: Keepers) -> Self {
        Self {
            at,
            table: RefCell::default(),
            news: Notify::new(),
            audit,
            diag: Diag::default(),
            walks: Semaphore::new(WALKS),
            keepers,
        }
    }

    pub(super) async fn answer(&self, theirs: SocketAddrV4, request: &Parts) -> Answer {
        let id = match wanted(request, self.at) {
            Ok(id) => id,
            Err(answer) => return answer,
        };
        if let Err(answer) = self.check_token(id, request) {
            return answer;
        }
        let insider = match self.insider(id, theirs).await {
            Ok(insider) => insider,
            Err(answer) => return answer,
        };
        let held = async {
            loop {
                let news = self.news.notified();
                if let Some(answer) = self.held(id, &insider) {
                    return answer;
                }
                news.await;
            }
        };
        timeout(HOLD, held).await.unwrap_or_else(|_| self.uninitialized(id, &insider))
    }

    fn check_token(&self, id: &str, request: &Parts) -> Result<(), Answer> {
        let table = self.table.borrow();
        let seat = table.find(id).ok_or_else(Answer::not_found)?;
        match only(&request.headers, &header::AUTHORIZATION) {
            Some(shown) if seat.knows(shown) => Ok(()),
            Some(_) => Err(Answer::denied("the token in `Authorization` is not this path's")),
            None => Err(Answer::denied("`Authorization` must hold the token, once and as it is")),
        }
    }

    /// Whoever has the token must be of the service as well.
    async fn insider(&self, id: &str, theirs: SocketAddrV4) -> Result<Insider, Answer> {
        let client = match self.diag.client(self.at, theirs) {
            Ok(Some(client)) => client,
            // Nobody is there to hear this.
            Ok(None) => return Err(Answer::denied("the connection is closed")),
            Err(error) => {
                tracing::warn!(%error, "credential endpoint: who calls cannot be known");
                return Err(Answer::denied("devsup cannot find out who calls"));
            }
        };
        let (service, found) = {
            let table = self.table.borrow();
            let seat = table.find(id).ok_or_else(Answer::not_found)?;
            (seat.service.clone(), candidates(&seat.trees, client))
        };
        let candidates = match found {
            Ok(candidates) => candidates,
            Err(why) => return Err(self.refuse(service, client, why).await),
        };
        let again = candidates.iter().find_map(|one| Some((one.run, Some(asks_again(one, client.inode)?))));
        let found = match again {
            Some(found) => Some(found),
            None => self.walk(move || find(&candidates, client.inode)).await?,
        };
        let Some((run, pid)) = found else { return Err(self.refuse(service, client, Why::OutsideOfTree).await) };
        if let Some(pid) = pid {
            self.table.borrow_mut().asked(id, run, pid);
        }
        Ok(Insider { service, run, pid, uid: client.uid })
    }

    /// On a thread of its own, for it may take a while; not many at once.
    async fn walk<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Result<T, Answer> {
        let Ok(Ok(place)) = timeout(WALK_WITHIN, self.walks.acquire()).await else { return Err(Answer::overloaded()) };
        let found = spawn_blocking(look).await;
        drop(place);
        found.map_err(|_| Answer::denied("devsup cannot find out who calls"))
    }

    async fn refuse(&self, service: Name, client: Client, why: Why) -> Answer {
        let who = if self.audit.refusal_waits(&service) {
            None
        } else {
            let keepers = self.keepers.clone();
            self.walk(move || culprit(client.inode, &keepers)).await.ok().flatten()
        };
        let answer = match why {
            Why::NotRunning => Answer::not_running(&service),
            Why::OtherUser => {
                Answer::denied(format!("this token is service `{service}`'s, which runs as another user"))
            }
            Why::OutsideOfTree => {
                Answer::denied(format!("this token is service `{service}`'s, and you are no process of a run of it"))
            }
        };
        self.audit.tell(Told::Refused(Refused { service, uid: client.uid, who, why, times: 1 }));
        answer
    }

    /// `None`: nothing yet, but something may come.
    fn held(&self, id: &str, insider: &Insider) -> Option<Answer> {
        let table = self.table.borrow();
        let Some(standing) = table.find(id).and_then(|seat| seat.standing(insider.run)) else {
            return Some(Answer::not_running(&insider.service));
        };
        let (lease, refusal) = (standing.lease.as_ref(), standing.refusal.as_ref());
        if let Some(lease) = lease.filter(|lease| now().boot < lease.ends)
            && let Some(held) = lease.held.upgrade()
        {
            self.audit.tell(Told::Issued(Shown {
                service: insider.service.clone(),
                how: How::Endpoint,
                run: Some(insider.run),
                pid: insider.pid,
                uid: insider.uid,
                access_key_id: held.credentials.access_key_id.clone(),
                expires: held.credentials.expires,
                times: 1,
            }));
            return Answer::credentials(lease, &held);
        }
        if let Some(refusal) = refusal.filter(|refusal| refusal.lasting) {
            return Some(Answer::refused(refusal));
        }
        lease.map(|lease| Answer::expired(&insider.service, lease.ends_wall, refusal))
    }

    fn uninitialized(&self, id: &str, insider: &Insider) -> Answer {
        let table = self.table.borrow();
        let standing = table.find(id).and_then(|seat| seat.standing(insider.run));
        standing.map_or_else(
            || Answer::not_running(&insider.service),
            |standing| Answer::uninitialized(&insider.service, standing),
        )
    }
}
