//! Publishing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::types::{AMQPValue, FieldTable};

use super::support::{Scope, becomes, in_time, next, text};
use crate::port::{BrokerError, Control as _, Message, Publishing as _, QueueName, Queues as _};
use crate::rabbitmq::testing::{Proxy, address};
use crate::rabbitmq::{QueueKind, RabbitBroker, RabbitSettings};

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_in_flight_are_all_confirmed() {
    let scope = Scope::new(RabbitSettings { channel_window: 300, ..RabbitSettings::default() });
    let mut queues = Vec::new();
    for _ in 0..6 {
        queues.push(scope.queue().await);
    }
    let publishers = (0..64).map(|publisher| {
        let (broker, queues) = (Arc::clone(&scope.broker), queues.clone());
        tokio::spawn(async move {
            let publishes = (0..50).map(|number| {
                let queue = &queues[(publisher + number) % queues.len()];
                broker.publish(queue, Message::new(format!("{publisher} {number}")))
            });
            join_all(publishes).await.into_iter().for_each(Result::unwrap);
        })
    });
    in_time(join_all(publishers)).await.into_iter().for_each(Result::unwrap);
    let mut seen = HashSet::new();
    for queue in &queues {
        let ready = scope.broker.depth(queue).await.unwrap().ready;
        let (mut deliveries, _settle) = scope.consume(queue, 1_000).await;
        for _ in 0..ready {
            let delivery = next(&mut deliveries).await;
            assert!(seen.insert(text(&delivery)), "{} came twice", text(&delivery));
        }
    }
    assert_eq!(seen.len(), 64 * 50);
}

