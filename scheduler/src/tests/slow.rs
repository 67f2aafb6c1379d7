//! A duty that takes long: it keeps its lease, and keeps nobody else waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use wasmill_broker::{BatchPublisher, PublisherSettings};
use wasmill_domain::{ExecutionId, Outcome, Timestamp};
use wasmill_store::sqlite::SqliteStore;
use wasmill_store::testing::{Hook, Proxy};
use wasmill_store::{Leases, Ledger as _, Pruned, Result, Retention, StoreError, Term};

use super::{Bench, WAIT_TIMEOUT, ended, settings};
use crate::{SchedulerParts, SchedulerSettings, SchedulerStore, run};

/// Each batch of retention waits until the test lets it through, and renewals of its lease are
/// counted.
#[derive(Default)]
struct Slow {
    begun: AtomicUsize,
    dropped: Arc<AtomicUsize>,
    through: Closed,
    renewals: AtomicUsize,
    /// Where each batch began.
    afters: Mutex<Vec<Option<ExecutionId>>>,
    /// What the lease answers that all schedulers share, and how often it did not say yes.
    shared: Mutex<Shared>,
    refusals: AtomicUsize,
    refuse_renewal: std::sync::atomic::AtomicBool,
    notification: Notify,
}

/// What the lease answers that all schedulers share.
#[derive(Clone, Copy, Default)]
enum Shared {
    #[default]
    Free,
    Silent,
    Taken,
}

/// A semaphore without permits at first.
struct Closed(Semaphore);

