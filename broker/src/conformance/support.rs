//! What the tests share.

use std::future::Future;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::conformance::Broker;
use crate::port::{Consumption, Deliveries, Delivery, Depth, Message, QueueName, Settle, Tag};

/// The brokers under test take so many messages into a queue, and answer the next one with
/// [`Error::Full`](crate::BrokerError::Full).
pub(crate) const QUEUE_MAX_BATCHES: u64 = 1_000;

/// What a broker knows of earlier deliveries of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redeliveries {
    /// How many there were, as the port wants it.
    Counted,
    /// Only whether there was any: 1 stands for one and more. So do classic queues of RabbitMQ.
    Marked,
}

impl Redeliveries {
    /// What [`Delivery::redeliveries`] is after so many deliveries.
    pub(super) fn after(self, deliveries: u32) -> u32 {
        match self {
            Self::Counted => deliveries,
            Self::Marked => deliveries.min(1),
        }
    }
}

/// How long anything may take before a test gives up.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a test waits where nothing may happen. A broker that does as the port says never fails
/// by it, however slow it is.
pub(super) const QUIET_TIME: Duration = Duration::from_millis(150);

/// A queue that no other test has.
pub(super) async fn queue(broker: &Arc<dyn Broker>) -> QueueName {
    let name: QueueName = format!("conformance.{}", Uuid::new_v4()).parse().unwrap();
    broker.declare(&name).await.unwrap();
    name
}

/// Publishes messages with these texts as bodies.
pub(super) async fn publish(
    broker: &Arc<dyn Broker>,
    queue: &QueueName,
    bodies: impl IntoIterator<Item = String>,
) {
    for body in bodies {
        in_time(broker.publish(queue, Message::new(body))).await.unwrap();
    }
}

/// A consumer with its halves apart.
pub(super) async fn consume(
    broker: &Arc<dyn Broker>,
    queue: &QueueName,
    prefetch: u16,
) -> (Box<dyn Deliveries>, Arc<dyn Settle>) {
    let prefetch = NonZeroU16::new(prefetch).unwrap();
    let Consumption { deliveries, settle } =
        in_time(broker.consume(queue, prefetch)).await.unwrap();
    (deliveries, settle)
}

pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("the broker takes too long")
}

pub(super) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    in_time(deliveries.next()).await.expect("the consumer has ended")
}

/// The next `count` deliveries: the bodies as text, and the tags.
pub(super) async fn take(
    deliveries: &mut Box<dyn Deliveries>,
    count: usize,
) -> (Vec<String>, Vec<Tag>) {
    let mut taken = (Vec::new(), Vec::new());
    for _ in 0..count {
        let delivery = next(deliveries).await;
        taken.0.push(text(&delivery));
        taken.1.push(delivery.tag);
    }
    taken
}

pub(super) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Nothing is delivered.
pub(super) async fn no_delivery(deliveries: &mut Box<dyn Deliveries>) {
    let next = tokio::time::timeout(QUIET_TIME, deliveries.next()).await;
    assert!(next.is_err(), "{next:?} was delivered, and nothing should have been");
}

/// Waits until a queue is so deep.
pub(super) async fn depth_becomes(
    broker: &Arc<dyn Broker>,
    queue: &QueueName,
    ready: u64,
    unacked: u64,
) {
    let wanted = Depth { ready, unacked };
    let reached = async {
        while broker.depth(queue).await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(TIMEOUT, reached).await.is_err() {
        panic!("the depth should become {wanted:?} and is {:?}", broker.depth(queue).await);
    }
}

pub(super) fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}
