//! Random operations, compared with a simple model.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use proptest::prelude::*;

use super::{consume, copy_of, next, open, publish, queue, settled, small, text, until};
use crate::embedded::{EmbeddedBroker, EmbeddedSettings};
use crate::port::{Consumption, Depth, Publishing as _, QueueName, Queues as _, Tag};

const QUEUES: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Publish {
        queue: usize,
        length: usize,
    },
    Consume {
        queue: usize,
        prefetch: u16,
    },
    /// Receives what the consumer may have, up to so many.
    Take {
        queue: usize,
        most: usize,
    },
    Ack {
        queue: usize,
        which: usize,
    },
    Release {
        queue: usize,
        which: usize,
    },
    DropDeliveries {
        queue: usize,
    },
    DropConsumer {
        queue: usize,
    },
    Delete {
        queue: usize,
    },
    Close,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    prop_oneof![
        12 => (queue.clone(), 0..600_usize).prop_map(|(queue, length)| Op::Publish { queue, length }),
        3 => (queue.clone(), 1..5_u16).prop_map(|(queue, prefetch)| Op::Consume { queue, prefetch }),
        8 => (queue.clone(), 1..5_usize).prop_map(|(queue, most)| Op::Take { queue, most }),
        8 => (queue.clone(), 0..5_usize).prop_map(|(queue, which)| Op::Ack { queue, which }),
        4 => (queue.clone(), 0..5_usize).prop_map(|(queue, which)| Op::Release { queue, which }),
        1 => queue.clone().prop_map(|queue| Op::DropDeliveries { queue }),
        2 => queue.clone().prop_map(|queue| Op::DropConsumer { queue }),
        1 => queue.prop_map(|queue| Op::Delete { queue }),
        1 => Just(Op::Close),
        2 => Just(Op::Crash),
    ]
}

/// A message: its number, which is also its order, and how often it was delivered out.
type Delivered = (u32, u32);

/// A queue as it should be.
#[derive(Default)]
struct Model {
    ready: BTreeMap<u32, u32>,
    consumer: Option<ModelConsumer>,
}

struct ModelConsumer {
    prefetch: usize,
    flowing: bool,
    /// On the way to the consumer.
    coming: VecDeque<Delivered>,
    taken: Vec<(Delivered, Tag)>,
    real: Consumption,
}

impl Model {
    fn deliver(&mut self) {
        let Some(consumer) = &mut self.consumer else { return };
        while consumer.flowing && consumer.coming.len() + consumer.taken.len() < consumer.prefetch {
            let Some((number, count)) = self.ready.pop_first() else { break };
            consumer.coming.push_back((number, count + 1));
        }
    }

    /// Nobody consumes any more.
    fn end_consumer(&mut self) -> Option<Consumption> {
        let consumer = self.consumer.take()?;
        self.ready.extend(consumer.coming);
        self.ready.extend(consumer.taken.into_iter().map(|(delivered, _)| delivered));
        Some(consumer.real)
    }

    fn depth(&self) -> Depth {
        let unacked = self
            .consumer
            .as_ref()
            .map_or(0, |consumer| consumer.coming.len() + consumer.taken.len());
        Depth { ready: self.ready.len() as u64, unacked: unacked as u64 }
    }
}

struct World {
    dir: tempfile::TempDir,
    broker: EmbeddedBroker,
    names: Vec<QueueName>,
    models: Vec<Model>,
    next: u32,
}

