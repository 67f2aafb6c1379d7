//! A RabbitMQ that is short of memory, takes only small messages, and speaks TLS.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::support::{Scope, becomes, in_time, next, numbered, text};
use crate::port::{BrokerError, Control as _, Message, Publishing as _, Queues as _};
use crate::rabbitmq::testing::{Node, Vhost};
use crate::rabbitmq::{RabbitBroker, RabbitSettings};

const CONFIGURATION: &str = "
log.console = false
max_message_size = 100000
listeners.ssl.1 = 127.0.0.1:{tls}
ssl_options.cacertfile = {directory}/ca.pem
ssl_options.certfile = {directory}/server.pem
ssl_options.keyfile = {directory}/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
";

/// A certificate for `localhost`, and who has signed it.
fn certificates(directory: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(directory.join("server.pem"), server.pem()).unwrap();
    std::fs::write(directory.join("server.key"), key.serialize_pem()).unwrap();
}

/// What tests of other crates use.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_of_its_own() {
    let vhost = tokio::task::spawn_blocking(Vhost::make).await.unwrap();
    let broker = RabbitBroker::connect(vhost.url(), RabbitSettings::default()).unwrap();
    let queue = "queue".parse().unwrap();
    in_time(broker.declare(&queue)).await.unwrap();
    in_time(broker.publish(&queue, Message::new("x"))).await.unwrap();
    let elsewhere = Scope::new(RabbitSettings::default());
    assert!(matches!(in_time(elsewhere.broker.depth(&queue)).await, Err(BrokerError::NoQueue(_))));
    let url = vhost.url().to_owned();
    tokio::task::spawn_blocking(|| drop(vhost)).await.unwrap();
    // It is gone.
    let settings = RabbitSettings {
        operation_timeout: Duration::from_millis(500),
        ..RabbitSettings::default()
    };
    let ping = in_time(RabbitBroker::connect(&url, settings).unwrap().ping()).await;
    assert!(
        matches!(&ping, Err(BrokerError::Unavailable(reason)) if reason.contains("not found")),
        "{ping:?}"
    );
}

/// One node for all of it: starting one takes seconds.
#[tokio::test(flavor = "multi_thread")]
async fn shortages_limits_and_tls() {
    let node =
        tokio::task::spawn_blocking(|| Node::start(CONFIGURATION, certificates)).await.unwrap();
    message_that_only_rabbitmq_finds_too_large(&node).await;
    tls(&node).await;
    shortage_of_memory(&node).await;
    acknowledgement_that_takes_too_long(&node).await;
}

async fn message_that_only_rabbitmq_finds_too_large(node: &Node) {
    let scope = Scope::by(
        &node.address(),
        &node.address(),
        RabbitSettings { publish_channels: 1, ..RabbitSettings::default() },
    );
    let queue = scope.queue().await;
    let publishes = (0..100).map(|number| {
        let length = if number == 50 { 100_001 } else { number };
        scope.broker.publish(&queue, Message::new(vec![0; length]))
    });
    // It ends the channel of all, and only it is refused.
    for (number, result) in in_time(join_all(publishes)).await.into_iter().enumerate() {
        let refused =
            matches!(&result, Err(BrokerError::Rejected(reason)) if reason.contains("100000"));
        assert!(if number == 50 { refused } else { result.is_ok() }, "{number}: {result:?}");
    }
    // The next one is refused before it ends a channel.
    let again = in_time(scope.broker.publish(&queue, Message::new(vec![0; 100_001]))).await;
    assert!(
        matches!(&again, Err(BrokerError::Rejected(reason)) if reason.contains("at most 100000")),
        "{again:?}"
    );
    in_time(scope.broker.publish(&queue, Message::new(vec![0; 100_000]))).await.unwrap();
}

