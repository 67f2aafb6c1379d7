//! What happens to what is consumed.

use std::sync::Arc;
use std::time::Duration;

use super::support::{
    Redeliveries, consume, depth_becomes, in_time, next, no_delivery, numbered, publish, queue,
    take, text,
};
use crate::conformance::Broker;
use crate::port::{BrokerError, Tag};

pub(super) async fn a_consumer_may_come_first(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let (mut deliveries, _settle) = consume(&broker, &queue, 10).await;
    let waiting = tokio::spawn(async move { take(&mut deliveries, 3).await.0 });
    publish(&broker, &queue, numbered(0..3)).await;
    assert_eq!(in_time(waiting).await.unwrap(), numbered(0..3));
}

pub(super) async fn no_more_than_the_prefetch_is_unacknowledged(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..10)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 3).await;
    let (bodies, tags) = take(&mut deliveries, 3).await;
    assert_eq!(bodies, numbered(0..3));
    no_delivery(&mut deliveries).await;
    depth_becomes(&broker, &queue, 7, 3).await;
    // Any one of them makes room for one.
    settle.ack(&tags[1..2]).await.unwrap();
    assert_eq!(take(&mut deliveries, 1).await.0, numbered(3..4));
    no_delivery(&mut deliveries).await;
    depth_becomes(&broker, &queue, 6, 3).await;
}

pub(super) async fn what_is_acked_is_gone(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..4)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 4).await;
    let (_, tags) = take(&mut deliveries, 4).await;
    settle.ack(&[tags[0], tags[2]]).await.unwrap();
    depth_becomes(&broker, &queue, 0, 2).await;
    drop((deliveries, settle));
    depth_becomes(&broker, &queue, 2, 0).await;
    let (mut deliveries, _settle) = consume(&broker, &queue, 4).await;
    assert_eq!(take(&mut deliveries, 2).await.0, ["1", "3"]);
    no_delivery(&mut deliveries).await;
}

pub(super) async fn what_is_released_comes_first_and_is_counted(
    broker: Arc<dyn Broker>,
    known: Redeliveries,
) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..6)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 3).await;
    let (_, tags) = take(&mut deliveries, 3).await;
    settle.release(&tags[..2]).await.unwrap();
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    assert_eq!((text(&first).as_str(), first.redeliveries), ("0", 1));
    assert_eq!((text(&second).as_str(), second.redeliveries), ("1", 1));
    settle.release(&[first.tag]).await.unwrap();
    let again = next(&mut deliveries).await;
    assert_eq!((text(&again).as_str(), again.redeliveries), ("0", known.after(2)));
    settle.ack(&[again.tag, second.tag]).await.unwrap();
    settle.ack(&tags[2..]).await.unwrap();
    for body in ["3", "4", "5"] {
        let delivery = next(&mut deliveries).await;
        assert_eq!((text(&delivery).as_str(), delivery.redeliveries), (body, 0));
        settle.ack(&[delivery.tag]).await.unwrap();
    }
    depth_becomes(&broker, &queue, 0, 0).await;
}

pub(super) async fn unknown_tags_are_ignored(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..2)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 2).await;
    let (_, tags) = take(&mut deliveries, 2).await;
    settle.ack(&tags[..1]).await.unwrap();
    // Settled before, one way and the other.
    settle.ack(&tags[..1]).await.unwrap();
    settle.release(&tags[..1]).await.unwrap();
    settle.ack(&[]).await.unwrap();
    settle.release(&[]).await.unwrap();
    // Of a delivery that is over, though the message is in hand again.
    settle.release(&tags[1..]).await.unwrap();
    let again = next(&mut deliveries).await;
    assert_ne!(again.tag, tags[1]);
    settle.ack(&tags[1..]).await.unwrap();
    depth_becomes(&broker, &queue, 0, 1).await;
    settle.ack(&[Tag(u64::MAX), again.tag]).await.unwrap();
    depth_becomes(&broker, &queue, 0, 0).await;
}

