//!
//! A semaphore for work that takes long, such as compiling: so many at once, fair between tenants,
//! so that a tenant with much of it delays itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmill_domain::TenantName;

use crate::fair_queue::TenantFairQueue;

/// A semaphore that is fair between tenants.
pub(crate) struct FairSemaphore {
    state: Mutex<QueueState>,
    at_once: usize,
    waiting: usize,
    wait_timeout: Duration,
}

struct QueueState {
    running: usize,
    queue: TenantFairQueue<oneshot::Sender<FairPermit>>,
    /// How many of each tenant wait.
    waiting: HashMap<TenantName, usize>,
}

/// A permit to work; the next who waits gets one when it is dropped.
pub(crate) struct FairPermit(Option<Arc<FairSemaphore>>);

impl FairSemaphore {
    /// So many `at_once`; of each tenant, at most `waiting` more wait, each for `wait_timeout`.
    pub(crate) fn new(at_once: usize, waiting: usize, wait_timeout: Duration) -> Arc<Self> {
        let state =
            QueueState { running: 0, queue: TenantFairQueue::default(), waiting: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), at_once: at_once.max(1), waiting, wait_timeout })
    }

    /// Waits for a permit for the tenant.
    ///
    /// # Errors
    /// Where too many of the tenant's wait already, or it takes too long.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        tenant: &TenantName,
    ) -> Result<FairPermit, NoPermit> {
        let receiver = {
            let mut state = self.state();
            if state.running < self.at_once {
                state.running += 1;
                return Ok(FairPermit(Some(Arc::clone(self))));
            }
            let waiting = state.waiting.entry(tenant.clone()).or_default();
            if *waiting >= self.waiting {
                return Err(NoPermit::TooMany);
            }
            *waiting += 1;
            let (sender, receiver) = oneshot::channel();
            state.queue.push(tenant, sender);
            receiver
        };
        let waiting = Waiting { queue: self, tenant };
        let permit = tokio::time::timeout(self.wait_timeout, receiver).await;
        drop(waiting);
        // Its sender is in the queue, which is here still, until it has sent.
        permit.ok().and_then(Result::ok).ok_or(NoPermit::TooLong)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.values().sum()
    }

    /// Gives a permit to the next who still waits for one.
    fn pass(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.queue.pop();
                if next.is_none() {
                    state.running -= 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(FairPermit(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Who waited is gone. The permit that comes back is not dropped as one that was
                // used.
                Err(mut permit) => permit.0 = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass();
        }
    }
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPermit {
    /// Too many of the tenant's wait.
    #[error("too many of the tenant's components wait to be compiled")]
    TooMany,
    /// It takes too long.
    #[error("others' components are being compiled")]
    TooLong,
}

/// Counts one who waits, until it has its permit or gives up.
struct Waiting<'a> {
    queue: &'a FairSemaphore,
    tenant: &'a TenantName,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if let Some(waiting) = state.waiting.get_mut(self.tenant) {
            *waiting -= 1;
            if *waiting == 0 {
                state.waiting.remove(self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const WAIT_TIMEOUT: Duration = Duration::from_secs(3_600);

    fn tenant(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn another_tenant_waits_for_one_permit_only() {
        let queue = FairSemaphore::new(1, 8, WAIT_TIMEOUT);
        let (busy, other) = (tenant("busy"), tenant("other"));
        let first = queue.acquire(&busy).await.unwrap();
        let mut more: Vec<_> = (0..7).map(|_| Box::pin(queue.acquire(&busy))).collect();
        for waiting in &mut more {
            assert!(waiting.now_or_never().is_none());
        }
        let mut others = Box::pin(queue.acquire(&other));
        assert!((&mut others).now_or_never().is_none());
        drop(first);
        // The one that waited longest, of the tenant that came first.
        let second = (&mut more[0]).now_or_never().unwrap().unwrap();
        assert!((&mut others).now_or_never().is_none());
        drop(second);
        let others = others.now_or_never().unwrap().unwrap();
        assert!((&mut more[1]).now_or_never().is_none());
        drop(others);
        assert!((&mut more[1]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_is_passed_over() {
        let queue = FairSemaphore::new(1, 8, WAIT_TIMEOUT);
        let tenant = tenant("busy");
        let first = queue.acquire(&tenant).await.unwrap();
        let mut gone = Box::pin(queue.acquire(&tenant));
        let mut stays = Box::pin(queue.acquire(&tenant));
        assert!((&mut gone).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        drop(gone);
        drop(first);
        let permit = stays.now_or_never().unwrap().unwrap();
        drop(permit);
        assert_eq!(queue.state().running, 0);
        assert!(queue.state().waiting.is_empty());
        // Nor is a permit lost that was sent and not taken.
        let first = queue.acquire(&tenant).await.unwrap();
        let mut gone = Box::pin(queue.acquire(&tenant));
        assert!((&mut gone).now_or_never().is_none());
        drop(first);
        drop(gone);
        assert_eq!(queue.state().running, 0);
    }

    #[tokio::test]
    async fn how_many_wait_is_bounded_for_each_tenant() {
        let queue = FairSemaphore::new(1, 1, WAIT_TIMEOUT);
        let (busy, other) = (tenant("busy"), tenant("other"));
        let permit = queue.acquire(&busy).await.unwrap();
        let mut waiting = Box::pin(queue.acquire(&busy));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = queue.acquire(&busy).await.err().unwrap();
        assert!(refused.to_string().contains("too many of the tenant's"), "{refused}");
        let mut others = Box::pin(queue.acquire(&other));
        assert!((&mut others).now_or_never().is_none(), "another tenant may wait");
        drop(permit);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let queue = FairSemaphore::new(1, 1, Duration::ZERO);
        let permit = queue.acquire(&tenant("busy")).await.unwrap();
        let refused = queue.acquire(&tenant("other")).await.err().unwrap();
        assert!(refused.to_string().contains("others' components"), "{refused}");
        assert!(queue.state().waiting.is_empty());
        drop(permit);
        assert_eq!(queue.state().running, 0);
    }
}
