//! Request streams.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::support::{QUIET_TIME, in_time};
use crate::conformance::Broker;
use crate::port::{BrokerError, IncomingStreams, QueueName};
use crate::request_stream::{IncomingStream, RequestStream, STREAM_WINDOW};

/// A service that no other test has, and what accepts its streams, at most `most` at a time.
async fn service(broker: &Arc<dyn Broker>, most: u16) -> (QueueName, Box<dyn IncomingStreams>) {
    let name: QueueName = format!("conformance.calls.{}", Uuid::new_v4()).parse().unwrap();
    let streams =
        in_time(broker.accept_streams(&name, NonZeroU16::new(most).unwrap())).await.unwrap();
    (name, streams)
}

async fn next(streams: &mut Box<dyn IncomingStreams>) -> IncomingStream {
    in_time(streams.next()).await.expect("no more streams come in")
}

/// Both ends of a stream.
async fn connect(
    broker: &Arc<dyn Broker>,
) -> (RequestStream, RequestStream, Box<dyn IncomingStreams>) {
    let (service, mut streams) = service(broker, 4).await;
    let here = in_time(broker.open_stream(&service, "hello".into())).await.unwrap();
    let IncomingStream { opening, stream } = next(&mut streams).await;
    assert_eq!(opening, "hello");
    (here, stream, streams)
}

async fn receive(stream: &mut RequestStream) -> Option<Bytes> {
    in_time(stream.receiver.receive()).await
}

pub(super) async fn both_ends_receive_in_order(broker: Arc<dyn Broker>) {
    let (mut here, mut there, _streams) = connect(&broker).await;
    assert!(in_time(here.receiver.accepted()).await);
    // More than a window each way, so that what is consumed must be announced.
    let count = 5 * STREAM_WINDOW;
    let senders = (here.sender.clone(), there.sender.clone());
    let sending = tokio::spawn(async move {
        for number in 0..count {
            in_time(senders.0.send(format!("to {number}").into())).await.unwrap();
            in_time(senders.1.send(format!("back {number}").into())).await.unwrap();
        }
    });
    for number in 0..count {
        assert_eq!(receive(&mut there).await.unwrap(), format!("to {number}"));
        assert_eq!(receive(&mut here).await.unwrap(), format!("back {number}"));
    }
    in_time(sending).await.unwrap();
}

pub(super) async fn a_half_closed_stream_still_receives(broker: Arc<dyn Broker>) {
    let (here, mut there, _streams) = connect(&broker).await;
    let RequestStream { sender, mut receiver } = here;
    in_time(sender.send("last".into())).await.unwrap();
    drop(sender);
    assert_eq!(receive(&mut there).await.unwrap(), "last");
    assert_eq!(receive(&mut there).await, None);
    let large = Bytes::from(vec![7; 300_000]);
    in_time(there.sender.send(large.clone())).await.unwrap();
    drop(there);
    assert_eq!(in_time(receiver.receive()).await, Some(large));
    assert_eq!(in_time(receiver.receive()).await, None);
}

pub(super) async fn closing_is_noticed(broker: Arc<dyn Broker>) {
    let (here, mut there, _streams) = connect(&broker).await;
    drop(here);
    in_time(there.sender.closed()).await;
    assert_eq!(receive(&mut there).await, None);
    assert!(in_time(there.sender.send("x".into())).await.is_err());

    let (mut here, there, _streams) = connect(&broker).await;
    drop(there);
    assert_eq!(receive(&mut here).await, None);
    in_time(here.sender.closed()).await;
}

pub(super) async fn a_sender_waits_for_its_receiver(broker: Arc<dyn Broker>) {
    let (here, mut there, _streams) = connect(&broker).await;
    // What fits in flight, in both ends and between them, is bounded.
    let bound = 4 * STREAM_WINDOW;
    let mut sent = 0;
    while sent <= bound {
        let sending = here.sender.send("x".into());
        if tokio::time::timeout(QUIET_TIME, sending).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(
        (STREAM_WINDOW..=bound).contains(&sent),
        "{sent} messages were taken, and none was received"
    );
    for _ in 0..sent {
        assert_eq!(receive(&mut there).await.unwrap(), "x");
    }
}

pub(super) async fn a_service_without_acceptors_is_no_queue(broker: Arc<dyn Broker>) {
    let name: QueueName = format!("conformance.calls.{}", Uuid::new_v4()).parse().unwrap();
    let opened = in_time(broker.open_stream(&name, "x".into())).await;
    assert!(matches!(opened, Err(BrokerError::NoQueue(queue)) if queue == name));
}

pub(super) async fn streams_are_shared_and_each_accepted_once(broker: Arc<dyn Broker>) {
    let (service, mut first) = service(&broker, 1).await;
    let mut second = in_time(broker.accept_streams(&service, NonZeroU16::MIN)).await.unwrap();
    let one = in_time(broker.open_stream(&service, "1".into())).await.unwrap();
    let two = in_time(broker.open_stream(&service, "2".into())).await.unwrap();
    let mut openings = [next(&mut first).await, next(&mut second).await]
        .map(|incoming| (incoming.opening, incoming.stream));
    openings.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!([&openings[0].0, &openings[1].0], ["1", "2"]);
    drop((one, two));
}
