//! The forwarder's thread: does what the handles order, one after the other. It never waits for a caller or a service.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::crowd::{Crowds, Done};
use super::pipe::Scratch;
use super::places::{Places, Share};
use super::stats::Tally;
use super::stream::Listener;
use super::{PortId, Target, accept};
use crate::manifest::Name;

pub(super) enum Order {
    Open { port: PortId, listener: Listener, wait: Duration, tally: Arc<Tally> },
    Route { port: PortId, to: Option<Target> },
    Drain { service: Name, run: u32, done: Done },
    Cut { service: Name, run: u32 },
    Close { port: PortId, closed: mpsc::Sender<()> },
}

/// What a port's callers share.
pub(super) struct Port {
    pub(super) service: Name,
    pub(super) wait: Duration,
    pub(super) tally: Arc<Tally>,
    pub(super) share: Share,
    pub(super) crowds: Rc<Crowds>,
    pub(super) scratch: Scratch,
    pub(super) route: watch::Receiver<Option<Target>>,
}

/// A port that is open. Without it, whoever waits for a route is closed.
struct Held {
    route: watch::Sender<Option<Target>>,
    accepting: JoinHandle<()>,
}

impl Held {
    /// When it returns, nobody listens any more.
    async fn close(self) {
        drop(self.route);
        self.accepting.abort();
        // Cancelled, as was asked for, or ended by a panic that was told already.
        self.accepting.await.ok();
    }
}

/// Until the last handle is gone.
pub(super) async fn run(mut inbox: UnboundedReceiver<Order>, places: usize, taken: Arc<AtomicUsize>) {
    let places = Places::new(places, taken);
    let (crowds, scratch) = (Rc::<Crowds>::default(), Scratch::default());
    let mut ports = BTreeMap::<PortId, Held>::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Open { port: id, listener, wait, tally } => {
                if let Some(before) = ports.remove(&id) {
                    before.close().await;
                }
                let (sender, route) = watch::channel(None);
                let share = Share::new(&places);
                let (service, crowds, scratch) = (id.service.clone(), Rc::clone(&crowds), scratch.clone());
                let port = Port { service, wait, tally, share, crowds, scratch, route };
                let accepting = tokio::task::spawn_local(accept::keep(listener, Rc::new(port)));
                ports.insert(id, Held { route: sender, accepting });
            }
            Order::Route { port, to } => {
                if let Some(held) = ports.get(&port) {
                    held.route.send_if_modified(|now| std::mem::replace(now, to) != to);
                }
            }
            Order::Drain { service, run, done } => crowds.drain(&service, run, done),
            Order::Cut { service, run } => crowds.cut(&service, run),
            Order::Close { port, closed } => {
                if let Some(held) = ports.remove(&port) {
                    held.close().await;
                }
                // It is waited for.
                closed.send(()).ok();
            }
        }
    }
}
