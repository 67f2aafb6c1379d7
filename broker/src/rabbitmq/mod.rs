//! The broker for many processes: RabbitMQ, 3.10 to 4.x.
//!
//! # One message
//! [`Broker::publish`] puts it into a **lane** (`lanes`), always the same one for a queue, so that the order is kept. The
//! lane's task (`lane`) sends it over the lane's channel (`flight`), persistent and `mandatory`, without awaiting those
//! before it; hundreds await their confirms at a time. The confirm ends the publish. It stays in the lane's hands until then: when
//! the channel or the connection is lost, what is unconfirmed is sent again over the next, in order. A publish that is not
//! confirmed in time ends with [`Error::Unconfirmed`], and its message may be there or not; with [`Error::Unavailable`] where it was
//! never sent.
//!
//! A **consumer** (`consumer`) has a channel of its own, whose prefetch is the consumer's. What comes is handed out under a tag
//! that counts the channels too (`holding`), so that a tag of a lost channel is told from those of the next. Many tags that are
//! acknowledged at once become few words to RabbitMQ: one for all those without a gap before them. When the channel is lost the
//! consumer attaches anew, with its prefetch, for as long as the queue exists.
//!
//! A **request** is a publish with a reply address: RabbitMQ's direct reply-to, which is the lane's own channel (`replies`).
//!
//! A **call** is a line between two processes' mailboxes, of which nothing is kept (`calls`).
//!
//! # Connections
//! There are two (`link`), as RabbitMQ stops reading from those that publish when it is short of memory or disk: one publishes,
//! one consumes and asks (`control`). Each is made again whenever it is lost, for ever, with growing waits; heartbeats tell one
//! that is silent from one that is idle. A publish while RabbitMQ takes none waits for its time, and once that has gone on for as
//! long it fails at once.
//!
//! # Queues
//! Every queue is durable and takes so many messages, then refuses. A function's queue is a quorum queue, or a classic one by
//! setting. A quorum queue counts deliveries, and never drops a message for their number: what to do about a message that kills
//! hosts is the hosts' business.
//!
//! One queue more, `wasmill.installation`, never has a message. It carries the id of the
//! installation as the routing key of its dead letters, because that is a text of ours that
//! RabbitMQ compares when a queue is declared again (`control`).

mod backoff;
mod calls;
mod consumer;
mod control;
mod flight;
mod holding;
mod known;
mod lane;
mod lanes;
mod link;
mod replies;
mod settings;
mod target;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::ShortString;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use self::settings::{QueueKind, RabbitSettings};
pub use self::target::SetupError;

use self::calls::Exchange;
use self::control::Control;
use self::known::Known;
use self::lanes::Lanes;
use self::link::Link;
use self::target::Target;
use crate::line::Line;
use crate::port::{Broker, Calls, Consumption, Depth, Error, Message, Owner, PendingReply, QueueName, ReplyTo, Result};

/// A RabbitMQ as a [`Broker`]. When it is dropped its connections end, and consumers with them.
///
/// As AMQP does not say how many messages are held, [`Depth::unacked`] counts what the consumers of this very broker hold, not those
/// of other processes.
pub struct RabbitBroker {
    publishing: Link,
    consuming: Link,
    lanes: Arc<Lanes>,
    calls: Arc<Exchange>,
    control: Control,
    /// Apart from the other operations, so that a slow one does not make RabbitMQ look dead.
    pinger: Control,
    known: Known,
    prefix: String,
    patience: Duration,
    closing: watch::Sender<bool>,
}

impl RabbitBroker {
    /// Begins to connect to the RabbitMQ at `address`, like `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS. It
    /// does not wait for it: what is asked of the broker meanwhile waits as long as the settings say, and [`Broker::ping`] tells
    /// what is wrong where it takes longer. Needs a Tokio runtime around it.
    ///
    /// # Errors
    /// Where the address, the prefix of queues' names or the file of certificates is no good.
    pub fn connect(address: &str, settings: RabbitSettings) -> std::result::Result<Self, SetupError> {
        let target = Arc::new(Target::new(address, settings.checked())?);
        let (closing, told) = watch::channel(false);
        let publishing = Link::start(Arc::clone(&target), "publishing", told.clone());
        let consuming = Link::start(Arc::clone(&target), "consuming", told);
        let settings = &target.settings;
        let lanes = Arc::new(Lanes::start(publishing.clone(), settings));
        Ok(Self {
            calls: Arc::new(Exchange::start(consuming.clone(), Arc::clone(&lanes), &settings.queue_prefix)),
            lanes,
            control: Control::new(consuming.clone(), settings),
            pinger: Control::new(consuming.clone(), settings),
            known: Known::default(),
            prefix: settings.queue_prefix.clone(),
            patience: settings.operation_timeout,
            publishing,
            consuming,
            closing,
        })
    }

