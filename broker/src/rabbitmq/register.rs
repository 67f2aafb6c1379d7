//! Which queues there are. AMQP has no way to ask, so whoever declares a queue writes its name into a stream, which is a queue
//! that keeps what is read from it; and everybody reads it, from its beginning.
//!
//! Names stay in it when their queues are gone; who finds a queue gone forgets its name. The oldest are cut off when the stream
//! has become long, and are written again by the next process that declares such a queue.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tracing::{debug, warn};

use super::backoff::Backoff;
use super::control::Control;
use super::known::Known;
use super::lanes::Lanes;
use super::link::{Link, Session};
use super::wire::{self, Fault};
use crate::port::{Error, Message, QueueName, Result};

/// What the stream is called, behind the prefix. No function's queue can be.
const NAME: &str = "wasmill.queues";

/// How long the stream becomes, about: a hundred thousand names.
const BYTES: i64 = 16 << 20;

/// What is cut off at a time.
const SEGMENT_BYTES: i64 = 2 << 20;

/// How many names are on their way at a time.
const PREFETCH: u16 = 1_000;

/// The waits between two trials to read, where there is no stream yet or it cannot be read.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// The stream of names.
pub(super) struct Register {
    control: Arc<Control>,
    known: Arc<Known>,
    /// The names that are in it already.
    written: Mutex<HashSet<QueueName>>,
    name: QueueName,
    /// What RabbitMQ calls it.
    route: ShortString,
}

impl Register {
    /// # Errors
    /// [`Error::Rejected`] where `prefix` makes no name.
    pub(super) fn new(control: Arc<Control>, known: Arc<Known>, prefix: &str) -> Result<Self> {
        let name: QueueName = NAME.parse()?;
        Ok(Self { control, known, written: Mutex::default(), route: wire::short(&format!("{prefix}{name}"))?, name })
    }

    /// Writes the name of a queue that was declared, unless it is there. Where RabbitMQ takes it not, for want of memory or as it
    /// lets nobody have a stream, everything but [`Broker::queues`](crate::Broker::queues) goes on without.
    pub(super) async fn write(&self, queue: &QueueName, lanes: &Lanes) {
        if self.lock().contains(queue) {
            return;
        }
        let mut written = self.publish(queue, lanes).await;
        if let Err(Error::NoQueue(_)) = written {
            written = match self.declare().await {
                Ok(()) => self.publish(queue, lanes).await,
                Err(error) => Err(error),
            };
        }
        match written {
            Ok(()) => {
                self.lock().insert(queue.clone());
            }
            Err(error) => warn!(%queue, %error, "other processes are not told of the queue"),
        }
    }

    /// It is gone, and its name must be written when it is declared again.
    pub(super) fn forget(&self, queue: &QueueName) {
        self.lock().remove(queue);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<QueueName>> {
        // Nothing panics while it is locked.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(&self, queue: &QueueName, lanes: &Lanes) -> Result<()> {
        let message = Message::new(queue.as_str().to_owned());
        let properties = wire::properties(&message)?;
        lanes.publish(Some(self.name.clone()), self.route.clone(), properties, message.body, None).await
    }

    async fn declare(&self) -> Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(BYTES));
        arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(SEGMENT_BYTES));
        self.control.declare_with(&self.name, self.route.clone(), arguments).await
    }

    /// Reads the names of others for as long as the link lasts. It waits for the stream to be there: who writes to it makes it.
    pub(super) async fn read(self: Arc<Self>, link: Link) {
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        while let Some(session) = link.lasting_session().await {
            match session.during(self.read_over(&session)).await {
                // Whatever was in it must be written again.
                Some(Err(Fault::NoQueue)) => self.lock().clear(),
                Some(Err(fault)) => debug!(%fault, "other processes' queues are not known for now"),
                Some(Ok(())) | None => retry.reset(),
            }
            retry.wait().await;
        }
    }

    /// Reads all there is, and all that comes, over one channel. It ends with the channel or the stream.
    async fn read_over(&self, session: &Session) -> std::result::Result<(), Fault> {
        let (channel, mut names) = session.set_up(self.open(session)).await?;
        while let Some(name) = names.next().await {
            let name = name.map_err(|error| Fault::from(&error))?;
            if let Some(queue) = std::str::from_utf8(&name.data).ok().and_then(|name| name.parse().ok()) {
                self.known.add(&queue);
                self.lock().insert(queue);
            }
            let read = channel.basic_ack(name.delivery_tag, BasicAckOptions::default()).await;
            read.map_err(|error| Fault::from(&error))?;
        }
        Ok(())
    }

    async fn open(&self, session: &Session) -> lapin::Result<(Channel, Consumer)> {
        let channel = session.open().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let names = channel.basic_consume(self.route.clone(), tag, options, arguments).await?;
        Ok((channel, names))
    }
}
