//! The broker for many processes: RabbitMQ, 3.10 to 4.x.
//!
//! # One message
//! [`Publishing::publish`] gives it to a **publish channel** (`publish_channels`), always the same
//! one for a queue, so that the order is kept. The channel's task (`publish_channel`) sends it
//! (`in_flight`), persistent and `mandatory`, without waiting for those before it; hundreds await
//! their confirms at a time. The confirm ends the publish. The task keeps it until then: when the
//! AMQP channel or the connection is lost, what is unconfirmed is sent again over the next, in
//! order. A publish that is not confirmed in time ends with [`BrokerError::Unconfirmed`], and its
//! message may be there or not; with [`BrokerError::Unavailable`] where it was never sent.
//!
//! A **consumer** (`consumer`) has a channel of its own, whose prefetch is the consumer's. A
//! delivery has a tag that counts the channels too (`unacked`), so that a tag of a lost channel is
//! told from those of the next. Tags that are acknowledged together take few messages to RabbitMQ:
//! one for all those without a gap before them. When the channel is lost the consumer attaches to
//! another one, with its prefetch, for as long as the queue exists.
//!
//! A **request** is a publish with a reply address: RabbitMQ's direct reply-to, which is the
//! publish channel's own (`replies`).
//!
//! A **request stream** connects two processes by their reply queues, and nothing of it is stored
//! (`calls`).
//!
//! A **broadcast** goes to an exchange that copies it into the queue of each subscription
//! (`broadcasts`).
//!
//! `amqp` has the properties of what is published.
//!
//! # Connections
//! There are two (`link`), as RabbitMQ stops reading from those that publish when it is short of
//! memory or disk: one publishes, one consumes and asks (`operations`). Each is made again whenever
//! it is lost, for ever, with growing waits; heartbeats tell one that is lost from one that is
//! idle. A publish while RabbitMQ takes none waits for its timeout, and once that has gone on for
//! as long it fails at once.
//!
//! # Queues
//! Every queue is durable and takes a number of messages, then refuses more. A function's queue is
//! a quorum queue, or a classic one by setting. A quorum queue counts deliveries, and never drops a
//! message for their number: hosts deal with a message that kills hosts.
//!
//! One more queue, `wasmill.installation`, never has a message. It carries the id of the
//! installation as the routing key of its dead letters, because that is a text of ours that
//! RabbitMQ compares when a queue is declared again (`operations`).

mod amqp;
mod broadcasts;
mod calls;
mod consumer;
mod endpoint;
mod in_flight;
mod known_queues;
mod link;
mod operations;
mod publish_channel;
mod publish_channels;
mod publish_request;
mod replies;
mod settings;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod unacked;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::ShortString;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use self::endpoint::SetupError;
pub use self::settings::{QueueKind, RabbitSettings};

use self::calls::{Acceptor, CallRouter};
use self::endpoint::Endpoint;
use self::known_queues::KnownQueues;
use self::link::Link;
use self::operations::Operations;
use self::publish_channels::PublishChannels;
use crate::broadcasts::{BroadcastReceiver, Broadcasts, Subscription};
use crate::port::{
    BrokerError, Consuming, Consumption, Control, Depth, IncomingStreams, Message, Owner,
    PendingReply, Publishing, QueueName, Queues, ReplyTo, Result, Streams,
};
use crate::request_stream::RequestStream;

/// A broker in RabbitMQ. When it is dropped its connections end, and consumers with them.
///
/// As AMQP does not say how many messages are unacknowledged, [`Depth::unacked`] counts those of
/// this broker's own consumers, not those of other processes.
pub struct RabbitBroker {
    publishing: Link,
    consuming: Link,
    channels: Arc<PublishChannels>,
    calls: Arc<CallRouter>,
    operations: Operations,
    /// Apart from the other operations, so that a slow one does not make pings time out.
    pinger: Operations,
    /// Publishes, so it is on the connection that does.
    broadcaster: Operations,
    known: KnownQueues,
    prefix: String,
    timeout: Duration,
    closing: watch::Sender<bool>,
}

impl RabbitBroker {
    /// Begins to connect to the RabbitMQ at `address`, like `amqp://user:password@host:5672/vhost`,
    /// or `amqps://` for TLS. It does not wait for it: operations meanwhile wait as long as the
    /// settings say, and [`Control::ping`] says what is wrong where it takes longer. Needs a Tokio
    /// runtime around it.
    ///
    /// # Errors
    /// Where the address is no AMQP URL, or the file of certificates cannot be used.
    pub fn connect(
        address: &str,
        settings: RabbitSettings,
    ) -> std::result::Result<Self, SetupError> {
        let endpoint = Arc::new(Endpoint::new(address, settings.checked())?);
        let (closing, is_closing) = watch::channel(false);
        let publishing = Link::start(Arc::clone(&endpoint), "publishing", is_closing.clone());
        let consuming = Link::start(Arc::clone(&endpoint), "consuming", is_closing);
        let settings = &endpoint.settings;
        let channels = Arc::new(PublishChannels::start(publishing.clone(), settings));
        Ok(Self {
            calls: Arc::new(CallRouter::start(
                consuming.clone(),
                Arc::clone(&channels),
                &settings.queue_prefix,
                settings.writes.clone(),
            )),
            channels,
            operations: Operations::new(consuming.clone(), settings),
            pinger: Operations::new(consuming.clone(), settings),
            broadcaster: Operations::new(publishing.clone(), settings),
            known: KnownQueues::default(),
            prefix: settings.queue_prefix.clone(),
            timeout: settings.operation_timeout,
            publishing,
            consuming,
            closing,
        })
    }

