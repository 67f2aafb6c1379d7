//! What happens while the store or the broker is away, or will not take something.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{
    BatchPublisher, BrokerError, Message, PendingReply, PublisherSettings, Publishing, QueueName,
    Queues as _,
};
use wasmill_domain::{Dispatch, Event, EventParts, Outcome, State, TenantName, Timestamp};
use wasmill_store::sqlite::{SqliteSettings, SqliteStore};
use wasmill_store::testing::{Hook, Proxy};
use wasmill_store::{Agenda as _, History as _, Leases as _, Ledger as _, Publication};

use super::{WAIT_TIMEOUT, dispatch, dispatch_to, ended, next_batch, queue, settings, until};
use crate::{SchedulerParts, SchedulerSettings, SchedulerStore, run};

/// Passes every publish on to the broker that is there now.
struct Restart {
    now: RwLock<Arc<EmbeddedBroker>>,
    hangs: AtomicBool,
    publishes: AtomicUsize,
}

impl Restart {
    fn new(first: Arc<EmbeddedBroker>) -> Arc<Self> {
        Arc::new(Self {
            now: RwLock::new(first),
            hangs: AtomicBool::new(false),
            publishes: AtomicUsize::new(0),
        })
    }

    /// From now on no publish is answered, as where a network drops everything.
    fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    fn replace(&self, next: Arc<EmbeddedBroker>) {
        *self.now.write().unwrap() = next;
    }

    fn now(&self) -> Arc<EmbeddedBroker> {
        Arc::clone(&self.now.read().unwrap())
    }
}

#[async_trait]
impl Publishing for Restart {
    async fn declare(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.now().declare(queue).await
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> wasmill_broker::Result<()> {
        self.publishes.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.now().publish(queue, message).await
    }

    async fn request(
        &self,
        queue: &QueueName,
        message: Message,
    ) -> wasmill_broker::Result<PendingReply> {
        self.now().request(queue, message).await
    }
}

/// A broker that cannot be reached from here.
struct Away;

#[async_trait]
impl Publishing for Away {
    async fn declare(&self, _queue: &QueueName) -> wasmill_broker::Result<()> {
        Err(BrokerError::Unavailable("no route to it".into()))
    }

    async fn publish(&self, queue: &QueueName, _message: Message) -> wasmill_broker::Result<()> {
        self.declare(queue).await
    }

    async fn request(
        &self,
        queue: &QueueName,
        _message: Message,
    ) -> wasmill_broker::Result<PendingReply> {
        Err(self.declare(queue).await.unwrap_err())
    }
}

/// Changes nothing.
struct Nothing;

impl Hook for Nothing {}

/// Counts how often the outbox was read.
#[derive(Default)]
struct Sweeps(AtomicUsize);

#[async_trait]
impl Hook for Sweeps {
    async fn before(&self, verb: &'static str) -> wasmill_store::Result<()> {
        self.0.fetch_add(usize::from(verb == "outbox"), Ordering::SeqCst);
        Ok(())
    }
}

async fn open_store(dir: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(&dir.join("db.sqlite"), SqliteSettings::default()).await.unwrap())
}

fn open_broker(dir: &Path, settings: EmbeddedSettings) -> Arc<EmbeddedBroker> {
    Arc::new(EmbeddedBroker::open(&dir.join("queue"), settings).unwrap())
}

fn parts(
    store: SchedulerStore,
    broker: Arc<dyn Publishing>,
    settings: SchedulerSettings,
) -> SchedulerParts {
    SchedulerParts {
        store,
        publisher: BatchPublisher::new(broker, PublisherSettings::default()),
        settings,
    }
}

/// Tries often, so that an outage is met many times over.
fn impatient() -> SchedulerSettings {
    SchedulerSettings { max_backoff: Duration::from_millis(20), ..settings() }
}

async fn is_empty(store: &SqliteStore) -> bool {
    store.outbox(Timestamp::from_micros(i64::MAX), 1).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_store_may_be_away() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_store(dir.path()).await;
    let accepted = dispatch();
    first.enqueue(std::slice::from_ref(&accepted), Publication::Pending).await.unwrap();
    first.close().await;
    let store = Arc::new(Proxy::new(first, Nothing));
    let broker = open_broker(dir.path(), EmbeddedSettings::default());
    let shutdown = CancellationToken::new();
    let all = parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, impatient());
    let running = tokio::spawn(run(all, shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.replace(open_store(dir.path()).await);
    assert_eq!(next_batch(&broker, "total").await[0].execution, accepted.execution);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_may_be_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path()).await;
    let first = open_broker(dir.path(), EmbeddedSettings::default());
    first.close().await;
    let broker = Restart::new(Arc::clone(&first));
    let all: Vec<Dispatch> = (0..5).map(|_| dispatch()).collect();
    store.enqueue(&all, Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(
        parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, impatient()),
        shutdown.clone(),
    ));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!is_empty(&store).await, "nothing is taken out that is not confirmed");
    drop(first);
    let elsewhere = dir.path().join("elsewhere");
    let second = open_broker(&elsewhere, EmbeddedSettings::default());
    broker.replace(Arc::clone(&second));
    until(async || is_empty(&store).await).await;
    assert_eq!(next_batch(&second, "total").await[0].execution, all[0].execution);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// It reaches the store, so it can renew its leases; but not the broker.
