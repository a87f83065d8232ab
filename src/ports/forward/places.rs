//! How many connections there may be at once, and how many of them one port may hold.
//!
//! With several ports open, none may hold more than what is still free: a flood on one of `n` ports ends at half of the places,
//! floods on all of them at `1/(n+1)` each, and a port that holds none always finds one. A port alone may hold them all.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

pub(super) struct Places {
    limit: usize,
    /// Shown to other threads; written by ours alone.
    taken: Arc<AtomicUsize>,
    ports: Cell<usize>,
    /// Whoever was refused may ask again.
    freed: Notify,
}

impl Places {
    pub(super) fn new(limit: usize, taken: Arc<AtomicUsize>) -> Rc<Self> {
        Rc::new(Self { limit: limit.max(1), taken, ports: Cell::new(0), freed: Notify::new() })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn set(&self, taken: usize) {
        self.taken.store(taken, Ordering::Relaxed);
    }
}

/// What one open port holds of them.
pub(super) struct Share {
    places: Rc<Places>,
    held: Rc<Cell<usize>>,
}

impl Share {
    pub(super) fn new(places: &Rc<Places>) -> Self {
        places.ports.set(places.ports.get() + 1);
        Self { places: Rc::clone(places), held: Rc::default() }
    }

    pub(super) fn may_take(&self) -> bool {
        let free = self.places.limit.saturating_sub(self.places.taken());
        free > 0 && (self.places.ports.get() == 1 || self.held.get() < free)
    }

    /// Only if one may.
    pub(super) fn take(&self) -> Place {
        self.held.set(self.held.get() + 1);
        self.places.set(self.places.taken() + 1);
        Place { places: Rc::clone(&self.places), held: Rc::clone(&self.held) }
    }

    /// Until it is worth asking again.
    pub(super) async fn freed(&self) {
        self.places.freed.notified().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.places.ports.set(self.places.ports.get() - 1);
        self.places.freed.notify_waiters();
    }
}

/// One connection's, until it is dropped.
pub(super) struct Place {
    places: Rc<Places>,
    held: Rc<Cell<usize>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.set(self.held.get() - 1);
        self.places.set(self.places.taken() - 1);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(share: &Share, held: &mut Vec<Place>) -> usize {
        let before = held.len();
        while share.may_take() {
            held.push(share.take());
        }
        held.len() - before
    }

    #[test]
    fn one_alone_takes_all_and_gives_way_when_another_opens() {
        let places = Places::new(4, Arc::default());
        let first = Share::new(&places);
        let mut held = Vec::new();
        assert_eq!(flood(&first, &mut held), 4);
        let second = Share::new(&places);
        assert!(!second.may_take());
        held.pop();
        assert!(!first.may_take() && second.may_take(), "what becomes free goes to the other");
        drop(second);
        assert!(first.may_take());
    }

    #[test]
    fn floods_leave_a_place_for_each_other() {
        let places = Places::new(100, Arc::default());
        let shares: Vec<Share> = (0..4).map(|_| Share::new(&places)).collect();
        let mut held: Vec<Vec<Place>> = (0..4).map(|_| Vec::new()).collect();
        assert_eq!(flood(&shares[0], &mut held[0]), 50);
        // Connections end and begin: what each holds comes to be the same.
        for _ in 0..2000 {
            for (share, held) in shares.iter().zip(&mut held) {
                held.pop();
                flood(share, held);
            }
        }
        let counts: Vec<usize> = held.iter().map(Vec::len).collect();
        assert!(counts.iter().all(|count| (15..=25).contains(count)), "{counts:?}");
        drop(held);
        assert_eq!(places.taken(), 0);
    }
}
