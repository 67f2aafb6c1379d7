//! Opening, closing, and what is still there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    consume, contents, copy_of, in_time, next, open, publish, queue, queues, settled, shared,
    small, text, until,
};
use crate::broadcasts::Broadcasts;
use crate::conformance::{QUEUE_MAX_BATCHES, Redeliveries, broadcasts_suite, suite};
use crate::embedded::{EmbeddedBroker, EmbeddedSettings, OpenError};
use crate::port::{
    BrokerError, Consuming as _, Control as _, Message, Publishing as _, Queues as _,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicU32::new(0);
    let factory = || {
        let dir = dir.path().join(count.fetch_add(1, Ordering::Relaxed).to_string());
        let settings = EmbeddedSettings {
            queue_max_batches: QUEUE_MAX_BATCHES,
            ..EmbeddedSettings::default()
        };
        async move { shared(EmbeddedBroker::open(&dir, settings).unwrap()) }
    };
    suite(factory, Redeliveries::Counted).await;
}

#[tokio::test]
async fn broadcasts() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Arc::new(open(dir.path(), EmbeddedSettings::default()));
    broadcasts_suite(|| std::future::ready(Arc::clone(&broker) as Arc<dyn Broadcasts>)).await;
    let mut subscription = broker.subscribe(Arc::new(|_| {})).await.unwrap();
    in_time(broker.close()).await;
    in_time(subscription.ended()).await;
    assert!(matches!(broker.broadcast("x".into()).await, Err(BrokerError::Unavailable(_))));
    assert!(matches!(broker.subscribe(Arc::new(|_| {})).await, Err(BrokerError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_with_small_segments() {
    let dir = tempfile::tempdir().unwrap();
    let broker = shared(open(
        dir.path(),
        EmbeddedSettings { queue_max_batches: QUEUE_MAX_BATCHES, ..small() },
    ));
    suite(|| std::future::ready(Arc::clone(&broker)), Redeliveries::Counted).await;
}

#[tokio::test]
async fn everything_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let (one, two) = (queue("one"), queue("two"));
    broker.declare(&one).await.unwrap();
    broker.declare(&two).await.unwrap();
    broker.declare(&queue("empty")).await.unwrap();
    for number in 0..200 {
        publish(&broker, &one, &format!("one {number}")).await;
        publish(&broker, &two, &format!("two {number}")).await;
    }
    let mut consumption = consume(&broker, &one, 100).await;
    let mut tags = Vec::new();
    for _ in 0..100 {
        tags.push(next(&mut consumption).await.tag);
    }
    consumption.settle.ack(&tags[10..60]).await.unwrap();
    consumption.settle.release(&tags[..5]).await.unwrap();
    until("the room is used", async || broker.depth(&one).await.unwrap().unacked == 100).await;
    settled(&broker).await;

    // The broker is not closed: it is still open while the copy is opened.
    let copy = copy_of(dir.path());
    let again = open(copy.path(), small());
    assert_eq!(queues(&again), [queue("empty"), one.clone(), two.clone()]);
    let wanted = |number: u32| {
        // Released and delivered again; delivered once, to a consumer that is gone; never
        // delivered.
        let redeliveries = if number < 5 { 2 } else { u32::from(number < 150) };
        (format!("one {number}"), redeliveries)
    };
    assert_eq!(
        contents(&again, &one).await,
        (0..10).chain(60..200).map(wanted).collect::<Vec<_>>()
    );
    let untouched: Vec<_> = (0..200).map(|number| (format!("two {number}"), 0)).collect();
    assert_eq!(contents(&again, &two).await, untouched);

    // A proper end leaves the same behind.
    drop(consumption);
    broker.close().await;
    drop(again);
    let again = open(dir.path(), small());
    assert_eq!(
        contents(&again, &one).await,
        (0..10).chain(60..200).map(wanted).collect::<Vec<_>>()
    );
    assert_eq!(contents(&again, &two).await, untouched);
}

#[tokio::test]
async fn what_is_deleted_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    publish(&broker, &name, "old").await;
    broker.delete(&name).await.unwrap();
    drop(open(copy_of(dir.path()).path(), small()));
    assert!(queues(&open(copy_of(dir.path()).path(), small())).is_empty());
    broker.declare(&name).await.unwrap();
    publish(&broker, &name, "new").await;
    drop(broker);
    let broker = open(dir.path(), small());
    assert_eq!(contents(&broker, &name).await, [("new".to_owned(), 0)]);
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::open(dir.path(), small()).unwrap();
    let refused = EmbeddedBroker::open(dir.path(), small()).err().unwrap();
    assert!(
        matches!(&refused, OpenError::InUse { by: Some(process), .. } if *process == std::process::id())
    );
    let wanted = format!(
        "the queue in {} is in use by process {}: stop that process first, or choose another directory",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(refused.to_string(), wanted);
    broker.close().await;
    // Closed is enough, dropped it need not be.
    EmbeddedBroker::open(dir.path(), small()).unwrap();
}

#[tokio::test]
async fn a_closed_broker_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let name = queue("q");
    broker.declare(&name).await.unwrap();
    publish(&broker, &name, "kept").await;
    publish(&broker, &name, "kept too").await;
    let mut consumption = consume(&broker, &name, 1).await;
    let delivery = next(&mut consumption).await;
    let publishing = broker.publish(&name, Message::new("last"));
    let (published, ()) = tokio::join!(biased; publishing, broker.close());
    published.unwrap();
    assert!(in_time(consumption.deliveries.next()).await.is_none());
    let closed = |result: Result<(), BrokerError>| matches!(result, Err(BrokerError::Unavailable(why)) if why == "the broker is closed");
    assert!(closed(consumption.settle.ack(&[delivery.tag]).await));
    assert!(closed(broker.publish(&name, Message::new("x")).await));
    assert!(closed(broker.declare(&queue("other")).await));
    assert!(closed(broker.ping().await));
    broker.close().await;
    drop(consumption);
    let broker = open(dir.path(), small());
    let kept = [("kept".to_owned(), 1), ("kept too".to_owned(), 0), ("last".to_owned(), 0)];
    assert_eq!(contents(&broker, &name).await, kept);
}

#[tokio::test]
async fn bytes_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings {
        queue_bytes: 3_000,
        total_bytes: 5_000,
        message_bytes: 2_000,
        queues: 3,
        ..EmbeddedSettings::default()
    };
    let broker = open(dir.path(), settings);
    let queues = ["a", "b", "c"].map(queue);
    for queue in &queues {
        broker.declare(queue).await.unwrap();
    }
    assert!(matches!(broker.declare(&queue("d")).await, Err(BrokerError::Rejected(_))));
    assert!(matches!(
        broker.publish(&queues[0], Message::new(vec![0; 1_900])).await,
        Err(BrokerError::Rejected(_))
    ));
    // 1,128 bytes each: two to a queue, four to all of them.
    let publish = async |queue| broker.publish(queue, Message::new(vec![0; 1_000])).await;
    for queue in [&queues[0], &queues[0], &queues[1], &queues[1]] {
        publish(queue).await.unwrap();
    }
    assert!(matches!(publish(&queues[0]).await, Err(BrokerError::Full(full)) if full == queues[0]));
    assert!(matches!(publish(&queues[2]).await, Err(BrokerError::Full(full)) if full == queues[2]));
    let mut consumption = consume(&broker, &queues[0], 1).await;
    let delivery = next(&mut consumption).await;
    consumption.settle.ack(&[delivery.tag]).await.unwrap();
    publish(&queues[2]).await.unwrap();
    broker.delete(&queues[1]).await.unwrap();
    publish(&queues[2]).await.unwrap();
    // The bounds are those of what is there, not of what was.
    drop(consumption);
    drop(broker);
    let broker =
        open(dir.path(), EmbeddedSettings { total_bytes: 4_600, queue_bytes: 3_000, ..small() });
    broker.declare(&queues[1]).await.unwrap();
    broker.publish(&queues[1], Message::new(vec![0; 1_000])).await.unwrap();
    assert!(matches!(
        broker.publish(&queues[1], Message::new(vec![0; 1_000])).await,
        Err(BrokerError::Full(_))
    ));
}

#[tokio::test]
async fn replies_to_an_earlier_run_go_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let name = queue("q");
    let broker = open(dir.path(), small());
    broker.declare(&name).await.unwrap();
    let pending = broker.request(&name, Message::new("x")).await.unwrap();
    drop(broker);
    let broker = open(dir.path(), small());
    let mut consumption = consume(&broker, &name, 2).await;
    let old = next(&mut consumption).await;
    assert_eq!(text(&old), "x");
    let fresh = broker.request(&name, Message::new("y")).await.unwrap();
    broker.reply(&old.message.reply_to.unwrap(), "old".into()).await.unwrap();
    let new = next(&mut consumption).await;
    broker.reply(&new.message.reply_to.unwrap(), "new".into()).await.unwrap();
    assert_eq!(in_time(fresh.wait(super::TIMEOUT)).await.unwrap(), "new");
    assert!(matches!(pending.wait(super::TIMEOUT).await, Err(BrokerError::Unavailable(_))));
}