fn settings() -> EmbeddedSettings {
    EmbeddedSettings { compact_bytes: 1_000, ..small() }
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = open(dir.path(), settings());
        let names: Vec<QueueName> = (0..QUEUES).map(|number| queue(&number.to_string())).collect();
        for name in &names {
            broker.declare(name).await.unwrap();
        }
        let models = (0..QUEUES).map(|_| Model::default()).collect();
        Self { dir, broker, names, models, next: 0 }
    }

    async fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish { queue, length } => {
                publish(&self.broker, &self.names[queue], &format!("{:0length$}", self.next)).await;
                self.models[queue].ready.insert(self.next, 0);
                self.next += 1;
            }
            Op::Consume { queue, prefetch } => self.consume(queue, prefetch).await,
            Op::Take { queue, most } => self.take(queue, most).await,
            Op::Ack { queue, which } => self.settle(queue, which, true).await,
            Op::Release { queue, which } => self.settle(queue, which, false).await,
            Op::DropDeliveries { queue } => self.drop_deliveries(queue),
            Op::DropConsumer { queue } => drop(self.models[queue].end_consumer()),
            Op::Delete { queue } => {
                self.broker.delete(&self.names[queue]).await.unwrap();
                if let Some(mut consumer) =
                    self.models[queue].consumer.take().filter(|consumer| consumer.flowing)
                {
                    assert!(consumer.real.deliveries.next().await.is_none());
                }
                self.models[queue] = Model::default();
                self.broker.declare(&self.names[queue]).await.unwrap();
            }
            Op::Close => {
                self.broker.close().await;
                let dir = copy_of(self.dir.path());
                self.go_on_in(dir);
            }
            Op::Crash => {
                settled(&self.broker).await;
                let dir = copy_of(self.dir.path());
                self.go_on_in(dir);
            }
        }
        self.agree().await;
    }

    async fn consume(&mut self, queue: usize, prefetch: u16) {
        if self.models[queue].consumer.is_none() {
            let real = consume(&self.broker, &self.names[queue], prefetch).await;
            let (coming, taken) = (VecDeque::new(), Vec::new());
            let prefetch = usize::from(prefetch);
            self.models[queue].consumer =
                Some(ModelConsumer { prefetch, flowing: true, coming, taken, real });
        }
    }

    async fn take(&mut self, queue: usize, most: usize) {
        let Some(consumer) = &mut self.models[queue].consumer else { return };
        for _ in 0..most.min(consumer.coming.len()) {
            let (number, count) = consumer.coming.pop_front().unwrap();
            let delivery = next(&mut consumer.real).await;
            assert_eq!(
                (text(&delivery).parse::<u32>().unwrap(), delivery.redeliveries),
                (number, count - 1)
            );
            consumer.taken.push(((number, count), delivery.tag));
        }
    }

    async fn settle(&mut self, queue: usize, which: usize, ack: bool) {
        let model = &mut self.models[queue];
        let Some(consumer) = model.consumer.as_mut().filter(|consumer| !consumer.taken.is_empty())
        else {
            return;
        };
        let ((number, count), tag) = consumer.taken.remove(which % consumer.taken.len());
        if ack {
            consumer.real.settle.ack(&[tag]).await.unwrap();
        } else {
            consumer.real.settle.release(&[tag]).await.unwrap();
            model.ready.insert(number, count);
        }
    }

    fn drop_deliveries(&mut self, queue: usize) {
        let model = &mut self.models[queue];
        if let Some(consumer) = &mut model.consumer {
            // Something that gives nothing takes their place.
            consumer.real.deliveries = Box::new(Nothing);
            consumer.flowing = false;
            model.ready.extend(consumer.coming.drain(..));
        }
    }

    /// The same queues, in a copy of the directory: nobody consumes there yet.
    fn go_on_in(&mut self, dir: tempfile::TempDir) {
        for model in &mut self.models {
            drop(model.end_consumer());
        }
        self.broker = open(dir.path(), settings());
        self.dir = dir;
    }

    async fn agree(&mut self) {
        for (model, name) in self.models.iter_mut().zip(&self.names) {
            model.deliver();
            let (broker, wanted) = (&self.broker, model.depth());
            until(&format!("{name} is {wanted:?} deep"), async || {
                broker.depth(name).await.unwrap() == wanted
            })
            .await;
        }
    }

    /// Everything that should be there is, in order.
    async fn finish(mut self) {
        self.apply(&Op::Crash).await;
        for queue in 0..QUEUES {
            self.apply(&Op::Consume { queue, prefetch: 1_000 }).await;
            self.apply(&Op::Take { queue, most: 1_000 }).await;
            assert!(self.models[queue].ready.is_empty());
        }
        assert_bounded(self.dir.path());
    }
}

fn assert_bounded(dir: &Path) {
    // At most some 60 messages of 728 bytes are alive.
    assert!(super::disk_use(dir) < 2 * 60 * 728 + 5 * 4_096);
}

struct Nothing;

#[async_trait::async_trait]
impl crate::port::Deliveries for Nothing {
    async fn next(&mut self) -> Option<crate::port::Delivery> {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for op in &ops {
                world.apply(op).await;
            }
            world.finish().await;
        });
    }
}
