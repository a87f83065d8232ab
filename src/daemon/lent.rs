//! Credentials for those who ask for them at the control socket: `credential-process`, inside a service and beside all.
//!
//! From memory while anything unexpired is held. Of a service that is down STS is asked once, whoever waits gets that answer,
//! and it is kept for the next who asks (the AWS CLI does at every command) until it runs out, or the role or the base
//! identity becomes another. What must never happen: credentials that are expired, or of a role that is no longer the
//! service's; a question to STS per call.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::answers::refused;
use super::audit::{How, Shown, Told};
use super::clocks::now;
use super::world::{Fact, World};
use crate::aws::{Credentials, Grant, zulu};
use crate::control::Answer;
use crate::control::api::{Failed, FailedKind, Issued};
use crate::control::peer::{Caller, Standing};
use crate::manifest::{Name, Role, RoleArn, Service};
use crate::supervisor::{Mono, Now, Refusal, RunId, Want};

use secrecy::ExposeSecret;

/// After a refusal nobody asks again for so long: a program that tries in a loop must not become a storm.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What is held beside the supervisor's leases.
#[derive(Default)]
pub(super) struct Lent {
    loans: BTreeMap<Name, Loan>,
    waiting: BTreeMap<Name, Vec<Waiter>>,
    refused: BTreeMap<Name, (Refusal, Mono)>,
    /// How many base identities there have been.
    era: u64,
}

struct Loan {
    credentials: Rc<Credentials>,
    role: Role,
    came: Now,
    life: Duration,
}

/// One who asked.
struct Waiter {
    caller: Caller,
    answer: Answer<Issued>,
}

impl Loan {
    /// As of a lease: on boottime, and the wall clock may only shorten it.
    fn left(&self, now: Now) -> Duration {
        let boot = now.boot.since(self.came.boot);
        let wall = now.wall.since(self.came.wall);
        self.life.saturating_sub(boot.max(wall))
    }

    /// Enough for a command that begins now.
    fn lasts(&self, now: Now) -> bool {
        self.left(now) > (self.life / 10).min(Duration::from_mins(2))
    }
}

impl Lent {
    /// Another base identity: what the last one brought is not its own.
    pub(super) fn begin_anew(&mut self) {
        self.era += 1;
        self.loans.clear();
        self.refused.clear();
    }

    /// Only what is still the service's role.
    pub(super) fn keep(&mut self, services: &BTreeMap<Name, Arc<Service>>) {
        let is = |name: &Name, role: &Role| services.get(name).is_some_and(|entry| entry.role.as_ref() == Some(role));
        self.loans.retain(|name, loan| is(name, &loan.role));
        self.refused.clear();
    }

    /// The service has a lease of its own.
    pub(super) fn no_more(&mut self, service: &Name) {
        self.loans.remove(service);
        self.refused.remove(service);
    }

    pub(super) fn expire(&mut self, service: &Name) {
        if self.loans.get(service).is_some_and(|loan| loan.left(now()).is_zero()) {
            self.loans.remove(service);
        }
    }

    fn unexpired(&self, service: &Name) -> Option<&Loan> {
        self.loans.get(service).filter(|loan| !loan.left(now()).is_zero())
    }
}

impl World {
    pub(super) fn issue(&mut self, caller: Caller, name: &str, answer: Answer<Issued>) {
        let waiter = Waiter { caller, answer };
        let served = match self.of_its_run(&waiter.caller, name) {
            Ok(served) => served,
            Err(failed) => return drop(waiter.answer.send(Err(failed))),
        };
        if let Some((credentials, role)) = served {
            return self.hand_out(&Name::new(name), &role, &credentials, waiter);
        }
        let service = match self.with_role(name) {
            Ok(service) => service,
            Err(failed) => return drop(waiter.answer.send(Err(failed))),
        };
        match self.at_hand(&service) {
            Some(Ok(credentials)) => self.lend(&service, &credentials, waiter),
            Some(Err(refusal)) => drop(waiter.answer.send(Err(refused(&service.name, refusal)))),
            None => self.borrow(service, waiter),
        }
    }

    /// The newest run of the service, if somebody inside of it asks.
    fn its_run(&self, caller: &Caller, name: &str) -> Option<RunId> {
        matches!(caller.standing, Standing::Inside(_)).then_some(())?;
        self.runs.keys().filter(|run| run.service.as_str() == name).max_by_key(|run| run.number).cloned()
    }

    /// What is held for the role that the caller's run was born as. An error: the manifest has given the service another role
    /// since, which is none of that run's.
    fn of_its_run(&self, caller: &Caller, name: &str) -> Result<Option<(Rc<Credentials>, RoleArn)>, Failed> {
        let Some(run) = self.its_run(caller, name) else { return Ok(None) };
        let Some(born) = self.runs.get(&run).and_then(|held| held.role.clone()) else { return Ok(None) };
        let lease = self.supervisor.tenure(now(), &run).and_then(|tenure| tenure.lease);
        let lease = lease.filter(|lease| now().boot < lease.ends).and_then(|lease| self.leases.get(&lease.id));
        if let Some(lease) = lease {
            return Ok(Some((Rc::clone(&lease.credentials), born)));
        }
        let role = self.manifest.services.get(name).and_then(|entry| entry.role.as_ref());
        if role.is_some_and(|role| role.arn == born) {
            return Ok(None);
        }
        let error = format!("service `{name}`: this run is still {born}, which the manifest no longer names");
        let failed = Failed::new(FailedKind::CredentialsRefused, error);
        Err(failed.hint("it is replaced when credentials of the new role are there"))
    }