/// None of them may wait for the confirm of another.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_await_their_confirms_at_a_time() {
    let proxy = Proxy::to(&address()).await;
    let settings =
        RabbitSettings { publish_timeout: Duration::from_secs(60), ..RabbitSettings::default() };
    let scope = Scope::by(&proxy.instead_of(&address()), &address(), settings);
    let queue = scope.queue().await;
    scope.publish(&queue, ["0".to_owned()]).await;
    proxy.mute(true);
    let publishes =
        (1..=800).map(|number| scope.broker.publish(&queue, Message::new(number.to_string())));
    let mut publishes = std::pin::pin!(join_all(publishes));
    // All are there, and no confirm was let through.
    let direct = scope.other();
    let arrived = becomes(async || direct.depth(&queue).await.unwrap().ready == 801);
    tokio::select! {
        biased;
        confirmed = &mut publishes => panic!("confirmed while no confirm was let through: {confirmed:?}"),
        () = arrived => {}
    }
    proxy.mute(false);
    in_time(publishes).await.into_iter().for_each(Result::unwrap);
    let (mut deliveries, _settle) = scope.consume(&queue, 801).await;
    for number in 0..=800 {
        assert_eq!(text(&next(&mut deliveries).await), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_what_the_settings_say() {
    let declare = async |scope: &Scope, queue: &QueueName, kind: &str, limit: i64| {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        if kind == "quorum" {
            // RabbitMQ 4 would drop a message at its 20th delivery.
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
        }
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(limit));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        scope.declare_raw(queue, arguments).await
    };
    for (queue_kind, right, wrong) in
        [(QueueKind::Quorum, "quorum", "classic"), (QueueKind::Classic, "classic", "quorum")]
    {
        let settings =
            RabbitSettings { queue_kind, queue_max_batches: Some(77), ..RabbitSettings::default() };
        let scope = Scope::new(settings);
        let queue = scope.queue().await;
        in_time(declare(&scope, &queue, right, 77)).await.unwrap();
        let refused = in_time(declare(&scope, &queue, right, 78)).await.unwrap_err();
        assert!(refused.to_string().contains("x-max-length"), "{refused}");
        in_time(declare(&scope, &queue, wrong, 77)).await.unwrap_err();
    }
}

/// Another process deletes a queue that is in use. No publish is confirmed falsely, and once the
/// queue is declared again all is as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_missed_and_can_be_declared_again() {
    let scope = Scope::new(RabbitSettings::default());
    let queue = scope.queue().await;
    let (mut deliveries, _settle) = scope.consume(&queue, 2).await;
    in_time(scope.other().delete(&queue)).await.unwrap();
    let missed = in_time(scope.broker.publish(&queue, Message::new("lost"))).await;
    assert!(matches!(&missed, Err(BrokerError::NoQueue(name)) if *name == queue), "{missed:?}");
    assert!(in_time(deliveries.next()).await.is_none());
    in_time(scope.broker.declare(&queue)).await.unwrap();
    let (mut deliveries, _settle) = scope.consume(&queue, 2).await;
    scope.publish(&queue, ["found".to_owned()]).await;
    assert_eq!(text(&next(&mut deliveries).await), "found");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_queue_are_told_from_those_around_them() {
    // All on one channel, where their returns and confirms come one after the other.
    let scope = Scope::new(RabbitSettings { publish_channels: 1, ..RabbitSettings::default() });
    let there = scope.queue().await;
    let missing: QueueName = "missing".parse().unwrap();
    for round in 0..10 {
        let publishes = (0..200).map(|number| {
            let (scope, there, missing) = (&scope, &there, &missing);
            async move {
                let is_there = (number * 7 + round) % 3 != 0;
                let queue = if is_there { there } else { missing };
                let result = scope.broker.publish(queue, Message::new(number.to_string())).await;
                match (is_there, result) {
                    (true, Ok(())) => 1,
                    (false, Err(BrokerError::NoQueue(queue))) if queue == *missing => 0,
                    (is_there, result) => panic!("there: {is_there}, result: {result:?}"),
                }
            }
        });
        let taken: u64 = in_time(join_all(publishes)).await.into_iter().sum();
        scope.depth_becomes(&there, taken, 0).await;
        // Nothing of this round is left for the next.
        in_time(scope.broker.delete(&there)).await.unwrap();
        in_time(scope.broker.declare(&there)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_message_is_refused() {
    let scope = Scope::new(RabbitSettings { message_bytes: 1_000, ..RabbitSettings::default() });
    let queue = scope.queue().await;
    in_time(scope.broker.publish(&queue, Message::new(vec![0; 1_000]))).await.unwrap();
    let too_large = in_time(scope.broker.publish(&queue, Message::new(vec![0; 1_001]))).await;
    assert!(matches!(too_large, Err(BrokerError::Rejected(_))), "{too_large:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_wait_is_bounded() {
    // Nothing is taken, so that all of it waits.
    let refused = async |settings, reason: &str| {
        let settings = RabbitSettings {
            publish_channels: 1,
            publish_timeout: Duration::from_secs(1),
            ..settings
        };
        let broker = RabbitBroker::connect(&nowhere(), settings).unwrap();
        let queue: QueueName = "queue".parse().unwrap();
        let publishes = (0..20).map(|_| broker.publish(&queue, Message::new(vec![0; 1_000])));
        let errors = in_time(join_all(publishes))
            .await
            .into_iter()
            .map(|result| result.unwrap_err().to_string());
        errors.filter(|error| error.contains(reason)).count()
    };
    let few = RabbitSettings { channel_backlog: 3, ..RabbitSettings::default() };
    assert_eq!(refused(few, "too many messages").await, 17);
    let short = RabbitSettings { publish_bytes: 5_999, ..RabbitSettings::default() };
    assert_eq!(refused(short, "too many bytes").await, 15);
}

/// Nothing listens on a port that was free a moment ago.
fn nowhere() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("amqp://127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_is_not_there_is_waited_for_once() {
    let settings =
        RabbitSettings { publish_timeout: Duration::from_millis(400), ..RabbitSettings::default() };
    let broker = RabbitBroker::connect(&nowhere(), settings).unwrap();
    let queue: QueueName = "queue".parse().unwrap();
    let begun = Instant::now();
    let error = in_time(broker.publish(&queue, Message::new("x"))).await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Unavailable(reason) if reason.contains("refused")),
        "{error}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(matches!(
            broker.publish(&queue, Message::new("x")).await,
            Err(BrokerError::Unavailable(_))
        ));
    }
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(
        matches!(broker.ping().await, Err(BrokerError::Unavailable(reason)) if reason.contains("refused"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told() {
    let (scheme, rest) =
        address().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let host = rest.rsplit_once('@').map_or(rest.as_str(), |(_, host)| host);
    let settings =
        RabbitSettings { operation_timeout: Duration::from_secs(2), ..RabbitSettings::default() };
    let broker =
        RabbitBroker::connect(&format!("{scheme}://guest:wrong@{host}"), settings).unwrap();
    let declared = in_time(broker.declare(&"queue".parse().unwrap())).await;
    assert!(
        matches!(&declared, Err(BrokerError::Unavailable(reason)) if reason.contains("ACCESS_REFUSED")),
        "{declared:?}"
    );
}
