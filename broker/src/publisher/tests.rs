use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use wasmill_domain::batch::{MAX_DISPATCHES, SOFT_MAX_BYTES};
use wasmill_domain::{Batch, Event, TenantName, Timestamp, TraceContext};

use super::*;
use crate::embedded::{EmbeddedBroker, EmbeddedSettings};
use crate::port::{Consuming as _, Message, Queues as _};

const TIMEOUT: Duration = Duration::from_secs(60);

/// An embedded broker whose confirms are delayed until the test lets them through.
struct Gate {
    broker: EmbeddedBroker,
    confirms: Semaphore,
    begun: AtomicUsize,
    declared: AtomicUsize,
    _dir: tempfile::TempDir,
}

impl Gate {
    fn closed() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let settings = EmbeddedSettings { queue_max_batches: 200, ..EmbeddedSettings::default() };
        let broker = EmbeddedBroker::open(dir.path(), settings).unwrap();
        let (begun, declared) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { broker, confirms: Semaphore::new(0), begun, declared, _dir: dir })
    }

    fn open() -> Arc<Self> {
        let gate = Self::closed();
        gate.let_through(10_000);
        gate
    }

    fn let_through(&self, confirms: usize) {
        self.confirms.add_permits(confirms);
    }

    /// Waits until so many publishes have begun.
    async fn begun(&self, count: usize) {
        until(|| self.begun.load(Ordering::SeqCst) == count).await;
    }
}

#[async_trait]
impl Publishing for Gate {
    async fn declare(&self, queue: &QueueName) -> Result<()> {
        self.declared.fetch_add(1, Ordering::SeqCst);
        self.broker.declare(queue).await
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let result = self.broker.publish(queue, message).await;
        self.confirms.acquire().await.unwrap().forget();
        result
    }

    async fn request(&self, queue: &QueueName, message: Message) -> Result<PendingReply> {
        self.broker.request(queue, message).await
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, reached).await.expect("it never came true");
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("it takes too long")
}

fn publisher(gate: &Arc<Gate>) -> BatchPublisher {
    publisher_with(gate, PublisherSettings::default())
}

fn publisher_with(gate: &Arc<Gate>, settings: PublisherSettings) -> BatchPublisher {
    BatchPublisher::new(Arc::clone(gate) as _, settings)
}

fn queue() -> QueueName {
    QueueName::of_function(&TenantName::default(), &"hello".parse().unwrap())
}

/// A dispatch called `id`, with so much data.
fn dispatch(id: usize, length: usize) -> Dispatch {
    Dispatch::new(
        TenantName::default(),
        "hello".parse().unwrap(),
        TraceContext::new_root(),
        Arc::new(
            Event::new(id.to_string(), "/test", "greeting".parse().unwrap(), vec![b'x'; length])
                .unwrap(),
        ),
    )
    .with_max_attempts(3)
    .with_accepted_at(Timestamp::from_micros(1))
}

/// Begins to publish dispatches with these ids, in order.
async fn begin(
    publisher: &BatchPublisher,
    ids: std::ops::Range<usize>,
    length: usize,
) -> Vec<JoinHandle<Result<()>>> {
    let mut tasks = Vec::new();
    for id in ids {
        let mut publish = Box::pin({
            let publisher = publisher.clone();
            async move { publisher.publish(dispatch(id, length)).await }
        });
        let begun =
            std::future::poll_fn(|context| std::task::Poll::Ready(publish.as_mut().poll(context)))
                .await;
        tasks.push(match begun {
            std::task::Poll::Ready(result) => tokio::spawn(std::future::ready(result)),
            std::task::Poll::Pending => tokio::spawn(publish),
        });
    }
    tasks
}

async fn all_confirmed(tasks: Vec<JoinHandle<Result<()>>>) {
    for task in tasks {
        in_time(task).await.unwrap().unwrap();
    }
}

/// The messages in the queue, decoded: the ids in each batch.
async fn batches(gate: &Gate) -> Vec<Vec<usize>> {
    let count = gate.broker.depth(&queue()).await.unwrap().ready;
    let mut consumption = gate.broker.consume(&queue(), 1_000.try_into().unwrap()).await.unwrap();
    let mut batches = Vec::new();
    for _ in 0..count {
        let delivery = in_time(consumption.deliveries.next()).await.unwrap();
        let batch = Batch::decode(&delivery.message.body).unwrap();
        batches.push(
            batch.dispatches().iter().map(|dispatch| dispatch.event.id.parse().unwrap()).collect(),
        );
        consumption.settle.ack(&[delivery.tag]).await.unwrap();
    }
    batches
}

