//! Who is connected to which run, and who waits until none is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::manifest::Name;

pub(super) type Done = Box<dyn FnOnce() + Send>;

type Key = (Name, u32);

/// Of all runs that have connections.
#[derive(Default)]
pub(super) struct Crowds(RefCell<BTreeMap<Key, Rc<Crowd>>>);

/// A run's connections.
#[derive(Default)]
struct Crowd {
    left: Cell<usize>,
    /// While there is one, those at rest are closed.
    drains: RefCell<Vec<Done>>,
    /// A drain began, or was given up.
    news: Notify,
}

impl Crowds {
    pub(super) fn join(self: &Rc<Self>, service: &Name, run: u32) -> Member {
        let key = (service.clone(), run);
        let crowd = Rc::clone(self.0.borrow_mut().entry(key.clone()).or_default());
        crowd.left.set(crowd.left.get() + 1);
        Member { crowds: Rc::clone(self), crowd, key }
    }

    pub(super) fn drain(&self, service: &Name, run: u32, done: Done) {
        let crowd = self.0.borrow().get(&(service.clone(), run)).cloned();
        match crowd {
            Some(crowd) => {
                crowd.drains.borrow_mut().push(done);
                crowd.news.notify_waiters();
            }
            None => answer(vec![done]),
        }
    }

    pub(super) fn cut(&self, service: &Name, run: u32) {
        let crowd = self.0.borrow().get(&(service.clone(), run)).cloned();
        if let Some(crowd) = crowd {
            answer(crowd.drains.take());
            crowd.news.notify_waiters();
        }
    }
}

/// One connection, until it is dropped.
pub(super) struct Member {
    crowds: Rc<Crowds>,
    crowd: Rc<Crowd>,
    key: Key,
}

impl Member {
    pub(super) fn draining(&self) -> bool {
        !self.crowd.drains.borrow().is_empty()
    }

    /// Made before one looks, so that nothing is missed between.
    pub(super) fn news(&self) -> Notified<'_> {
        self.crowd.news.notified()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.crowd.left.get() - 1;
        self.crowd.left.set(left);
        if left == 0 {
            self.crowds.0.borrow_mut().remove(&self.key);
            answer(self.crowd.drains.take());
        }
    }
}

/// Each in a task of its own: what is called is not ours, and may panic.
fn answer(drains: Vec<Done>) {
    for done in drains {
        drop(tokio::task::spawn_local(async move { done() }));
    }
}
