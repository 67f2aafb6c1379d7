//! The broker for many processes: RabbitMQ, 3.10 to 4.x.
//!
//! Two connections, as RabbitMQ stops reading from those that publish when it is short of memory or disk:
//! - one publishes, over a few channels ([`lanes`]) on each of which hundreds of messages await their confirms at a time;
//! - one consumes, each consumer over a channel of its own ([`consumer`]), and asks and orders ([`control`]).
//!
//! Each is made again whenever it is lost ([`link`]), for ever. What was published and not confirmed is then sent again, and
//! consumers go on with their prefetch; what they held has other tags when it comes again.
//!
//! Every queue is durable and every message persistent. A function's queue is a quorum queue, or a classic one by setting.

mod backoff;
mod consumer;
mod control;
mod flight;
mod holding;
mod lane;
mod lanes;
mod link;
mod replies;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::ShortString;
use tokio::sync::{oneshot, watch};

pub use self::settings::{QueueKind, RabbitSettings};
pub use self::target::SetupError;

use self::control::Control;
use self::holding::Holding;
use self::lanes::Lanes;
use self::link::Link;
use self::target::Target;
use crate::port::{Broker, Consumption, Depth, Error, Message, PendingReply, QueueName, ReplyTo, Result};

/// A RabbitMQ as a [`Broker`]. When it is dropped its connections end, and consumers with them.
///
/// What AMQP does not say:
/// - [`Depth::unacked`] counts what the consumers of this very broker hold, not those of other processes;
/// - [`Broker::queues`] names those that this very broker has declared, published to or consumed from and that were there.
pub struct RabbitBroker {
    publishing: Link,
    consuming: Link,
    lanes: Lanes,
    control: Control,
    /// Apart from the other operations, so that a slow one does not make RabbitMQ look dead.
    pinger: Control,
    queues: Mutex<HashMap<QueueName, Vec<Weak<Holding>>>>,
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
    /// Where the address or the file of certificates is no good.
    pub fn connect(address: &str, settings: RabbitSettings) -> std::result::Result<Self, SetupError> {
        let target = Arc::new(Target::new(address, settings.checked())?);
        let (closing, told) = watch::channel(false);
        let publishing = Link::start(Arc::clone(&target), "publishing", told.clone());
        let consuming = Link::start(Arc::clone(&target), "consuming", told);
        let settings = &target.settings;
        Ok(Self {
            lanes: Lanes::start(publishing.clone(), settings),
            control: Control::new(consuming.clone(), settings),
            pinger: Control::new(consuming.clone(), settings),
            queues: Mutex::default(),
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

    fn know(&self, queue: &QueueName) {
        let mut queues = self.lock_queues();
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Vec::new());
        }
    }

    /// A publish found no such queue. It may have been declared again since, and there may be consumers of it.
    fn forget_unless_consumed(&self, queue: &QueueName) {
        let mut queues = self.lock_queues();
        if queues.get(queue).is_some_and(|consumers| consumers.iter().all(|holding| holding.strong_count() == 0)) {
            queues.remove(queue);
        }
    }

    fn lock_queues(&self) -> MutexGuard<'_, HashMap<QueueName, Vec<Weak<Holding>>>> {
        // Nothing panics while it is locked.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, queue: &QueueName, message: Message, reply: Option<oneshot::Sender<Bytes>>) -> Result<()> {
        let properties = wire::properties(&message)?;
        let result = self.lanes.publish(Some(queue.clone()), self.name(queue)?, properties, message.body, reply).await;
        match result {
            Ok(()) => self.know(queue),
            Err(Error::NoQueue(_)) => self.forget_unless_consumed(queue),
            Err(_) => {}
        }
        result
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn declare(&self, queue: &QueueName) -> Result<()> {
        self.control.declare(queue, self.name(queue)?).await?;
        self.know(queue);
        Ok(())
    }

    async fn delete(&self, queue: &QueueName) -> Result<()> {
        self.control.delete(queue, self.name(queue)?).await?;
        self.lock_queues().remove(queue);
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
        let (consumption, holding) =
            consumer::consume(&self.consuming, queue, self.name(queue)?, prefetch, self.patience).await?;
        let mut queues = self.lock_queues();
        let consumers = queues.entry(queue.clone()).or_default();
        consumers.retain(|holding| holding.strong_count() > 0);
        consumers.push(Arc::downgrade(&holding));
        Ok(consumption)
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth> {
        let ready = self.control.ready(queue, self.name(queue)?).await?;
        let held = |consumers: &Vec<Weak<Holding>>| {
            consumers.iter().filter_map(Weak::upgrade).map(|holding| holding.count()).sum()
        };
        Ok(Depth { ready, unacked: self.lock_queues().get(queue).map_or(0, held) })
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        Ok(self.lock_queues().keys().cloned().collect())
    }

    async fn ping(&self) -> Result<()> {
        self.publishing.session(self.patience).await?;
        self.pinger.ping().await
    }
}