    /// Ends the connections, and consumers with them. What consumers hold goes back to its queue.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        self.publishing.ended().await;
        self.consuming.ended().await;
    }

    /// What RabbitMQ calls a queue.
    fn name(&self, queue: &QueueName) -> Result<ShortString> {
        wire::short(&format!("{}{queue}", self.prefix))
    }

    /// Takes note that a queue was not found.
    fn noted<T>(&self, queue: &QueueName, result: Result<T>) -> Result<T> {
        if let Err(Error::NoQueue(_)) = &result {
            self.known.remove_unless_consumed(queue);
        }
        result
    }

    async fn send(&self, queue: &QueueName, message: Message, reply: Option<oneshot::Sender<Bytes>>) -> Result<()> {
        let properties = wire::properties(&message)?;
        let sent = self.lanes.publish(Some(queue.clone()), self.name(queue)?, properties, message.body, reply).await;
        self.noted(queue, sent)
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn declare(&self, queue: &QueueName) -> Result<()> {
        self.control.declare(queue, self.name(queue)?).await?;
        self.known.add(queue);
        Ok(())
    }

    async fn delete(&self, queue: &QueueName) -> Result<()> {
        self.control.delete(queue, self.name(queue)?).await?;
        self.known.remove(queue);
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

    async fn reply(&self, to: &ReplyTo, body: Bytes) -> Result<()> {
        let properties = wire::reply_properties(&to.correlation)?;
        self.lanes.publish(None, wire::short(&to.address)?, properties, body, None).await
    }

    async fn consume(&self, queue: &QueueName, prefetch: NonZeroU16) -> Result<Consumption> {
        let consumed = consumer::consume(&self.consuming, queue, self.name(queue)?, prefetch, self.patience).await;
        let (consumption, holding) = self.noted(queue, consumed)?;
        self.known.add_consumer(queue, &holding);
        Ok(consumption)
    }

    async fn call(&self, service: &QueueName, opening: Bytes) -> Result<Line> {
        self.calls.call(service, self.name(service)?, opening).await
    }

    async fn answer(&self, service: &QueueName, most: NonZeroU16) -> Result<Box<dyn Calls>> {
        self.control.declare_with(service, self.name(service)?, calls::arguments()).await?;
        let (name, patience) = (self.name(service)?, self.patience);
        let (consumption, _) = consumer::consume(&self.consuming, service, name, most, patience).await?;
        Ok(self.calls.answer(consumption))
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        let ready = self.control.ready(queue, self.name(queue)?).await;
        Ok(Depth { ready: self.noted(queue, ready)?, unacked: self.known.held(queue) })
    }

    async fn owner(&self, id: Uuid) -> Result<Owner> {
        let queue = QueueName::installation();
        let name = self.name(&queue)?;
        match self.control.ready(&queue, name.clone()).await {
            Err(Error::NoQueue(_)) => return Ok(Owner::Nobody),
            other => other?,
        };
        self.control.owner(&queue, name, id).await
    }

    async fn mark(&self, id: Uuid) -> Result<()> {
        let queue = QueueName::installation();
        // Several processes may do this at once: none must take away what another one has just
        // declared.
        if self.control.owner(&queue, self.name(&queue)?, id).await? == Owner::This {
            return Ok(());
        }
        self.control.delete(&queue, self.name(&queue)?).await?;
        match self.control.owner(&queue, self.name(&queue)?, id).await? {
            Owner::This => Ok(()),
            other => Err(Error::Unavailable(format!("another process has marked the broker meanwhile: {other:?}"))),
        }
    }

    async fn queues(&self) -> Result<Option<Vec<(QueueName, Depth)>>> {
        // AMQP has no word for it.
        Ok(None)
    }

    async fn ping(&self) -> Result<()> {
        self.publishing.session(self.patience).await.map_err(|fault| Error::Unavailable(fault.to_string()))?;
        self.pinger.ping().await
    }
}
