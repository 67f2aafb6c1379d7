//! What a host tells of itself while it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How far a host is with taking work. Clones are of the same host.
#[derive(Clone, Debug, Default)]
pub struct HostStatus(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicBool,
    workers: AtomicUsize,
    consuming: AtomicUsize,
    draining: AtomicBool,
}

/// One queue that is consumed, until it is dropped.
pub(super) struct Consuming(HostStatus);

impl HostStatus {
    /// How many functions the host works for.
    pub fn functions(&self) -> usize {
        self.0.workers.load(Ordering::Relaxed)
    }

    /// How many of their queues it consumes. Fewer than [`HostStatus::functions`] while versions
    /// are being compiled or the broker is away.
    pub fn consuming(&self) -> usize {
        self.0.consuming.load(Ordering::Relaxed)
    }

    /// Whether it knows what it works for: not before the host's first look at the definitions.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether it was told to stop and takes nothing more.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_workers(&self, count: usize) {
        self.0.workers.store(count, Ordering::Relaxed);
        self.0.begun.store(true, Ordering::Relaxed);
    }

    pub(super) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn consume(&self) -> Consuming {
        self.0.consuming.fetch_add(1, Ordering::Relaxed);
        Consuming(self.clone())
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.0.0.consuming.fetch_sub(1, Ordering::Relaxed);
    }
}
