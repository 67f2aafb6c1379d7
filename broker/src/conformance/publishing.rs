//! What happens to what is published.

use std::sync::Arc;

use super::support::{
    QUEUE_MAX_BATCHES, consume, depth_becomes, in_time, next, no_delivery, numbered, publish,
    queue, take,
};
use crate::conformance::Broker;
use crate::port::{BrokerError, Message};

pub(super) async fn what_is_published_comes_out_in_order(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..300)).await;
    let (mut deliveries, settle) = consume(&broker, &queue, 50).await;
    for start in (0..300).step_by(50) {
        let (bodies, tags) = take(&mut deliveries, 50).await;
        assert_eq!(bodies, numbered(start..start + 50));
        settle.ack(&tags).await.unwrap();
    }
    depth_becomes(&broker, &queue, 0, 0).await;
}

pub(super) async fn contents_arrive_as_they_were(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let headers =
        vec![("traceparent".to_owned(), "00-ab-cd-01".to_owned()), ("ü".to_owned(), String::new())];
    let message = Message { body: (0..=255).collect::<Vec<u8>>().into(), headers, reply_to: None };
    in_time(broker.publish(&queue, message.clone())).await.unwrap();
    in_time(broker.publish(&queue, Message::default())).await.unwrap();
    let (mut deliveries, _settle) = consume(&broker, &queue, 2).await;
    let first = next(&mut deliveries).await;
    assert_eq!(first.redeliveries, 0);
    assert_eq!(first.message, message);
    assert_eq!(next(&mut deliveries).await.message, Message::default());
}

pub(super) async fn large_messages_arrive(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let bodies: Vec<Vec<u8>> =
        (0..4).map(|seed| (0..1_048_576).map(|at: u32| (at * 31 + seed) as u8).collect()).collect();
    for body in &bodies {
        in_time(broker.publish(&queue, Message::new(body.clone()))).await.unwrap();
    }
    let (mut deliveries, _settle) = consume(&broker, &queue, 4).await;
    for body in &bodies {
        assert!(next(&mut deliveries).await.message.body == *body, "the body arrived altered");
    }
}

pub(super) async fn publishers_at_once_keep_their_own_order(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (broker, queue) = (Arc::clone(&broker), queue.clone());
            let bodies: Vec<String> =
                (0..100).map(|number| format!("{publisher} {number}")).collect();
            tokio::spawn(async move { publish(&broker, &queue, bodies).await })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let (mut deliveries, _settle) = consume(&broker, &queue, 800).await;
    let (bodies, _) = take(&mut deliveries, 800).await;
    for publisher in 0..8 {
        let prefix = format!("{publisher} ");
        let own: Vec<&str> = bodies.iter().filter_map(|body| body.strip_prefix(&prefix)).collect();
        assert_eq!(own, numbered(0..100), "publisher {publisher}");
    }
}

pub(super) async fn publishes_in_flight_keep_the_order_they_began_in(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    // Polled once each, in order, before any is awaited.
    let mut under_way = Vec::new();
    for body in numbered(0..64) {
        let (broker, queue) = (Arc::clone(&broker), queue.clone());
        let mut publish = Box::pin(async move { broker.publish(&queue, Message::new(body)).await });
        let begun =
            std::future::poll_fn(|context| std::task::Poll::Ready(publish.as_mut().poll(context)))
                .await;
        match begun {
            std::task::Poll::Ready(result) => result.unwrap(),
            std::task::Poll::Pending => under_way.push(publish),
        }
    }
    for publish in under_way.into_iter().rev() {
        in_time(publish).await.unwrap();
    }
    let (mut deliveries, _settle) = consume(&broker, &queue, 64).await;
    assert_eq!(take(&mut deliveries, 64).await.0, numbered(0..64));
}

pub(super) async fn queues_do_not_mind_each_other(broker: Arc<dyn Broker>) {
    let mut queues = Vec::new();
    for _ in 0..50 {
        queues.push(queue(&broker).await);
    }
    for body in numbered(0..4) {
        for queue in &queues {
            publish(&broker, queue, [format!("{queue} {body}")]).await;
        }
    }
    // A consumer that holds all it may stops nobody else.
    let (mut stuck, _held) = consume(&broker, &queues[0], 1).await;
    next(&mut stuck).await;
    for queue in &queues[1..] {
        let (mut deliveries, settle) = consume(&broker, queue, 4).await;
        let (bodies, tags) = take(&mut deliveries, 4).await;
        assert_eq!(
            bodies,
            numbered(0..4).iter().map(|body| format!("{queue} {body}")).collect::<Vec<_>>()
        );
        settle.ack(&tags).await.unwrap();
    }
    depth_becomes(&broker, &queues[0], 3, 1).await;
}

pub(super) async fn a_full_queue_refuses_and_takes_again(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let mut taken = 0;
    loop {
        match in_time(broker.publish(&queue, Message::new(taken.to_string()))).await {
            Ok(()) => taken += 1,
            Err(BrokerError::Full(full)) => {
                assert_eq!(full, queue);
                break;
            }
            Err(other) => panic!("{other}"),
        }
        // Some brokers count a little late.
        assert!(taken <= 2 * QUEUE_MAX_BATCHES, "the queue takes more than it should");
    }
    assert!(taken >= QUEUE_MAX_BATCHES, "the queue takes {taken} messages");
    // RabbitMQ's quorum queues take again when a fifth is gone.
    let (mut deliveries, settle) = consume(&broker, &queue, 500).await;
    let (_, tags) = take(&mut deliveries, 500).await;
    settle.ack(&tags).await.unwrap();
    let taken_again = async {
        while let Err(error) = broker.publish(&queue, Message::new("again")).await {
            assert!(matches!(error, BrokerError::Full(_)), "{error}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    in_time(taken_again).await;
}

pub(super) async fn no_queue_is_an_error(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    in_time(broker.delete(&queue)).await.unwrap();
    in_time(broker.delete(&queue)).await.unwrap();
    let is_no_queue =
        |error: BrokerError| matches!(error, BrokerError::NoQueue(name) if name == queue);
    assert!(is_no_queue(in_time(broker.publish(&queue, Message::new("x"))).await.unwrap_err()));
    assert!(is_no_queue(in_time(broker.request(&queue, Message::new("x"))).await.err().unwrap()));
    assert!(is_no_queue(
        in_time(broker.consume(&queue, 1.try_into().unwrap())).await.err().unwrap()
    ));
    assert!(is_no_queue(in_time(broker.depth(&queue)).await.unwrap_err()));
    // The broker is as well as before.
    in_time(broker.ping()).await.unwrap();
    in_time(broker.declare(&queue)).await.unwrap();
    publish(&broker, &queue, numbered(0..1)).await;
    depth_becomes(&broker, &queue, 1, 0).await;
}

pub(super) async fn declaring_twice_changes_nothing(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    publish(&broker, &queue, numbered(0..2)).await;
    in_time(broker.declare(&queue)).await.unwrap();
    depth_becomes(&broker, &queue, 2, 0).await;
    let (mut deliveries, _settle) = consume(&broker, &queue, 10).await;
    assert_eq!(take(&mut deliveries, 2).await.0, numbered(0..2));
    no_delivery(&mut deliveries).await;
}