#[tokio::test]
async fn a_scheduler_whose_rounds_fail_leaves_them_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path()).await;
    let broker = open_broker(dir.path(), EmbeddedSettings::default());
    let of = |holder: &str| SchedulerSettings { holder: holder.into(), ..impatient() };
    // The one that fails has the duty first.
    let hour = Duration::from_secs(3600);
    assert!(store.lease("scheduler/outbox", "fails", hour).await.unwrap().is_some());
    let left = dispatch();
    store.enqueue(std::slice::from_ref(&left), Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let fails = parts(SchedulerStore::of(&store), Arc::new(Away), of("fails"));
    let works = parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, of("works"));
    let both = [fails, works].map(|parts| tokio::spawn(run(parts, shutdown.clone())));
    assert_eq!(next_batch(&broker, "total").await[0].execution, left.execution);
    until(async || is_empty(&store).await).await;
    shutdown.cancel();
    for scheduler in both {
        scheduler.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_hangs_does_not_keep_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path()).await;
    let broker = Restart::new(open_broker(dir.path(), EmbeddedSettings::default()));
    broker.hang();
    store.enqueue(&[dispatch()], Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let for_ever = SchedulerSettings { lease: Duration::from_secs(86_400), ..settings() };
    let all = parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, for_ever);
    let running = tokio::spawn(run(all, shutdown.clone()));
    let lease = async || store.lease("scheduler/outbox", "another", Duration::ZERO).await.unwrap();
    until(async || lease().await.is_none()).await;
    shutdown.cancel();
    tokio::time::timeout(WAIT_TIMEOUT, running).await.unwrap().unwrap().unwrap();
    assert!(lease().await.is_some());
    assert!(!is_empty(&store).await);
}

#[tokio::test]
async fn a_retry_whose_publish_takes_long_is_published_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Proxy::new(open_store(dir.path()).await, Sweeps::default()));
    let broker = Restart::new(open_broker(dir.path(), EmbeddedSettings::default()));
    broker.hang();
    let due = ended(Outcome::Error, Some(Timestamp::now()));
    store.inner().record(&[due]).await.unwrap();
    let shutdown = CancellationToken::new();
    let all = parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, settings());
    let running = tokio::spawn(run(all, shutdown.clone()));
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    until(async || count(&broker.publishes) > 0).await;
    // While it takes long, the outbox is read again and again.
    let sweeps = &store.hook().0;
    let enough = count(sweeps) + 3;
    until(async || count(sweeps) >= enough || count(&broker.publishes) > 1).await;
    assert_eq!(count(&broker.publishes), 1);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_queue_delays_only_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path()).await;
    let broker = open_broker(
        dir.path(),
        EmbeddedSettings { queue_max_batches: 1, ..EmbeddedSettings::default() },
    );
    let publisher = BatchPublisher::new(Arc::clone(&broker) as _, PublisherSettings::default());
    let stuck: Vec<Dispatch> = (0..9).map(|_| dispatch_to("stuck")).collect();
    publisher.publish(stuck[0].clone()).await.unwrap();
    // The older entries are those of the queue that is full, and more of them than one batch has.
    store.enqueue(&stuck[1..], Publication::Pending).await.unwrap();
    let free = dispatch();
    store.enqueue(std::slice::from_ref(&free), Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let narrow = SchedulerSettings { batch: 2, ..settings() };
    let running = tokio::spawn(run(
        parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, narrow),
        shutdown.clone(),
    ));
    assert_eq!(next_batch(&broker, "total").await[0].execution, free.execution);
    let mut taken = 0;
    while taken < stuck.len() {
        taken += next_batch(&broker, "stuck").await.len();
    }
    until(async || is_empty(&store).await).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_can_never_be_sent_fails() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path()).await;
    let broker = open_broker(
        dir.path(),
        EmbeddedSettings { message_bytes: 100 << 10, ..EmbeddedSettings::default() },
    );
    let mut large = dispatch();
    let data = Bytes::from(format!("\"{}\"", "x".repeat(200 << 10)));
    let larger = EventParts { data: Some(data), ..Event::clone(&large.event).into_parts() };
    large.event = Arc::new(larger.check().unwrap());
    // They would share a batch.
    let all = [dispatch(), large.clone(), dispatch()];
    store.enqueue(&all, Publication::Pending).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(
        parts(SchedulerStore::of(&store), Arc::clone(&broker) as _, settings()),
        shutdown.clone(),
    ));
    until(async || is_empty(&store).await).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    let summary =
        store.execution(&TenantName::default(), large.execution).await.unwrap().unwrap().summary;
    assert_eq!((summary.state, summary.outcome), (State::Failed, Some(Outcome::Rejected)));
    assert!(
        summary.message.as_deref().is_some_and(|text| text.contains("could not be sent")),
        "{summary:?}"
    );
    for other in [&all[0], &all[2]] {
        let summary = store
            .execution(&TenantName::default(), other.execution)
            .await
            .unwrap()
            .unwrap()
            .summary;
        assert_eq!(summary.state, State::Queued);
    }
    let mut sent = Vec::new();
    while broker.depth(&queue("total")).await.unwrap().ready > 0 {
        sent.extend(
            next_batch(&broker, "total").await.into_iter().map(|dispatch| dispatch.execution),
        );
    }
    assert_eq!(sent, [all[0].execution, all[2].execution]);
}
