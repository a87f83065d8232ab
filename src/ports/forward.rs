//! Placeholder of the merge.
use super::{Accepting, PortId};
use crate::manifest::Name;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub run: u32,
    pub address: SocketAddr,
}
#[derive(Debug, Default, Clone)]
pub struct Stats {
    pub open: std::collections::BTreeMap<u32, usize>,
    pub waiting: usize,
}
#[derive(Debug)]
pub struct Forwarder;
impl Forwarder {
    pub fn start(_places: usize) -> io::Result<Self> {
        Ok(Self)
    }
    pub fn open(&self, _port: PortId, _listener: Accepting, _wait: Duration) {}
    pub fn route(&self, _port: &PortId, _to: Option<Target>) {}
    pub fn drain(&self, _service: &Name, _run: u32, done: impl FnOnce() + Send + 'static) {
        done();
    }
    pub fn cut(&self, _service: &Name, _run: u32) {}
    pub fn close(&self, _port: &PortId) {}
    pub fn stats(&self, _port: &PortId) -> Stats {
        Stats::default()
    }
    pub fn take_worst(&self, _port: &PortId) -> Duration {
        Duration::ZERO
    }
}
