//! Operations that RabbitMQ answers one by one: declaring, deleting, depths, pings.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Queue};
use tokio::sync::Mutex;
use tracing::warn;
use uuid::Uuid;

use super::amqp::Fault;
use super::broadcasts;
use super::link::{Link, Session};
use super::settings::{QueueKind, RabbitSettings};
use crate::port::{BrokerError, Owner, QueueName, Result};

/// After so many deliveries RabbitMQ drops a message from a quorum queue. Hosts deal with such
/// messages long before, and none may be lost, so it is the largest number there is. It cannot be
/// left out: RabbitMQ 4 would take 20, and one before 4 would requeue at the queue's end. Nor can
/// it be -1, which is "never" to RabbitMQ 4 and 0 to those before it.
const DELIVERY_LIMIT: i32 = i32::MAX;

/// The argument that carries an installation's id.
const MARK: &str = "x-dead-letter-routing-key";

/// One channel for operations, which use it one at a time. It is opened again where an operation
/// has ended it.
pub(super) struct Operations {
    link: Link,
    /// The channel, and its connection.
    channel: Mutex<Option<(Arc<Session>, Channel)>>,
    timeout: Duration,
    arguments: FieldTable,
}

impl Operations {
    pub(super) fn new(link: Link, settings: &RabbitSettings) -> Self {
        let timeout = settings.operation_timeout;
        Self { link, channel: Mutex::default(), timeout, arguments: arguments(settings) }
    }

    /// Makes sure that a queue exists; `name` is what RabbitMQ calls it.
    pub(super) async fn declare(&self, queue: &QueueName, name: ShortString) -> Result<()> {
        self.declare_with(queue, name, self.arguments.clone()).await
    }

    /// Makes sure that a queue exists, with other arguments than those of functions' queues.
    pub(super) async fn declare_with(
        &self,
        queue: &QueueName,
        name: ShortString,
        arguments: FieldTable,
    ) -> Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (name, arguments) = (&name, &arguments);
        let declared = |channel: Channel| async move {
            channel.queue_declare(name.clone(), options, arguments.clone()).await
        };
        match self.run(declared).await {
            Ok(_) => Ok(()),
            // It is not ours: it does not keep messages safe.
            Err(Fault::Differs(reason))
                if ["'durable'", "'exclusive'", "'auto_delete'"]
                    .iter()
                    .any(|a| reason.contains(a)) =>
            {
                Err(BrokerError::Rejected(format!(
                    "queue {queue} exists and does not keep messages safe: {reason}"
                )))
            }
            Err(Fault::Differs(reason)) => {
                warn!(%queue, reason, "the queue exists with other arguments and is used as it is");
                Ok(())
            }
            Err(fault) => Err(error(fault, queue)),
        }
    }

    /// Deletes a queue with its messages.
    pub(super) async fn delete(&self, queue: &QueueName, name: ShortString) -> Result<()> {
        let name = &name;
        let deleted = |channel: Channel| async move {
            channel.queue_delete(name.clone(), QueueDeleteOptions::default()).await
        };
        match self.run(deleted).await {
            Ok(_) | Err(Fault::NoQueue) => Ok(()),
            Err(fault) => Err(error(fault, queue)),
        }
    }

    /// How many messages of a queue are not delivered.
    pub(super) async fn ready(&self, queue: &QueueName, name: ShortString) -> Result<u64> {
        let name = &name;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looked = |channel: Channel| async move {
            channel.queue_declare(name.clone(), options, FieldTable::default()).await
        };
        let found: Queue = self.run(looked).await.map_err(|fault| error(fault, queue))?;
        Ok(found.message_count().into())
    }

    /// Declares the queue that carries the mark of installation `id`, and returns whose mark the
    /// one that exists has.
    pub(super) async fn owner(
        &self,
        queue: &QueueName,
        name: ShortString,
        id: Uuid,
    ) -> Result<Owner> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (name, arguments) = (&name, &mark(id));
        let declared = |channel: Channel| async move {
            channel.queue_declare(name.clone(), options, arguments.clone()).await
        };
        match self.run(declared).await {
            Ok(_) => Ok(Owner::This),
            Err(Fault::Differs(reason)) => Ok(Owner::Other(marked(&reason).unwrap_or(reason))),
            Err(fault) => Err(error(fault, queue)),
        }
    }

    /// Whether RabbitMQ answers.
    pub(super) async fn ping(&self) -> Result<()> {
        // It needs no permission and changes nothing: nobody consumes on this channel.
        let asked = |channel: Channel| async move {
            channel.basic_qos(1, BasicQosOptions::default()).await
        };
        self.run(asked).await.map_err(|fault| {
            BrokerError::Unavailable(format!("RabbitMQ does not answer a ping: {fault}"))
        })
    }

    /// Tells `body` to everybody who has subscribed at `exchange`. It may be told twice.
    pub(super) async fn broadcast(&self, exchange: &ShortString, body: &[u8]) -> Result<()> {
        let told =
            |channel: Channel| async move { broadcasts::publish(&channel, exchange, body).await };
        self.run(told)
            .await
            .map_err(|fault| BrokerError::Unavailable(format!("a broadcast: {fault}")))
    }

    /// Runs an operation on the channel.
    async fn run<T, O: Future<Output = lapin::Result<T>>>(
        &self,
        operation: impl Fn(Channel) -> O,
    ) -> std::result::Result<T, Fault> {
        let operation = &operation;
        let attempt = |session: Arc<Session>| async move {
            let mut kept = self.channel.lock().await;
            let channel = match kept.take() {
                Some((of, channel))
                    if Arc::ptr_eq(&of, &session) && channel.status().connected() =>
                {
                    channel
                }
                _ => session.set_up(session.open()).await?,
            };
            // The channel is kept only with its answer: one that is dropped here is not used again.
            let answer = operation(channel.clone()).await.map_err(|error| Fault::from(&error))?;
            *kept = Some((session, channel));
            Ok(answer)
        };
        self.link.work(self.timeout, attempt).await
    }
}