async fn tls(node: &Node) {
    let settings = RabbitSettings {
        ca_file: Some(node.file("ca.pem")),
        operation_timeout: Duration::from_secs(3),
        ..RabbitSettings::default()
    };
    let address = format!("amqps://guest:guest@localhost:{}", node.tls_port());
    let scope = Scope::by(&address, &node.address(), settings.clone());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..3)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 3).await;
    for body in numbered(0..3) {
        let delivery = next(&mut deliveries).await;
        assert_eq!(text(&delivery), body);
        settle.ack(&[delivery.tag]).await.unwrap();
    }
    // A certificate of an unknown authority is refused, and one of another name.
    let strangers = tempfile::tempdir().unwrap();
    certificates(strangers.path());
    let strange =
        RabbitSettings { ca_file: Some(strangers.path().join("ca.pem")), ..settings.clone() };
    let elsewhere = format!("amqps://guest:guest@127.0.0.1:{}", node.tls_port());
    for (address, settings) in [(&address, strange), (&elsewhere, settings)] {
        let ping = in_time(RabbitBroker::connect(address, settings).unwrap().ping()).await;
        assert!(
            matches!(&ping, Err(BrokerError::Unavailable(reason)) if reason.contains("certificate")),
            "{ping:?}"
        );
    }
}

async fn shortage_of_memory(node: &Node) {
    let settings =
        RabbitSettings { publish_timeout: Duration::from_secs(1), ..RabbitSettings::default() };
    let scope = Scope::by(&node.address(), &node.address(), settings);
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..20)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 5).await;
    node.control(&["set_vm_memory_high_watermark", "absolute", "1024"]);
    becomes(async || {
        let begun = Instant::now();
        let published = scope.broker.publish(&queue, Message::new("blocked")).await;
        let is_refused = matches!(&published, Err(BrokerError::Unavailable(reason) | BrokerError::Unconfirmed(reason)) if reason.contains("takes no messages"));
        is_refused && begun.elapsed() < Duration::from_millis(100)
    })
    .await;
    // Those who consume are not affected, nor those who ask.
    for body in numbered(0..20) {
        let delivery = next(&mut deliveries).await;
        assert_eq!(text(&delivery), body);
        settle.ack(&[delivery.tag]).await.unwrap();
    }
    in_time(scope.broker.ping()).await.unwrap();
    in_time(scope.broker.depth(&queue)).await.unwrap();
    // A publish that waits long enough succeeds in the end.
    let slow =
        RabbitSettings { publish_timeout: Duration::from_secs(60), ..RabbitSettings::default() };
    let slow = scope.other_with(slow);
    let mut published = std::pin::pin!(slow.publish(&queue, Message::new("waits")));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut published).await.is_err());
    node.control(&["set_vm_memory_high_watermark", "0.9"]);
    in_time(published).await.unwrap();
    becomes(async || scope.broker.publish(&queue, Message::new("after")).await.is_ok()).await;
    while text(&next(&mut deliveries).await) != "after" {}
}

/// RabbitMQ ends a channel on which a message is not acknowledged for too long. The consumer goes
/// on over the next one.
async fn acknowledgement_that_takes_too_long(node: &Node) {
    let settings = "application:set_env(rabbit, consumer_timeout, 1000), \
                    application:set_env(rabbit, channel_tick_interval, 200).";
    node.control(&["eval", settings]);
    let scope = Scope::by(&node.address(), &node.address(), RabbitSettings::default());
    let queue = scope.queue().await;
    scope.publish(&queue, numbered(0..2)).await;
    let (mut deliveries, settle) = scope.consume(&queue, 1).await;
    let late = next(&mut deliveries).await;
    let again = next(&mut deliveries).await;
    assert_eq!((text(&again).as_str(), again.redeliveries), ("0", 1));
    settle.ack(&[late.tag]).await.unwrap();
    scope.depth_becomes(&queue, 1, 1).await;
    settle.ack(&[again.tag]).await.unwrap();
    let next = next(&mut deliveries).await;
    assert_eq!((text(&next).as_str(), next.redeliveries), ("1", 0));
    settle.ack(&[next.tag]).await.unwrap();
    scope.depth_becomes(&queue, 0, 0).await;
}
