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
    waiting_checks: AtomicUsize,
    draining: AtomicBool,
}

/// One that counts, until it is dropped: a queue that is consumed, or an attempt that waits.
pub(super) struct Counted {
    status: HostStatus,
    of: fn(&Counts) -> &AtomicUsize,
}

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

    /// How many attempts wait until what they emit is checked.
    pub fn waiting_checks(&self) -> usize {
        self.0.waiting_checks.load(Ordering::Relaxed)
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

    pub(super) fn consume(&self) -> Counted {
        self.count(|counts| &counts.consuming)
    }

    pub(super) fn wait_for_check(&self) -> Counted {
        self.count(|counts| &counts.waiting_checks)
    }

    fn count(&self, of: fn(&Counts) -> &AtomicUsize) -> Counted {
        of(&self.0).fetch_add(1, Ordering::Relaxed);
        Counted { status: self.clone(), of }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.of)(&self.status.0).fetch_sub(1, Ordering::Relaxed);
    }
}
