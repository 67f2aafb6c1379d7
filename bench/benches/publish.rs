//! The embedded broker: what a confirmed message costs, alone and in company, and what a batch
//! saves.
//!
//! Every message is 1 KB and on the disk before it is confirmed. Throughput is messages (or
//! dispatches) a second.
//!
//! `cargo bench -p wasmill-bench --bench publish`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use wasmill_broker::embedded::{EmbeddedBroker, EmbeddedSettings};
use wasmill_broker::{
    BatchPublisher, Consuming as _, Consumption, Message, PublisherSettings, Publishing as _,
    QueueName, Queues as _, Tag,
};
use wasmill_domain::{Batch, Dispatch, Event, TenantName, TraceContext};

const TASKS: u64 = 64;
const PREFETCH: u16 = 512;
/// So many messages are acknowledged at a time, as a host does that records outcomes in batches.
const ACK_BATCH: usize = 64;

struct Bench {
    broker: Arc<EmbeddedBroker>,
    queue: QueueName,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(runtime: &Runtime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let _inside = runtime.enter();
        let settings = EmbeddedSettings {
            queue_bytes: 1 << 30,
            total_bytes: 1 << 30,
            ..EmbeddedSettings::default()
        };
        let broker = Arc::new(EmbeddedBroker::open(dir.path(), settings).unwrap());
        let queue = QueueName::of_function(&TenantName::default(), &"bench".parse().unwrap());
        Self { broker, queue, _dir: dir }
    }

    /// An empty queue.
    async fn reset(&self) {
        self.broker.delete(&self.queue).await.unwrap();
        self.broker.declare(&self.queue).await.unwrap();
    }

    /// Publishes `count` messages from 64 tasks, each of which has one on its way.
    async fn publish_from_tasks(&self, count: u64) {
        let body = Bytes::from(vec![b'x'; 1024]);
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (broker, queue, body) =
                    (Arc::clone(&self.broker), self.queue.clone(), body.clone());
                tokio::spawn(async move {
                    for _ in 0..share(count, task) {
                        broker.publish(&queue, Message::new(body.clone())).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    /// Consumes until `weigh` has counted to `count`, acknowledging in batches.
    async fn consume(&self, count: u64, weigh: fn(&Message) -> u64) {
        let Consumption { mut deliveries, settle } =
            self.broker.consume(&self.queue, PREFETCH.try_into().unwrap()).await.unwrap();
        let mut seen = 0;
        let mut done: Vec<Tag> = Vec::with_capacity(ACK_BATCH);
        while seen < count {
            let delivery = deliveries.next().await.unwrap();
            seen += weigh(&delivery.message);
            done.push(delivery.tag);
            if done.len() == ACK_BATCH || seen >= count {
                settle.ack(&done).await.unwrap();
                done.clear();
            }
        }
    }
}

/// The part of `count` that falls to one of the tasks.
fn share(count: u64, task: u64) -> u64 {
    count / TASKS + u64::from(task < count % TASKS)
}

fn messages(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let bench = Bench::new(&runtime);
    let mut group = criterion.benchmark_group("embedded");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(1));

    group.bench_function("publish and confirm, one at a time", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |count| {
            bench.reset().await;
            let body = Bytes::from(vec![b'x'; 1024]);
            let start = Instant::now();
            for _ in 0..count {
                bench.broker.publish(&bench.queue, Message::new(body.clone())).await.unwrap();
            }
            start.elapsed()
        });
    });
    group.bench_function("publish and confirm, 64 tasks", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |count| {
            bench.reset().await;
            let start = Instant::now();
            bench.publish_from_tasks(count).await;
            start.elapsed()
        });
    });
    group.bench_function("publish, consume and ack, 64 tasks", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |count| {
            bench.reset().await;
            let start = Instant::now();
            tokio::join!(bench.publish_from_tasks(count), bench.consume(count, |_| 1));
            start.elapsed()
        });
    });
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let bench = Bench::new(&runtime);
    let publisher =
        BatchPublisher::new(Arc::clone(&bench.broker) as _, PublisherSettings::default());
    let mut group = criterion.benchmark_group("batches");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(1));

    group.bench_function("publish and confirm, one at a time", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |count| {
            bench.reset().await;
            let start = Instant::now();
            for _ in 0..count {
                publisher.publish(dispatch()).await.unwrap();
            }
            start.elapsed()
        });
    });
    group.bench_function("publish, consume, decode and ack, 64 tasks", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |count| {
            bench.reset().await;
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let publisher = publisher.clone();
                    tokio::spawn(async move {
                        for _ in 0..share(count, task) {
                            publisher.publish(dispatch()).await.unwrap();
                        }
                    })
                })
                .collect();
            bench
                .consume(count, |message| {
                    Batch::decode(&message.body).unwrap().dispatches().len() as u64
                })
                .await;
            for task in tasks {
                task.await.unwrap();
            }
            start.elapsed()
        });
    });
    group.finish();
}

fn dispatch() -> Dispatch {
    let event =
        Event::new("1", "/bench", "bench.event".parse().unwrap(), vec![b'x'; 1024]).unwrap();
    Dispatch::new(
        TenantName::default(),
        "bench".parse().unwrap(),
        TraceContext::new_root(),
        Arc::new(event),
    )
    .with_max_attempts(3)
}

criterion_group!(benches, messages, batches);
criterion_main!(benches);