    fn with_role(&self, name: &str) -> Result<Arc<Service>, Failed> {
        let Some(service) = self.manifest.services.get(name) else {
            return Err(super::commands::no_such(name, self.manifest.services.keys()));
        };
        if service.role.is_none() {
            let failed = Failed::new(FailedKind::Failed, format!("service `{name}`: has no role, so no credentials"));
            return Err(failed.hint("`role` in the manifest gives it one"));
        }
        Ok(Arc::clone(service))
    }

    /// What can be said without asking STS.
    fn at_hand(&self, service: &Service) -> Option<Result<Rc<Credentials>, Refusal>> {
        let at = now();
        let (name, role) = (service.name.as_str(), service.role.as_ref()?);
        let lease = self.supervisor.unexpired_lease(at, name).and_then(|lease| self.leases.get(&lease));
        if let Some(lease) = lease {
            return Some(Ok(Rc::clone(&lease.credentials)));
        }
        let loan = self.lent.unexpired(&service.name).filter(|loan| loan.role == *role);
        // Of one that is wanted up the supervisor asks again, at its own pace.
        let view = self.supervisor.view(at, name).filter(|view| view.want == Want::Up);
        let refusal = view.and_then(|view| view.refusal).or_else(|| {
            let (refusal, until) = self.lent.refused.get(&service.name)?;
            (at.mono < *until).then(|| refusal.clone())
        });
        match (loan, refusal) {
            (Some(loan), refusal) if loan.lasts(at) || refusal.is_some() => Some(Ok(Rc::clone(&loan.credentials))),
            (_, Some(refusal)) => Some(Err(refusal)),
            (_, None) => None,
        }
    }

    /// Asks STS, or waits for the answer to who asked before.
    fn borrow(&mut self, service: Arc<Service>, waiter: Waiter) {
        let waiting = self.lent.waiting.entry(service.name.clone()).or_default();
        waiting.push(waiter);
        if waiting.len() > 1 {
            return;
        }
        let (facts, who, era) = (self.facts.clone(), self.who(), self.lent.era);
        let (base, asking) = (self.base.clone(), Rc::clone(&self.asking));
        drop(tokio::task::spawn_local(async move {
            let asked = match (base, &service.role) {
                (Some(base), Some(role)) => {
                    let place = asking.acquire().await;
                    let asked = base.assume(&service, role, &who).await;
                    drop(place);
                    asked
                }
                (_, _) => Err(super::asks::no_sandbox()),
            };
            drop(facts.send(Fact::Borrowed { service, asked: Box::new(asked), era }));
        }));
    }

    /// The answer came, for all who wait for it.
    pub(super) fn borrowed(&mut self, service: &Arc<Service>, asked: Result<Grant, Refusal>, era: u64) {
        let waiting = self.lent.waiting.remove(&service.name).unwrap_or_default();
        let role = self.manifest.services.get(&service.name).and_then(|entry| entry.role.clone());
        if era != self.lent.era || role != service.role {
            // An answer to another question than theirs.
            for Waiter { caller, answer } in waiting {
                self.issue(caller, service.name.as_str(), answer);
            }
            return;
        }
        let credentials = match (asked, role) {
            (Ok(grant), Some(role)) => Ok(self.keep_loan(&service.name, role, grant)),
            (Ok(_), None) => return,
            (Err(refusal), _) => {
                let until = now().mono + AGAIN_AFTER;
                self.lent.refused.insert(service.name.clone(), (refusal.clone(), until));
                self.lent.unexpired(&service.name).map(|loan| Rc::clone(&loan.credentials)).ok_or(refusal)
            }
        };
        for waiter in waiting {
            match &credentials {
                Ok(credentials) => self.lend(service, credentials, waiter),
                Err(refusal) => drop(waiter.answer.send(Err(refused(&service.name, refusal.clone())))),
            }
        }
    }

    fn keep_loan(&mut self, service: &Name, role: Role, grant: Grant) -> Rc<Credentials> {
        let credentials = Rc::new(grant.credentials);
        let loan = Loan { credentials: Rc::clone(&credentials), role, came: now(), life: grant.left };
        self.lent.loans.insert(service.clone(), loan);
        self.lent.refused.remove(service);
        self.later(grant.left + Duration::from_millis(10), Fact::LoanOver(service.clone()));
        credentials
    }

    fn lend(&mut self, service: &Service, credentials: &Credentials, waiter: Waiter) {
        if let Some(role) = &service.role {
            self.hand_out(&service.name, &role.arn, credentials, waiter);
        }
    }

    fn hand_out(&mut self, service: &Name, role: &RoleArn, credentials: &Credentials, waiter: Waiter) {
        let issued = Issued {
            version: 1,
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.expose_secret().to_owned(),
            session_token: credentials.session_token.expose_secret().to_owned(),
            expiration: zulu(credentials.expires),
            account_id: role.account().to_owned(),
        };
        let run = self.its_run(&waiter.caller, service.as_str()).map(|run| run.number);
        let Caller { by, pid, .. } = waiter.caller;
        if waiter.answer.send(Ok(issued)).is_ok() {
            self.audit.tell(Told::Issued(Shown {
                service: service.clone(),
                how: How::Process,
                run,
                pid: Some(pid),
                uid: by.uid,
                access_key_id: credentials.access_key_id.clone(),
                expires: credentials.expires,
                times: 1,
            }));
        }
    }
}
