//! Request streams between processes of different releases, over a real RabbitMQ.

use std::num::NonZeroU16;

use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::wire::{Reads, Writes};

use super::control_message::{Control, ControlMessage, MUST_UNDERSTAND};
use super::{codec, v1, v2};
use crate::port::{IncomingStreams, Message, Publishing as _, QueueName, Streams as _};
use crate::rabbitmq::tests::support::{Scope, becomes, in_time, next};
use crate::rabbitmq::{RabbitBroker, RabbitSettings};
use crate::request_stream::{IncomingStream, RequestStream, STREAM_WINDOW};

/// A broker that writes control messages of version `streams`, and what changes that.
fn writing(scope: &Scope, streams: u8) -> (RabbitBroker, Writes) {
    let writes = Writes::new(Reads { streams, ..Reads::HERE });
    let settings = RabbitSettings { writes: writes.clone(), ..RabbitSettings::default() };
    (scope.other_with(settings), writes)
}

async fn accept(broker: &RabbitBroker, service: &QueueName) -> Box<dyn IncomingStreams> {
    in_time(broker.accept_streams(service, NonZeroU16::new(4).unwrap())).await.unwrap()
}

fn service() -> QueueName {
    format!("calls.{}", Uuid::new_v4()).parse().unwrap()
}

/// Sends more than a window each way, so that ends announce what they have consumed.
async fn exchange_messages(one: &mut RequestStream, other: &mut RequestStream) {
    for number in 0..3 * STREAM_WINDOW {
        let text = Bytes::from(number.to_string());
        in_time(one.sender.send(text.clone())).await.unwrap();
        in_time(other.sender.send(text.clone())).await.unwrap();
        assert_eq!(in_time(other.receiver.receive()).await.unwrap(), text);
        assert_eq!(in_time(one.receiver.receive()).await.unwrap(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_write_different_versions_read_each_other() {
    let scope = Scope::new(RabbitSettings::default());
    let (older, writes) = writing(&scope, 1);
    let (newer, _) = writing(&scope, 2);
    for (opener, acceptor) in [(&older, &newer), (&newer, &older), (&older, &older)] {
        let service = service();
        let mut streams = accept(acceptor, &service).await;
        let mut here = in_time(opener.open_stream(&service, "hello".into())).await.unwrap();
        let IncomingStream { opening, mut stream } = in_time(streams.next()).await.unwrap();
        assert_eq!(opening, "hello");
        assert!(in_time(here.receiver.accepted()).await);
        exchange_messages(&mut here, &mut stream).await;
        // While a stream is open, the version that is written may change.
        writes.set([Reads::HERE]);
        exchange_messages(&mut here, &mut stream).await;
        writes.set([Reads::OLDEST]);
        exchange_messages(&mut here, &mut stream).await;
        drop(stream);
        assert_eq!(in_time(here.receiver.receive()).await, None);
    }
}

/// It is not acknowledged, as another process may be able to read it; and others are accepted
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_message_of_a_later_version_is_requeued() {
    let scope = Scope::new(RabbitSettings::default());
    let service = service();
    let mut streams = accept(&scope.broker, &service).await;
    let later = Bytes::from_static(&[0x83; 40]);
    in_time(scope.broker.publish(&service, Message::new(later.clone()))).await.unwrap();
    let here = in_time(scope.broker.open_stream(&service, "hello".into())).await.unwrap();
    let incoming = in_time(streams.next()).await.unwrap();
    assert_eq!(incoming.opening, "hello");
    drop(here);
    // Another process gets it, sooner or later.
    let (mut deliveries, settle) = scope.consume(&service, 1).await;
    let accepting = tokio::spawn(async move { streams.next().await });
    let delivery = next(&mut deliveries).await;
    assert_eq!((delivery.message.body, delivery.redeliveries), (later, 1));
    settle.ack(&[delivery.tag]).await.unwrap();
    accepting.abort();
}

/// What this process does with extras and kinds that a later release sends.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_skipped_unless_it_must_be_understood() {
    let scope = Scope::new(RabbitSettings::default());
    let service = scope.queue().await;
    let mut here = in_time(scope.broker.open_stream(&service, "hello".into())).await.unwrap();
    let (mut deliveries, settle) = scope.consume(&service, 1).await;
    let delivery = next(&mut deliveries).await;
    let opening = codec::decode(delivery.message.body).unwrap().unwrap();
    let ControlMessage { stream, control: Control::Open { reply_queue, .. } } = opening else {
        panic!("{opening:?}")
    };
    settle.ack(&[delivery.tag]).await.unwrap();
    let name = &reply_queue[reply_queue.find("wasmill.replies.").unwrap()..];
    let name: QueueName = name.parse().unwrap();
    let send = async |bytes: Bytes| {
        in_time(scope.broker.publish(&name, Message::new(bytes))).await.unwrap();
    };

    let data = |number: u64| [&number.to_le_bytes()[..], b"data"].concat();
    let kind = v1::kind_of(&Control::Data { number: 0, body: Bytes::new() });
    send(v2::encode_later(stream, 0x7f, &[], b"a kind of a later release")).await;
    send(v2::encode_later(stream, kind, &[(1, "an extra of a later release")], &data(0))).await;
    assert_eq!(in_time(here.receiver.receive()).await.unwrap(), "data");
    send(v2::encode_later(stream, kind, &[(MUST_UNDERSTAND | 1, "x")], &data(1))).await;
    assert_eq!(in_time(here.receiver.receive()).await, None);
    becomes(async || here.sender.send(Bytes::new()).await.is_err()).await;
}