impl Default for Closed {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

/// Counts when it is dropped before the call that it stands for has ended.
struct Call {
    ended: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Hook for Slow {
    async fn prune_executions(
        &self,
        inner: &dyn Retention,
        before: Timestamp,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Pruned> {
        let mut call = Call { ended: false, dropped: Arc::clone(&self.dropped) };
        self.afters.lock().unwrap().push(after);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.notification.notify_waiters();
        self.through.0.acquire().await.unwrap().forget();
        call.ended = true;
        inner.prune_executions(before, after, limit).await
    }

    async fn lease(
        &self,
        inner: &dyn Leases,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Term>> {
        let shared = *self.shared.lock().unwrap();
        if name == "scheduler" && !matches!(shared, Shared::Free) {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return match shared {
                Shared::Taken => Ok(None),
                _ => Err(StoreError::Unavailable("it stalls".into())),
            };
        }
        if name == "scheduler/retention" && self.begun.load(Ordering::SeqCst) > 0 {
            self.renewals.fetch_add(1, Ordering::SeqCst);
            self.notification.notify_waiters();
            if self.refuse_renewal.load(Ordering::SeqCst) {
                return Ok(None);
            }
        }
        inner.lease(name, holder, ttl).await
    }
}

impl Slow {
    /// Waits until `is_so`.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let notification = self.notification.notified();
                if is_so(self) {
                    return;
                }
                // What is told between the two is not missed for long.
                let _ = tokio::time::timeout(Duration::from_millis(20), notification).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, waiting).await.unwrap();
    }
}

fn parts(bench: &Bench, store: &Arc<Proxy<SqliteStore, Slow>>) -> SchedulerParts {
    SchedulerParts {
        store: SchedulerStore::of(store),
        publisher: BatchPublisher::new(
            Arc::clone(&bench.broker) as _,
            PublisherSettings::default(),
        ),
        settings: SchedulerSettings {
            retention: Some(Duration::from_secs(60)),
            // Its lease is as short as any.
            prune_interval: Duration::from_millis(10),
            // What is due is published by one duty alone.
            grace: WAIT_TIMEOUT,
            ..settings()
        },
    }
}

#[tokio::test]
async fn a_slow_retention_keeps_its_lease_and_no_retry_waiting() {
    let bench = Bench::new().await;
    let store = Arc::new(Proxy::new(Arc::clone(&bench.store), Slow::default()));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(parts(&bench, &store), shutdown.clone()));
    store.hook().until(|slow| slow.begun.load(Ordering::SeqCst) == 1).await;
    // For as long as it hangs, retries go out, and its lease is renewed past its length: three
    // renewals make one.
    for _ in 0..3 {
        let due = ended(Outcome::Error, Some(Timestamp::now()));
        bench.store.record(std::slice::from_ref(&due)).await.unwrap();
        assert_eq!(bench.next_published().await[0].execution, due.dispatch.execution);
    }
    store.hook().until(|slow| slow.renewals.load(Ordering::SeqCst) >= 7).await;
    let taken = bench.store.lease("scheduler/retention", "another", Duration::ZERO).await.unwrap();
    assert_eq!(taken, None, "the lease has not run out");
    assert_eq!(store.hook().begun.load(Ordering::SeqCst), 1, "it is the same call still");
    // And it goes on.
    store.hook().through.0.add_permits(1);
    store.hook().until(|slow| slow.begun.load(Ordering::SeqCst) == 2).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn work_ends_with_its_lease() {
    let bench = Bench::new().await;
    let store = Arc::new(Proxy::new(Arc::clone(&bench.store), Slow::default()));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(parts(&bench, &store), shutdown.clone()));
    store.hook().until(|slow| slow.begun.load(Ordering::SeqCst) == 1).await;
    // Somebody else has it.
    store.hook().refuse_renewal.store(true, Ordering::SeqCst);
    store.hook().until(|slow| slow.dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(store.hook().begun.load(Ordering::SeqCst), 1, "no further statement");
    // The other duties go on.
    let due = ended(Outcome::Error, Some(Timestamp::now()));
    bench.store.record(std::slice::from_ref(&due)).await.unwrap();
    assert_eq!(bench.next_published().await[0].execution, due.dispatch.execution);
    // And this one, when the lease comes back.
    store.hook().refuse_renewal.store(false, Ordering::SeqCst);
    store.hook().until(|slow| slow.begun.load(Ordering::SeqCst) == 2).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// The database stalls for longer than the lease lasts that all schedulers share: no round is lost
/// by that, unless a scheduler of the release before has taken the lease meanwhile.
#[tokio::test]
async fn work_goes_on_while_the_shared_lease_is_nobodys() {
    let bench = Bench::new().await;
    let store = Arc::new(Proxy::new(Arc::clone(&bench.store), Slow::default()));
    let shutdown = CancellationToken::new();
    let mut parts = parts(&bench, &store);
    // Its own lease is far longer.
    parts.settings.prune_interval = WAIT_TIMEOUT;
    let running = tokio::spawn(run(parts, shutdown.clone()));
    store.hook().until(|slow| slow.begun.load(Ordering::SeqCst) == 1).await;
    *store.hook().shared.lock().unwrap() = Shared::Silent;
    // No more than three of these are renewals of one that has not run out.
    store.hook().until(|slow| slow.refusals.load(Ordering::SeqCst) >= 10).await;
    assert_eq!(store.hook().dropped.load(Ordering::SeqCst), 0);
    *store.hook().shared.lock().unwrap() = Shared::Taken;
    store.hook().until(|slow| slow.dropped.load(Ordering::SeqCst) == 1).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// Another scheduler has had the duty in between: what this one knew of its history is past.
#[tokio::test]
async fn a_pass_begins_anew_with_a_new_term() {
    let bench = Bench::new().await;
    let done: Vec<_> = (0..3).map(|_| ended(Outcome::Success, None)).collect();
    bench.store.record(&done).await.unwrap();
    let store = Arc::new(Proxy::new(Arc::clone(&bench.store), Slow::default()));
    let shutdown = CancellationToken::new();
    let mut parts = parts(&bench, &store);
    parts.settings.retention = Some(Duration::ZERO);
    parts.settings.prune_batch = 1;
    let running = tokio::spawn(run(parts, shutdown.clone()));
    let slow = store.hook();
    slow.through.0.add_permits(1);
    slow.until(|slow| slow.begun.load(Ordering::SeqCst) == 2).await;
    slow.refuse_renewal.store(true, Ordering::SeqCst);
    slow.until(|slow| slow.dropped.load(Ordering::SeqCst) == 1).await;
    super::until(async || {
        let name = "scheduler/retention";
        bench.store.lease(name, "another", Duration::ZERO).await.unwrap().is_some()
    })
    .await;
    slow.refuse_renewal.store(false, Ordering::SeqCst);
    slow.until(|slow| slow.begun.load(Ordering::SeqCst) == 3).await;
    let afters = slow.afters.lock().unwrap().clone();
    assert!(matches!(afters[..], [None, Some(_), None]), "{afters:?}");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
