//! Semaphores for work that takes long: so many permits as a whole, and of those no more than a
//! share for one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use wasmill_background::Background;
use wasmill_domain::TenantName;

use crate::error::{ApiError, Result};

/// How many tenants are remembered before those are forgotten that have nothing here.
const REMEMBERED: usize = 1_024;

/// A semaphore for one kind of work, with a share for each tenant.
pub(crate) struct TenantSemaphore {
    all: Arc<Semaphore>,
    /// How many permits one tenant may have.
    each: usize,
    /// How many of a tenant's may wait for one.
    queue: usize,
    /// How long they wait.
    wait_timeout: Duration,
    /// What is answered where there is none.
    full: &'static str,
    tenants: Mutex<HashMap<TenantName, Weak<Share>>>,
}

/// What one tenant has of them.
struct Share {
    permits: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// A permit, until the last clone is dropped. Whoever does a part of the work owns one until that
/// part has ended, whether or not anybody waits for the end.
#[derive(Clone)]
pub(crate) struct TenantPermit {
    _of_both: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    _share: Arc<Share>,
}

impl TenantSemaphore {
    /// So many `permits`, of which one tenant may have half.
    pub(crate) fn new(
        permits: usize,
        queue: usize,
        wait_timeout: Duration,
        full: &'static str,
    ) -> Self {
        Self::of_each(permits.div_ceil(2), permits, queue, wait_timeout, full)
    }

    /// So many permits of `each` tenant, and of all together.
    pub(crate) fn of_each(
        each: usize,
        all: usize,
        queue: usize,
        wait_timeout: Duration,
        full: &'static str,
    ) -> Self {
        let permits = |permits: usize| permits.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(permits(all))),
            each: permits(each),
            queue: queue.min(Semaphore::MAX_PERMITS),
            wait_timeout,
            full,
            tenants: Mutex::default(),
        }
    }

    /// A permit for a tenant's work. Waits for it, within reason.
    ///
    /// # Errors
    /// Where too many wait, or none becomes free in time.
    pub(crate) async fn enter(&self, tenant: &TenantName) -> Result<TenantPermit> {
        let full = || ApiError::Overloaded(self.full);
        let share = self.share_of(tenant);
        let deadline = Instant::now() + self.wait_timeout;
        let of_tenant = match Arc::clone(&share.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _queued = Arc::clone(&share.queue).try_acquire_owned().map_err(|_| full())?;
                let permit = timeout_at(deadline, Arc::clone(&share.permits).acquire_owned()).await;
                permit.ok().and_then(Result::ok).ok_or_else(full)?
            }
        };
        let of_all = timeout_at(deadline, Arc::clone(&self.all).acquire_owned()).await;
        let of_all = of_all.ok().and_then(Result::ok).ok_or_else(full)?;
        Ok(TenantPermit { _of_both: Arc::new((of_tenant, of_all)), _share: share })
    }

    /// Does a tenant's work on a thread of its own once there is a permit. Once begun it goes on to
    /// its end, and keeps its permit until then, even if nobody waits for it any more; so `work`
    /// must own every reservation that it needs.
    ///
    /// # Errors
    /// As [`Self::enter`], and where the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        background: &Background,
        tenant: &TenantName,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let permit = self.enter(tenant).await?;
        let done = background.run(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|e| ApiError::Internal(format!("work on a thread of its own: {e}")))
    }

    fn share_of(&self, tenant: &TenantName) -> Arc<Share> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = tenants.get(tenant).and_then(Weak::upgrade) {
            return share;
        }
        if tenants.len() >= REMEMBERED {
            tenants.retain(|_, share| share.strong_count() > 0);
        }
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let share = Arc::new(Share { permits: semaphore(self.each), queue: semaphore(self.queue) });
        tenants.insert(tenant.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For those that wait in vain, and for those that do not.
    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(20);

    fn tenant(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_tenant_has_half() {
        let shares = TenantSemaphore::new(4, 8, SHORT, "full");
        let (one, other) = (tenant("one"), tenant("other"));
        let first = shares.enter(&one).await.unwrap();
        let _second = shares.enter(&one).await.unwrap();
        assert!(matches!(shares.enter(&one).await, Err(ApiError::Overloaded("full"))));
        let _others = (shares.enter(&other).await.unwrap(), shares.enter(&other).await.unwrap());
        assert!(shares.enter(&tenant("third")).await.is_err());
        drop(first);
        assert!(shares.enter(&tenant("third")).await.is_ok());
    }

    #[tokio::test]
    async fn so_many_wait() {
        let shares = Arc::new(TenantSemaphore::new(2, 1, LONG, "full"));
        let one = tenant("one");
        let permit = shares.enter(&one).await.unwrap();
        let mut waiting = std::pin::pin!(shares.enter(&one));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(shares.enter(&one).await.is_err());
        drop(permit);
        assert!(waiting.await.is_ok());
        assert!(shares.enter(&one).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_is_kept_until_the_work_has_ended() {
        let (shares, background) =
            (TenantSemaphore::new(2, 8, SHORT, "full"), Background::new("test"));
        let one = tenant("one");
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let work = move || {
            begun.send(()).unwrap();
            opened.recv().unwrap();
        };
        tokio::select! {
            done = shares.run(&background, &one, work) => panic!("it is done: {done:?}"),
            begun = has_begun.recv() => begun.unwrap(),
        }
        // Nobody waits for it any more, but it goes on.
        assert!(matches!(shares.enter(&one).await, Err(ApiError::Overloaded("full"))));
        assert!(shares.enter(&tenant("other")).await.is_ok());
        gate.send(()).unwrap();
        while shares.enter(&one).await.is_err() {}
    }

    #[tokio::test]
    async fn so_it_is_by_what_a_client_leaves_to_its_end() {
        let shares = TenantSemaphore::new(2, 8, SHORT, "full");
        let one = tenant("one");
        let (gate, opened) = tokio::sync::oneshot::channel::<()>();
        let permit = shares.enter(&one).await.unwrap();
        let mut work = Box::pin(crate::app::to_its_end(async move {
            let _permit = permit;
            opened.await.map_err(|_| ApiError::Overloaded("the test is over"))
        }));
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        // Its client disconnects.
        drop(work);
        assert!(matches!(shares.enter(&one).await, Err(ApiError::Overloaded("full"))));
        gate.send(()).unwrap();
        while shares.enter(&one).await.is_err() {}
    }
}