pub(super) async fn consumers_share_a_queue(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..40)).await;
    let (mut one, _hold_one) = consume(&broker, &queue, 10).await;
    let (mut two, _hold_two) = consume(&broker, &queue, 10).await;
    let mut bodies = take(&mut one, 10).await.0;
    bodies.extend(take(&mut two, 10).await.0);
    bodies.sort_unstable_by_key(|body| body.parse::<usize>().unwrap());
    assert_eq!(bodies, numbered(0..20));
    depth_becomes(&broker, &queue, 20, 20).await;
}

pub(super) async fn dropping_the_settler_requeues(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..5)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 3).await;
    let second = Arc::clone(&settle);
    let (_, tags) = take(&mut deliveries, 3).await;
    drop(settle);
    // Not the last one.
    second.ack(&tags[..1]).await.unwrap();
    assert_eq!(text(&next(&mut deliveries).await), "3");
    drop((deliveries, second));
    depth_becomes(&broker, &queue, 4, 0).await;
    let (mut deliveries, _settle) = consume(&broker, &queue, 4).await;
    for (body, redeliveries) in [("1", 1), ("2", 1), ("3", 1), ("4", 0)] {
        let delivery = next(&mut deliveries).await;
        assert_eq!((text(&delivery).as_str(), delivery.redeliveries), (body, redeliveries));
    }
}

pub(super) async fn dropping_the_deliveries_keeps_what_is_unacknowledged(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..6)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 4).await;
    let (_, tags) = take(&mut deliveries, 2).await;
    drop(deliveries);
    // What was on its way and never looked at goes back; what was taken can be settled.
    depth_becomes(&broker, &queue, 4, 2).await;
    settle.ack(&tags[..1]).await.unwrap();
    settle.release(&tags[1..]).await.unwrap();
    depth_becomes(&broker, &queue, 5, 0).await;
    // What was put back comes first, in one order or another.
    let (mut deliveries, _settle) = consume(&broker, &queue, 10).await;
    let mut put_back = take(&mut deliveries, 3).await.0;
    put_back.sort_unstable();
    assert_eq!(put_back, numbered(1..4));
    assert_eq!(take(&mut deliveries, 2).await.0, numbered(4..6));
}

pub(super) async fn a_dropped_next_loses_nothing(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 7).await;
    let publisher = {
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        tokio::spawn(async move { publish(&broker, &queue, numbered(0..300)).await })
    };
    let mut bodies = Vec::new();
    let all = async {
        while bodies.len() < 300 {
            // Dropped at the first poll that finds nothing, or after no time at all.
            let next = tokio::time::timeout(
                Duration::from_micros(bodies.len() as u64 % 3 * 50),
                deliveries.next(),
            );
            if let Ok(delivery) = next.await {
                let delivery = delivery.expect("the consumer has ended");
                bodies.push(text(&delivery));
                settle.ack(&[delivery.tag]).await.unwrap();
            }
        }
    };
    in_time(all).await;
    assert_eq!(bodies, numbered(0..300));
    publisher.await.unwrap();
    depth_becomes(&broker, &queue, 0, 0).await;
}

pub(super) async fn deleting_ends_consumers(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..3)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 1).await;
    let (_, tags) = take(&mut deliveries, 1).await;
    let ended = tokio::spawn(async move { deliveries.next().await.is_none() });
    in_time(broker.delete(&queue)).await.unwrap();
    assert!(in_time(ended).await.unwrap());
    // Too late, and no error.
    settle.ack(&tags).await.unwrap();
    assert!(matches!(broker.depth(&queue).await, Err(BrokerError::NoQueue(_))));
    // Under its name there may be another one, which is empty.
    broker.declare(&queue).await.unwrap();
    depth_becomes(&broker, &queue, 0, 0).await;
    drop(settle);
    depth_becomes(&broker, &queue, 0, 0).await;
}
