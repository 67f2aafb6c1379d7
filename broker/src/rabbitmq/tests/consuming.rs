//! Consuming.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::support::{Scope, in_time, next, numbered, text};
use crate::port::{BrokerError, Consuming as _, Control as _, Publishing as _, Queues as _, Tag};
use crate::rabbitmq::{QueueKind, RabbitBroker, RabbitSettings};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_somebody_else_deletes_ends_its_consumers() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..3)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 2).await;
    let unacked = next(&mut deliveries).await;
    in_time(scope.other().delete(&queue)).await.unwrap();
    // What was on its way may still come out.
    while let Some(delivery) = in_time(deliveries.next()).await {
        assert_eq!(text(&delivery), "1");
    }
    assert!(in_time(deliveries.next()).await.is_none());
    settle.ack(&[unacked.tag]).await.unwrap();
    let depth = scope.broker.depth(&queue).await;
    assert!(matches!(depth, Err(BrokerError::NoQueue(_))), "{depth:?}");
}

/// Settling from many sides at once, in no order: an acknowledgement for all up to a number that
/// comes too early or too late would lose messages or end the channel, and then some would come
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn settling_from_many_sides_settles_each_once() {
    const MESSAGES: usize = 4_000;
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    let publishes =
        numbered(0..MESSAGES).into_iter().map(|body| scope.broker.publish(&queue, body_of(body)));
    in_time(join_all(publishes)).await.into_iter().for_each(Result::unwrap);
    let (mut deliveries, settle) = scope.consume(&queue, 500).await;
    let taken: Arc<Mutex<Vec<Tag>>> = Arc::default();
    let settlers: Vec<_> = (0..4usize)
        .map(|side| {
            let (taken, settle) = (Arc::clone(&taken), Arc::clone(&settle));
            tokio::spawn(async move {
                loop {
                    let some = {
                        let mut taken = taken.lock().unwrap();
                        let half =
                            (0..taken.len()).filter(|at| at * 7 % 4 == side).collect::<Vec<_>>();
                        half.into_iter().rev().map(|at| taken.swap_remove(at)).collect::<Vec<_>>()
                    };
                    settle.ack(&some).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut seen = HashSet::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.redeliveries, 0);
        assert!(seen.insert(text(&delivery)));
        taken.lock().unwrap().push(delivery.tag);
    }
    scope.depth_becomes(&queue, 0, 0).await;
    settlers.iter().for_each(tokio::task::JoinHandle::abort);
    drop((deliveries, settle));
    join_all(settlers).await;
    // Nothing was put back.
    scope.depth_becomes(&queue, 0, 0).await;
}

fn body_of(body: String) -> crate::port::Message {
    crate::port::Message::new(body)
}

/// A host that dies has its messages delivered again, and counted.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_before_a_crash_count() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..1)).await;
    for crashes in 0..5 {
        let other = scope.other();
        let consumption = in_time(other.consume(&queue, NonZeroU16::MIN)).await.unwrap();
        let mut deliveries = consumption.deliveries;
        assert_eq!(next(&mut deliveries).await.redeliveries, crashes);
        in_time(other.close()).await;
        assert!(in_time(deliveries.next()).await.is_none());
    }
}

/// RabbitMQ has limits of its own for that, which would drop it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_handed_back_often_is_kept_and_counted() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..2)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 1).await;
    for times in 0..50 {
        let delivery = next(&mut deliveries).await;
        assert_eq!((text(&delivery).as_str(), delivery.redeliveries), ("0", times));
        settle.release(&[delivery.tag]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_used_as_it_is() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    let others = [
        RabbitSettings { queue_kind: QueueKind::Classic, ..RabbitSettings::default() },
        RabbitSettings { queue_max_batches: Some(5), ..RabbitSettings::default() },
        RabbitSettings { queue_max_batches: None, ..RabbitSettings::default() },
    ];
    for settings in others {
        let other = scope.other_with(settings);
        in_time(other.declare(&queue)).await.unwrap();
        in_time(other.publish(&queue, body_of("x".into()))).await.unwrap();
    }
    scope.depth_becomes(&queue, 3, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_forgets_is_refused() {
    let scope = Scope::new(RabbitSettings::default());
    let exclusive = scope.foreign_queue("exclusive").await;
    let declared = in_time(scope.broker.declare(&exclusive.queue)).await;
    assert!(
        matches!(declared, Err(BrokerError::Rejected(_) | BrokerError::Unavailable(_))),
        "{declared:?}"
    );
    let forgetful = scope.foreign_queue("auto_delete").await;
    let declared = in_time(scope.broker.declare(&forgetful.queue)).await;
    assert!(
        matches!(&declared, Err(BrokerError::Rejected(reason)) if reason.contains("does not keep")),
        "{declared:?}"
    );
    exclusive.delete().await;
    forgetful.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_consumers_and_publishers() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..2)).await;
    let other = scope.other();
    let mut consumption = in_time(other.consume(&queue, NonZeroU16::MIN)).await.unwrap();
    let unacked = next(&mut consumption.deliveries).await;
    in_time(other.close()).await;
    assert!(in_time(consumption.deliveries.next()).await.is_none());
    consumption.settle.ack(&[unacked.tag]).await.unwrap();
    let published = in_time(other.publish(&queue, body_of("x".into()))).await;
    assert!(matches!(published, Err(BrokerError::Unavailable(_))), "{published:?}");
    assert!(matches!(in_time(other.ping()).await, Err(BrokerError::Unavailable(_))));
    scope.depth_becomes(&queue, 2, 0).await;
}

/// Dropped without a word, as a process may drop it.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_broker_ends_what_it_began() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..1)).await;
    let other: RabbitBroker = scope.other();
    let mut consumption = in_time(other.consume(&queue, NonZeroU16::MIN)).await.unwrap();
    next(&mut consumption.deliveries).await;
    drop(other);
    assert!(in_time(consumption.deliveries.next()).await.is_none());
    scope.depth_becomes(&queue, 1, 0).await;
}
