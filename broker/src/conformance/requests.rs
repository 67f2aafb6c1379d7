//! Requests and their replies.

use std::sync::Arc;
use std::time::Duration;

use super::support::{TIMEOUT, consume, depth_becomes, in_time, next, queue, text};
use crate::conformance::Broker;
use crate::port::{BrokerError, Message, ReplyTo};

pub(super) async fn a_reply_finds_its_request(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let mut pending = Vec::new();
    for name in ["a", "b", "c"] {
        pending.push(in_time(broker.request(&queue, Message::new(name))).await.unwrap());
    }
    let (mut deliveries, settle) = consume(&broker, &queue, 3).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(next(&mut deliveries).await);
    }
    for request in requests.iter().rev() {
        let to = request.message.reply_to.as_ref().expect("a request says where its reply goes");
        broker.reply(to, format!("re: {}", text(request)).into()).await.unwrap();
        settle.ack(&[request.tag]).await.unwrap();
    }
    for (pending, name) in pending.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(pending.wait(TIMEOUT).await.unwrap(), format!("re: {name}"));
    }
    depth_becomes(&broker, &queue, 0, 0).await;
}

pub(super) async fn a_reply_to_nobody_is_no_error(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    drop(in_time(broker.request(&queue, Message::new("x"))).await.unwrap());
    let (mut deliveries, _settle) = consume(&broker, &queue, 1).await;
    // The message is there although nobody waits.
    let to = next(&mut deliveries).await.message.reply_to.unwrap();
    broker.reply(&to, "late".into()).await.unwrap();
    broker.reply(&to, "twice".into()).await.unwrap();
    let elsewhere = ReplyTo { address: "wasmill.nobody".into(), correlation: "none".into() };
    broker.reply(&elsewhere, "lost".into()).await.unwrap();
    in_time(broker.ping()).await.unwrap();
}

pub(super) async fn no_reply_is_an_error(broker: Arc<dyn Broker>) {
    let queue = queue(&broker).await;
    let pending = in_time(broker.request(&queue, Message::new("x"))).await.unwrap();
    let timeout = Duration::from_millis(20);
    assert!(
        matches!(pending.wait(timeout).await, Err(BrokerError::NoReply(after)) if after == timeout)
    );
}
