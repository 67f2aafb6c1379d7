//! Warm instances of functions whose manifest says `instances.reuse`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmill_domain::{Digest, FunctionName, Manifest, TenantName};

use crate::instance::Instance;

/// Whose instance it is: never is one used for anybody else. The manifest is part of it, as the
/// environment is.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantName,
    pub(crate) function: FunctionName,
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.function == other.function
            && self.tenant == other.tenant
            && (Arc::ptr_eq(&self.manifest, &other.manifest) || self.manifest == other.manifest)
    }
}

/// Instances between two executions, the one that waits longest first.
pub(crate) struct WarmPool {
    idle: Mutex<VecDeque<Idle>>,
    most: usize,
    longest: Duration,
}

struct Idle {
    owner: Owner,
    instance: Instance,
    since: Instant,
}

impl WarmPool {
    /// For `most` instances, each for at most `longest`.
    pub(crate) fn new(most: usize, longest: Duration) -> Self {
        Self { idle: Mutex::new(VecDeque::new()), most, longest }
    }

    /// An instance of `owner`'s, the one used last.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Instance> {
        let mut idle = self.lock();
        let at = idle.iter().rposition(|idle| idle.owner == *owner)?;
        idle.remove(at).map(|idle| idle.instance)
    }

    /// Keeps an instance for `owner`'s next execution.
    pub(crate) fn put(&self, owner: Owner, instance: Instance) {
        if self.most == 0 {
            return;
        }
        let mut idle = self.lock();
        let oldest = if idle.len() >= self.most { idle.pop_front() } else { None };
        idle.push_back(Idle { owner, instance, since: Instant::now() });
        // Instances are dropped without the lock: it takes a while.
        drop(idle);
        drop(oldest);
    }

    /// Drops what has waited too long.
    pub(crate) fn expire(&self) {
        let mut idle = self.lock();
        let expired = idle.iter().take_while(|idle| idle.since.elapsed() > self.longest).count();
        let expired: Vec<Idle> = idle.drain(..expired).collect();
        drop(idle);
        drop(expired);
    }

    /// Drops what is of these tenants: somebody needs the room.
    pub(crate) fn drop_of(&self, mut is_of: impl FnMut(&TenantName) -> bool) {
        let mut idle = self.lock();
        let (dropped, kept) =
            std::mem::take(&mut *idle).into_iter().partition(|idle| is_of(&idle.owner.tenant));
        *idle = kept;
        drop(idle);
        let dropped: VecDeque<Idle> = dropped;
        drop(dropped);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
