//! The disk is given back.

use super::{
    consume, contents, copy_of, disk_use, next, open, publish, queue, queues, settled, small, until,
};
use crate::embedded::{EmbeddedBroker, EmbeddedSettings};
use crate::port::{Consumption, Publishing as _, QueueName};

/// Publishes and acks messages of half a kilobyte.
async fn pass_through(
    broker: &EmbeddedBroker,
    queue: &QueueName,
    consumption: &mut Consumption,
    count: usize,
) {
    for number in 0..count {
        publish(broker, queue, &format!("{number:0512}")).await;
        let tag = next(consumption).await.tag;
        consumption.settle.ack(&[tag]).await.unwrap();
    }
}

/// The settings' own promise: twice what is alive, and four segments; a write-ahead and a table
/// more on top.
fn bound(alive: u64) -> u64 {
    2 * alive + 4 * (4 << 10) + (2 << 10)
}

#[tokio::test]
async fn what_is_acked_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let name = queue("busy");
    broker.declare(&name).await.unwrap();
    let mut consumption = consume(&broker, &name, 10).await;
    for _ in 0..10 {
        // 100 messages are a dozen segments.
        pass_through(&broker, &name, &mut consumption, 100).await;
        settled(&broker).await;
        assert!(disk_use(dir.path()) < bound(0), "{} bytes", disk_use(dir.path()));
    }
}

#[tokio::test]
async fn one_message_does_not_pin_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let (busy, paused) = (queue("busy"), queue("paused"));
    broker.declare(&busy).await.unwrap();
    broker.declare(&paused).await.unwrap();
    publish(&broker, &paused, "pinned").await;
    publish(&broker, &busy, "unacked").await;
    let mut consumption = consume(&broker, &busy, 10).await;
    // Unacknowledged all the time: that is moved as well.
    let unacked = next(&mut consumption).await;
    for _ in 0..5 {
        pass_through(&broker, &busy, &mut consumption, 200).await;
        until("the log is short", async || disk_use(dir.path()) < bound(400)).await;
    }
    settled(&broker).await;
    let copy = copy_of(dir.path());
    let again = open(copy.path(), small());
    assert_eq!(contents(&again, &paused).await, [("pinned".to_owned(), 0)]);
    assert_eq!(contents(&again, &busy).await, [("unacked".to_owned(), 1)]);
    consumption.settle.ack(&[unacked.tag]).await.unwrap();
    drop(consumption);
    drop(broker);
    let broker = open(dir.path(), small());
    assert_eq!(contents(&broker, &busy).await, []);
    assert_eq!(contents(&broker, &paused).await, [("pinned".to_owned(), 0)]);
}

#[tokio::test]
async fn a_backlog_keeps_its_order_while_it_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { compact_bytes: 1_500, ..small() };
    let broker = open(dir.path(), settings.clone());
    let (busy, paused) = (queue("busy"), queue("paused"));
    broker.declare(&busy).await.unwrap();
    broker.declare(&paused).await.unwrap();
    let mut consumption = consume(&broker, &busy, 10).await;
    let mut backlog = Vec::new();
    for number in 0..60 {
        publish(&broker, &paused, &format!("{number:0400}")).await;
        backlog.push((format!("{number:0400}"), 0));
        pass_through(&broker, &busy, &mut consumption, 10).await;
    }
    let alive = 60 * (400 + 128);
    until("the log is short", async || disk_use(dir.path()) < bound(alive)).await;
    settled(&broker).await;
    let again = open(copy_of(dir.path()).path(), settings.clone());
    assert_eq!(contents(&again, &paused).await, backlog);
    assert_eq!(contents(&broker, &paused).await, backlog);
}

/// A table of queues that is larger than a segment must not make the log chase its own tail.
#[tokio::test]
async fn many_queues_do_not_keep_the_writer_busy() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path(), small());
    let names: Vec<QueueName> = (0..200).map(|number| queue(&format!("{number:0100}"))).collect();
    for name in &names {
        broker.declare(name).await.unwrap();
    }
    for _ in 0..5 {
        for name in &names {
            publish(&broker, name, &"x".repeat(300)).await;
            let mut consumption = consume(&broker, name, 1).await;
            let tag = next(&mut consumption).await.tag;
            consumption.settle.ack(&[tag]).await.unwrap();
        }
    }
    settled(&broker).await;
    // What is noted last is written a little later; a log that chases its own tail never rests.
    until("the log comes to rest", async || broker.shared.is_at_rest()).await;
    drop(broker);
    assert_eq!(queues(&open(dir.path(), small())).len(), 200);
}