    /// Ends the connections, and consumers with them. What is unacknowledged is requeued.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        self.publishing.ended().await;
        self.consuming.ended().await;
    }

    /// What RabbitMQ calls a queue.
    fn name(&self, queue: &QueueName) -> Result<ShortString> {
        amqp::short(&format!("{}{queue}", self.prefix))
    }

    /// Forgets a queue that was not found.
    fn checked<T>(&self, queue: &QueueName, result: Result<T>) -> Result<T> {
        if let Err(BrokerError::NoQueue(_)) = &result {
            self.known.remove_unless_consumed(queue);
        }
        result
    }

    async fn send(
        &self,
        queue: &QueueName,
        message: Message,
        reply: Option<oneshot::Sender<Bytes>>,
    ) -> Result<()> {
        let properties = amqp::properties(&message)?;
        let sent = self
            .channels
            .publish(Some(queue.clone()), self.name(queue)?, properties, message.body, reply)
            .await;
        self.checked(queue, sent)
    }
}

#[async_trait]
impl Broadcasts for RabbitBroker {
    async fn broadcast(&self, body: Bytes) -> Result<()> {
        self.publishing.takes_messages(Duration::ZERO)?;
        self.broadcaster.broadcast(&broadcasts::exchange(&self.prefix)?, &body).await
    }

    async fn subscribe(&self, listener: BroadcastReceiver) -> Result<Subscription> {
        let exchange = broadcasts::exchange(&self.prefix)?;
        broadcasts::subscribe(&self.consuming, exchange, listener, self.timeout).await
    }
}

#[async_trait]
impl Publishing for RabbitBroker {
    async fn declare(&self, queue: &QueueName) -> Result<()> {
        self.operations.declare(queue, self.name(queue)?).await?;
        self.known.add(queue);
        Ok(())
    }

    async fn publish(&self, queue: &QueueName, message: Message) -> Result<()> {
        self.send(queue, message, None).await
    }

    async fn request(&self, queue: &QueueName, message: Message) -> Result<PendingReply> {
        let (waiter, reply) = oneshot::channel();
        self.send(queue, message, Some(waiter)).await?;
        Ok(PendingReply::new(reply))
    }
}

#[async_trait]
impl Consuming for RabbitBroker {
    async fn consume(&self, queue: &QueueName, prefetch: NonZeroU16) -> Result<Consumption> {
        let consumed =
            consumer::consume(&self.consuming, queue, self.name(queue)?, prefetch, self.timeout)
                .await;
        let (consumption, unacked) = self.checked(queue, consumed)?;
        self.known.add_consumer(queue, &unacked);
        Ok(consumption)
    }

    async fn reply(&self, to: &ReplyTo, body: Bytes) -> Result<()> {
        let properties = amqp::reply_properties(&to.correlation)?;
        self.channels.publish(None, amqp::short(&to.address)?, properties, body, None).await
    }
}

#[async_trait]
impl Streams for RabbitBroker {
    async fn open_stream(&self, service: &QueueName, opening: Bytes) -> Result<RequestStream> {
        self.calls.open(service, self.name(service)?, opening).await
    }

    async fn accept_streams(
        &self,
        service: &QueueName,
        most: NonZeroU16,
    ) -> Result<Box<dyn IncomingStreams>> {
        self.operations.declare_with(service, self.name(service)?, calls::arguments()).await?;
        let (name, timeout) = (self.name(service)?, self.timeout);
        let (consumption, _) =
            consumer::consume(&self.consuming, service, name, most, timeout).await?;
        Ok(Box::new(Acceptor::new(Arc::clone(&self.calls), consumption)))
    }
}

#[async_trait]
impl Queues for RabbitBroker {
    async fn delete(&self, queue: &QueueName) -> Result<()> {
        self.operations.delete(queue, self.name(queue)?).await?;
        self.known.remove(queue);
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        let ready = self.operations.ready(queue, self.name(queue)?).await;
        Ok(Depth { ready: self.checked(queue, ready)?, unacked: self.known.unacked(queue) })
    }

    async fn queues(&self) -> Result<Option<Vec<(QueueName, Depth)>>> {
        // AMQP cannot list queues.
        Ok(None)
    }
}

#[async_trait]
impl Control for RabbitBroker {
    async fn ping(&self) -> Result<()> {
        self.publishing
            .session(self.timeout)
            .await
            .map_err(|fault| BrokerError::Unavailable(fault.to_string()))?;
        self.pinger.ping().await
    }

    async fn owner(&self, id: Uuid) -> Result<Owner> {
        let queue = QueueName::installation();
        let name = self.name(&queue)?;
        match self.operations.ready(&queue, name.clone()).await {
            Err(BrokerError::NoQueue(_)) => return Ok(Owner::Nobody),
            other => other?,
        };
        self.operations.owner(&queue, name, id).await
    }

    async fn mark(&self, id: Uuid) -> Result<()> {
        let queue = QueueName::installation();
        // Several processes may do this at once: none may delete what another one has just
        // declared.
        if self.operations.owner(&queue, self.name(&queue)?, id).await? == Owner::This {
            return Ok(());
        }
        self.operations.delete(&queue, self.name(&queue)?).await?;
        match self.operations.owner(&queue, self.name(&queue)?, id).await? {
            Owner::This => Ok(()),
            other => Err(BrokerError::Unavailable(format!(
                "another process has marked the broker meanwhile: {other:?}"
            ))),
        }
    }
}