fn lengths(batches: &[Vec<usize>]) -> Vec<usize> {
    batches.iter().map(Vec::len).collect()
}

#[tokio::test]
async fn a_quiet_publisher_sends_single_events_at_once() {
    let gate = Gate::open();
    let publisher = publisher(&gate);
    for id in 0..5 {
        in_time(publisher.publish(dispatch(id, 10))).await.unwrap();
    }
    assert_eq!(batches(&gate).await, (0..5).map(|id| vec![id]).collect::<Vec<_>>());
    assert_eq!(gate.declared.load(Ordering::SeqCst), 1);
    // Nobody is kept for a queue that nothing happens on.
    until(|| publisher.batchers.lock().queues.is_empty()).await;
    assert_eq!(publisher.batchers.lock().weights.all(), 0);
}

#[tokio::test]
async fn dispatches_that_wait_share_a_batch() {
    let gate = Gate::closed();
    gate.declare(&queue()).await.unwrap();
    let publisher = publisher(&gate);
    let mut tasks = begin(&publisher, 0..1, 10).await;
    gate.begun(1).await;
    // Up to eight are in flight, whatever their size; the rest waits to share a batch.
    for count in 2..=8 {
        tasks.extend(begin(&publisher, count - 1..count, 10).await);
        gate.begun(count).await;
    }
    tasks.extend(begin(&publisher, 8..108, 10).await);
    gate.let_through(1);
    gate.begun(9).await;
    gate.let_through(1);
    gate.begun(10).await;
    gate.let_through(100);
    all_confirmed(tasks).await;
    let batches = batches(&gate).await;
    assert_eq!(lengths(&batches), [1, 1, 1, 1, 1, 1, 1, 1, MAX_DISPATCHES, 36]);
    assert_eq!(batches.concat(), (0..108).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes() {
    let gate = Gate::closed();
    gate.declare(&queue()).await.unwrap();
    let publisher =
        publisher_with(&gate, PublisherSettings { in_flight: 1, ..PublisherSettings::default() });
    let mut tasks = begin(&publisher, 0..1, 10).await;
    gate.begun(1).await;
    tasks.extend(begin(&publisher, 1..6, SOFT_MAX_BYTES / 2 - 1_000).await);
    // Larger than a batch should be: alone.
    tasks.extend(begin(&publisher, 6..7, 2 * SOFT_MAX_BYTES).await);
    tasks.extend(begin(&publisher, 7..9, 10).await);
    gate.let_through(100);
    all_confirmed(tasks).await;
    let depth = gate.broker.depth(&queue()).await.unwrap().ready;
    let mut consumption = gate.broker.consume(&queue(), 100.try_into().unwrap()).await.unwrap();
    for _ in 0..depth {
        let message = in_time(consumption.deliveries.next()).await.unwrap().message;
        let single = Batch::decode(&message.body).unwrap().dispatches().len() == 1;
        assert!(message.body.len() <= SOFT_MAX_BYTES || single, "{} bytes", message.body.len());
    }
    drop(consumption);
    assert_eq!(
        batches(&gate).await,
        [vec![0], vec![1, 2], vec![3, 4], vec![5], vec![6], vec![7, 8]]
    );
}

#[tokio::test]
async fn batches_say_what_they_are_and_when_they_were_queued() {
    let gate = Gate::closed();
    gate.declare(&queue()).await.unwrap();
    let publisher =
        publisher_with(&gate, PublisherSettings { in_flight: 1, ..PublisherSettings::default() });
    let mut tasks = begin(&publisher, 0..1, 10).await;
    gate.begun(1).await;
    let first = dispatch(1, 10);
    let traceparent = first.trace.to_string();
    let waiting = tokio::spawn({
        let (publisher, first) = (publisher.clone(), first.clone());
        async move { publisher.publish(first).await }
    });
    until(|| publisher.batchers.lock().queues.values().all(|batcher| batcher.waiting() == 1)).await;
    tasks.push(waiting);
    tasks.extend(begin(&publisher, 2..3, 10).await);
    let before = Timestamp::now();
    gate.let_through(10);
    all_confirmed(tasks).await;

    let mut consumption = gate.broker.consume(&queue(), 10.try_into().unwrap()).await.unwrap();
    in_time(consumption.deliveries.next()).await.unwrap();
    let message = in_time(consumption.deliveries.next()).await.unwrap().message;
    let headers =
        [("content-type", "application/vnd.wasmill.batch"), ("traceparent", &traceparent)];
    assert_eq!(message.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(message.reply_to, None);
    let batch = Batch::decode(&message.body).unwrap();
    assert_eq!(batch.dispatches().len(), 2);
    assert!(batch.dispatches().iter().all(|dispatch| dispatch.queued_at >= before));
    // All else is as it was.
    let queued_at = batch.dispatches()[0].queued_at;
    assert_eq!(batch.dispatches()[0], Dispatch { queued_at, ..first });
}

#[tokio::test]
async fn the_order_is_kept_where_the_queue_was_missing() {
    let gate = Gate::closed();
    let publisher = publisher(&gate);
    let tasks = begin(&publisher, 0..200, 10).await;
    gate.let_through(1_000);
    all_confirmed(tasks).await;
    assert_eq!(batches(&gate).await.concat(), (0..200).collect::<Vec<_>>());
    // Once for all the batches that were refused.
    assert_eq!(gate.declared.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let gate = Gate::closed();
    gate.declare(&queue()).await.unwrap();
    let settings = PublisherSettings {
        in_flight: 2,
        waiting: 10,
        waiting_bytes: 20_000,
        ..PublisherSettings::default()
    };
    let publisher = publisher_with(&gate, settings);
    let mut tasks = begin(&publisher, 0..1, 10).await;
    gate.begun(1).await;
    tasks.extend(begin(&publisher, 1..2, 10).await);
    gate.begun(2).await;
    tasks.extend(begin(&publisher, 2..12, 10).await);
    assert!(
        matches!(in_time(publisher.publish(dispatch(99, 10))).await, Err(BrokerError::Full(full)) if full == queue())
    );
    // Another function has its own count, and shares the bytes.
    let other = |length| Dispatch { function: "other".parse().unwrap(), ..dispatch(0, length) };
    assert!(matches!(in_time(publisher.publish(other(10_000))).await, Err(BrokerError::Full(_))));
    // Another tenant has what this one leaves free.
    let others = |length| {
        let tenant = "other".parse().unwrap();
        publisher.publish(Dispatch { tenant, ..dispatch(0, length) })
    };
    // Where there is no room at all, its own backlog is not why.
    assert!(matches!(in_time(others(19_000)).await, Err(BrokerError::Unavailable(_))));
    let mut others = Box::pin(others(10_000));
    let first =
        std::future::poll_fn(|context| std::task::Poll::Ready(others.as_mut().poll(context))).await;
    assert!(first.is_pending(), "{first:?}");
    gate.let_through(1_000);
    in_time(others).await.unwrap();
    all_confirmed(tasks).await;
    in_time(publisher.publish(other(10_000))).await.unwrap();
    assert_eq!(batches(&gate).await.concat(), (0..12).collect::<Vec<_>>());
    until(|| publisher.batchers.lock().queues.is_empty()).await;
    assert_eq!(publisher.batchers.lock().weights.all(), 0);
}

#[tokio::test]
async fn errors_reach_everybody_in_the_batch() {
    let gate = Gate::open();
    gate.declare(&queue()).await.unwrap();
    let publisher = publisher(&gate);
    // The queue is full at 200 messages.
    for _ in 0..200 {
        gate.publish(&queue(), Message::new("x")).await.unwrap();
    }
    for task in begin(&publisher, 0..50, 10).await {
        assert!(
            matches!(in_time(task).await.unwrap(), Err(BrokerError::Full(full)) if full == queue())
        );
    }
    gate.broker.close().await;
    for task in begin(&publisher, 0..50, 10).await {
        assert!(matches!(in_time(task).await.unwrap(), Err(BrokerError::Unavailable(_))));
    }
}

#[tokio::test]
async fn a_dropped_publish_goes_on() {
    let gate = Gate::closed();
    gate.declare(&queue()).await.unwrap();
    let publisher = publisher(&gate);
    for task in begin(&publisher, 0..20, 10).await {
        task.abort();
    }
    gate.let_through(100);
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.extend(batches(&gate).await.concat());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_is_a_batch_of_its_own() {
    let gate = Gate::open();
    let publisher = publisher(&gate);
    let before = Timestamp::now();
    let pending = in_time(publisher.request(dispatch(7, 10))).await.unwrap();
    let mut consumption = gate.broker.consume(&queue(), 10.try_into().unwrap()).await.unwrap();
    let delivery = in_time(consumption.deliveries.next()).await.unwrap();
    let batch = Batch::decode(&delivery.message.body).unwrap();
    assert_eq!((batch.dispatches().len(), batch.dispatches()[0].event.id.as_str()), (1, "7"));
    assert!(batch.dispatches()[0].queued_at >= before);
    gate.broker.reply(&delivery.message.reply_to.unwrap(), Bytes::new()).await.unwrap();
    assert_eq!(pending.wait(TIMEOUT).await.unwrap(), "");
}
