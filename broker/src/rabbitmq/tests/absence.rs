//! A RabbitMQ that is stopped and started under load.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::support::{Scope, becomes, in_time, text};
use crate::port::{BrokerError, Control as _, Message, Publishing as _, QueueName, Queues as _};
use crate::rabbitmq::testing::Node;
use crate::rabbitmq::{RabbitBroker, RabbitSettings};

/// Publishes until `stop` is set; each message again until it is confirmed. Returns how many.
async fn publish(
    broker: Arc<RabbitBroker>,
    queue: QueueName,
    publisher: usize,
    load: Arc<Load>,
) -> usize {
    let mut number = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let body = format!("{publisher} {number}");
        match broker.publish(&queue, Message::new(body)).await {
            Ok(()) => {
                number += 1;
                load.confirmed.fetch_add(1, Ordering::Relaxed);
            }
            Err(BrokerError::Unavailable(_) | BrokerError::Unconfirmed(_)) => {
                load.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    number
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    confirmed: AtomicUsize,
    acked: AtomicUsize,
    /// How many publishes were refused because RabbitMQ is away.
    refused: AtomicUsize,
}

impl Load {
    /// Goes on until so many more are confirmed and acknowledged.
    async fn goes_on(&self) {
        let (confirmed, acked) =
            (self.confirmed.load(Ordering::Relaxed), self.acked.load(Ordering::Relaxed));
        becomes(async || {
            self.confirmed.load(Ordering::Relaxed) > confirmed + 1_000
                && self.acked.load(Ordering::Relaxed) > acked + 500
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_rabbitmq_goes_and_comes_back() {
    let mut node =
        tokio::task::spawn_blocking(|| Node::start("log.console = false\n", |_| {})).await.unwrap();
    let settings =
        RabbitSettings { publish_timeout: Duration::from_secs(2), ..RabbitSettings::default() };
    let scope = Scope::by(&node.address(), &node.address(), settings);
    becomes(async || scope.broker.ping().await.is_ok()).await;
    let queue = scope.queue().await;
    let load = Arc::new(Load::default());
    let publishers: Vec<_> = (0..16)
        .map(|publisher| {
            tokio::spawn(publish(
                Arc::clone(&scope.broker),
                queue.clone(),
                publisher,
                Arc::clone(&load),
            ))
        })
        .collect();
    let (mut deliveries, settle) = scope.consume(&queue, 100).await;
    let counting = Arc::clone(&load);
    let consumer = tokio::spawn(async move {
        let mut seen = HashSet::new();
        let mut tags = Vec::new();
        // It ends with the queue.
        while let Some(delivery) = deliveries.next().await {
            seen.insert(text(&delivery));
            tags.push(delivery.tag);
            if tags.len() == 10 {
                settle.ack(&tags).await.unwrap();
                counting.acked.fetch_add(tags.len(), Ordering::Relaxed);
                tags.clear();
            }
        }
        seen
    });
    load.goes_on().await;
    node.stop();
    let refused = load.refused.load(Ordering::Relaxed);
    becomes(async || load.refused.load(Ordering::Relaxed) > refused + 16).await;
    node = tokio::task::spawn_blocking(|| started_again(node)).await.unwrap();
    load.goes_on().await;
    node.kill();
    node = tokio::task::spawn_blocking(|| started_again(node)).await.unwrap();
    load.goes_on().await;
    load.stop.store(true, Ordering::Relaxed);
    let mut expected = HashSet::new();
    for (publisher, task) in publishers.into_iter().enumerate() {
        let confirmed = in_time(task).await.unwrap();
        expected.extend((0..confirmed).map(|number| format!("{publisher} {number}")));
    }
    // The last few are taken and not acknowledged: nobody else may have anything.
    becomes(async || scope.broker.depth(&queue).await.unwrap().ready == 0).await;
    in_time(scope.broker.delete(&queue)).await.unwrap();
    let seen = in_time(consumer).await.unwrap();
    let lost: Vec<_> = expected.difference(&seen).collect();
    assert!(
        lost.is_empty(),
        "{} of {} confirmed messages are lost: {lost:?}",
        lost.len(),
        expected.len()
    );
    drop(scope);
    drop(node);
}

fn started_again(mut node: Node) -> Node {
    node.start_again();
    node
}
