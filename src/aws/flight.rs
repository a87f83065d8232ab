//! The same question is asked once at a time: who asks it meanwhile gets the same answer.
//!
//! What must never happen: an answer is given to a question that was put after it. So a flight is forgotten as soon as
//! it has landed, also when somebody who waited for it went away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::Grant;
use super::route::Route;
use crate::manifest::Role;
use crate::supervisor::Refusal;

/// All that can make two answers differ. (One `Base` has one base identity and one region.)
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    roles: Vec<String>,
    session_name: String,
    source_identity: Option<String>,
    tags: Vec<(String, String)>,
    transitive_tags: Vec<String>,
    external_id: Option<String>,
    policy: Option<String>,
    policy_arns: Vec<String>,
    duration: Duration,
}

impl Question {
    pub(super) fn new(role: &Role, route: &Route) -> Self {
        Self {
            roles: route.arns(),
            session_name: route.last.session.clone(),
            source_identity: route.last.role.source_identity.clone(),
            tags: role.tags.clone().into_iter().collect(),
            transitive_tags: role.transitive_tags.clone(),
            external_id: role.external_id.clone(),
            policy: role.policy.clone(),
            policy_arns: role.policy_arns.clone(),
            duration: role.duration,
        }
    }
}

type Answer = Result<Grant, Refusal>;
type Cell = Arc<OnceCell<Answer>>;

#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Question, Cell>>,
}

impl Flights {
    /// Asks, or joins who is asking already. If the one who asks goes away, the next one waiting asks instead.
    pub(super) async fn fly(&self, question: Question, ask: impl Future<Output = Answer>) -> Answer {
        let cell = {
            let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(question.clone()).or_default())
        };
        let seat = Seat { flights: self, question, cell };
        seat.cell.get_or_init(|| ask).await.clone()
    }
}

/// One who waits.
struct Seat<'a> {
    flights: &'a Flights,
    question: Question,
    cell: Cell,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = all.get(&self.question).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // Two handles are the map's and this one: nobody else waits.
        if ours && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2) {
            all.remove(&self.question);
        }
    }
}
