//! A queue that does not answer: it holds up nobody else's executions, and none of them is
//! published twice for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmill_broker::embedded::EmbeddedBroker;
use wasmill_broker::{
    BatchPublisher, Message, PendingReply, PublisherSettings, Publishing, QueueName, Queues as _,
};
use wasmill_domain::{Dispatch, Outcome, Timestamp};
use wasmill_store::{Agenda as _, Finished, Ledger as _, Publication};

use super::{
    Bench, WAIT_TIMEOUT, dispatch, dispatch_to, ended, next_batch, queue, settings, until,
};
use crate::duties;
use crate::{SchedulerParts, SchedulerSettings, SchedulerStore, run};

/// Publishes to the queue `stuck` wait for a permit.
struct OneHangs {
    inner: Arc<EmbeddedBroker>,
    through: Semaphore,
    stuck: AtomicUsize,
    others: AtomicUsize,
}

impl OneHangs {
    fn new(bench: &Bench) -> Arc<Self> {
        let (stuck, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let inner = Arc::clone(&bench.broker);
        Arc::new(Self { inner, through: Semaphore::new(0), stuck, others })
    }

    fn parts(self: &Arc<Self>, bench: &Bench, settings: SchedulerSettings) -> SchedulerParts {
        let publisher = BatchPublisher::new(Arc::clone(self) as _, PublisherSettings::default());
        SchedulerParts { store: SchedulerStore::of(&bench.store), publisher, settings }
    }
}

#[async_trait]
impl Publishing for OneHangs {
    async fn declare(&self, queue: &QueueName) -> wasmill_broker::Result<()> {
        self.inner.declare(queue).await
    }

    async fn publish(&self, to: &QueueName, message: Message) -> wasmill_broker::Result<()> {
        if *to == queue("stuck") {
            self.stuck.fetch_add(1, Ordering::SeqCst);
            self.through.acquire().await.unwrap().forget();
        } else {
            self.others.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.publish(to, message).await
    }

    async fn request(
        &self,
        queue: &QueueName,
        message: Message,
    ) -> wasmill_broker::Result<PendingReply> {
        self.inner.request(queue, message).await
    }
}

/// Nobody gives up a publish.
fn patient() -> SchedulerSettings {
    SchedulerSettings { publish_timeout: WAIT_TIMEOUT * 10, ..settings() }
}

fn due(dispatch: &Dispatch) -> Finished {
    Finished { dispatch: dispatch.clone(), ..ended(Outcome::Error, Some(Timestamp::now())) }
}

/// The functions whose executions are in the outbox.
async fn left(bench: &Bench) -> Vec<String> {
    let entries = bench.store.outbox(Timestamp::from_micros(i64::MAX), 100).await.unwrap();
    entries.iter().map(|dispatch| dispatch.function.to_string()).collect()
}

/// As long as an entry is there, whoever reads the outbox publishes it again.
#[tokio::test]
async fn what_is_confirmed_leaves_the_outbox_before_what_is_not() {
    for is_retry in [true, false] {
        let bench = Bench::new().await;
        let (stuck, free) = (dispatch_to("stuck"), dispatch());
        if is_retry {
            bench.store.record(&[due(&stuck), due(&free)]).await.unwrap();
        } else {
            bench.store.enqueue(&[stuck, free], Publication::Pending).await.unwrap();
        }
        let broker = OneHangs::new(&bench);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(run(broker.parts(&bench, patient()), shutdown.clone()));
        until(async || left(&bench).await == ["stuck"]).await;
        shutdown.cancel();
        running.await.unwrap().unwrap();
        // To an embedded queue that is not there yet a message is published twice.
        assert!(broker.others.load(Ordering::SeqCst) <= 2);
        assert_eq!(next_batch(&bench.broker, "total").await.len(), 1);
        assert_eq!(bench.broker.depth(&queue("total")).await.unwrap().ready, 0, "{is_retry}");
    }
}

/// What is due meanwhile is published, though nobody gives up the first one.
#[tokio::test]
async fn a_queue_that_hangs_delays_no_retry_of_others() {
    let bench = Bench::new().await;
    bench.store.record(&[due(&dispatch_to("stuck"))]).await.unwrap();
    let broker = OneHangs::new(&bench);
    let shutdown = CancellationToken::new();
    // What is due is published by one duty alone.
    let alone = SchedulerSettings { grace: WAIT_TIMEOUT, ..patient() };
    let running = tokio::spawn(run(broker.parts(&bench, alone), shutdown.clone()));
    until(async || broker.stuck.load(Ordering::SeqCst) > 0).await;
    for _ in 0..3 {
        let later = dispatch();
        bench.store.record(&[due(&later)]).await.unwrap();
        assert_eq!(bench.next_published().await[0].execution, later.execution);
    }
    until(async || left(&bench).await == ["stuck"]).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// More of the oldest entries than one batch has are those of the queue that hangs.
#[tokio::test]
async fn the_outbox_is_swept_past_a_queue_that_hangs() {
    let bench = Bench::new().await;
    let all: Vec<Dispatch> = (0..6).map(|_| dispatch_to("stuck")).collect();
    bench.store.enqueue(&all, Publication::Pending).await.unwrap();
    let free = dispatch();
    bench.store.enqueue(std::slice::from_ref(&free), Publication::Pending).await.unwrap();
    let broker = OneHangs::new(&bench);
    let narrow = SchedulerSettings {
        batch: 2,
        publish_timeout: Duration::from_millis(100),
        max_backoff: Duration::from_millis(20),
        ..settings()
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run(broker.parts(&bench, narrow), shutdown.clone()));
    assert_eq!(bench.next_published().await[0].execution, free.execution);
    until(async || left(&bench).await.iter().all(|function| function == "stuck")).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// A scheduler that ends notes what is confirmed just then.
#[tokio::test]
async fn what_is_under_way_is_brought_to_an_end() {
    let bench = Bench::new().await;
    bench.store.record(&[due(&dispatch_to("stuck"))]).await.unwrap();
    let broker = OneHangs::new(&bench);
    let mut all = duties::all(&broker.parts(&bench, patient()));
    let duty = all.iter_mut().find(|duty| duty.name() == "due").unwrap();
    duty.round().await.unwrap();
    assert_eq!(left(&bench).await, ["stuck"]);
    // Twice: the queue is declared in between.
    broker.through.add_permits(2);
    // It is not waited for in vain.
    tokio::time::timeout(WAIT_TIMEOUT, duty.finish()).await.unwrap().unwrap();
    assert!(left(&bench).await.is_empty());
}