/// A fault as the port's error.
pub(super) fn error(fault: Fault, queue: &QueueName) -> BrokerError {
    match fault {
        Fault::NoQueue => BrokerError::NoQueue(queue.clone()),
        Fault::Differs(reason) | Fault::Refused(reason) => BrokerError::Rejected(reason),
        Fault::Transient(reason) => BrokerError::Unavailable(reason),
    }
}

/// The arguments of the queue that carries the mark of an installation. It has no messages, so it
/// has no dead letters.
fn mark(id: Uuid) -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "classic".to_owned()),
        ("x-dead-letter-exchange", String::new()),
        (MARK, id.to_string()),
    ] {
        arguments.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
    }
    arguments
}

/// The id that the existing queue carries, out of RabbitMQ's error about its arguments.
fn marked(error: &str) -> Option<String> {
    let (_, rest) = error.split_once(MARK)?;
    let (_, current) = rest.split_once("but current is")?;
    current.split('\'').nth(1).map(str::to_owned)
}

/// The arguments of functions' queues.
fn arguments(settings: &RabbitSettings) -> FieldTable {
    let mut arguments = FieldTable::default();
    let mut set = |name: &str, value| {
        arguments.insert(ShortString::from(name), value);
    };
    match settings.queue_kind {
        QueueKind::Quorum => {
            set("x-queue-type", AMQPValue::LongString("quorum".into()));
            set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT));
        }
        QueueKind::Classic => set("x-queue-type", AMQPValue::LongString("classic".into())),
    }
    if let Some(messages) = settings.queue_max_batches {
        set("x-max-length", AMQPValue::LongLongInt(i64::try_from(messages).unwrap_or(i64::MAX)));
        set("x-overflow", AMQPValue::LongString("reject-publish".into()));
    }
    arguments
}
