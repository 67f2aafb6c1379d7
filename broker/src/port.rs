//! The ports: what a broker can do, each a trait of at most ten verbs. Messages are bytes to it.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_domain::{FunctionName, TenantName};

use crate::request_stream::{IncomingStream, RequestStream};

/// Why a broker did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached or cannot work now. The same operation may succeed later.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// It went away, or became slow, while the message was in flight: the message may have been
    /// taken or not.
    #[error("the broker has not confirmed the message: {0}")]
    Unconfirmed(String),
    /// The queue is full. The message was not taken; try again later.
    #[error("queue {0} is full")]
    Full(QueueName),
    /// There is no such queue.
    #[error("there is no queue {0}")]
    NoQueue(QueueName),
    /// The message can never be taken.
    #[error("the message cannot be taken: {0}")]
    Rejected(String),
    /// No reply came in time.
    #[error("no reply within {0:?}")]
    NoReply(Duration),
}

/// The result of an operation of the port.
pub type Result<T, E = BrokerError> = std::result::Result<T, E>;

/// A queue's name: at most 255 bytes of printable ASCII. A function's queue is
/// `wasmill.TENANT.FUNCTION`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// The queue of a function.
    pub fn of_function(tenant: &TenantName, function: &FunctionName) -> Self {
        Self(format!("wasmill.{tenant}.{function}").into())
    }

    /// The queue that a function's request streams are opened at. No function's own queue can have
    /// its name.
    pub fn of_streams(tenant: &TenantName, function: &FunctionName) -> Self {
        Self(format!("wasmill.calls.{tenant}.{function}").into())
    }

    /// The queue at which one process is asked whether versions could run. No function's own queue
    /// can have its name.
    pub fn of_preflights(node: Uuid) -> Self {
        Self(format!("wasmill.preflights.node.{node}").into())
    }

    /// The queue that carries the installation's id on a broker that has nothing but queues. No
    /// function's queue can have its name.
    pub fn installation() -> Self {
        Self("wasmill.installation".into())
    }

    /// The function whose queue this is; `None` for other queues.
    pub fn function(&self) -> Option<(TenantName, FunctionName)> {
        let (tenant, function) = self.0.strip_prefix("wasmill.")?.split_once('.')?;
        Some((tenant.parse().ok()?, function.parse().ok()?))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = BrokerError;

    fn from_str(text: &str) -> Result<Self> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(BrokerError::Rejected(format!("'{text}' is not a queue's name")))
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The bytes.
    pub body: Bytes,
    /// Names and values that other programs may read: trace context, content type.
    pub headers: Vec<(String, String)>,
    /// Where the consumer is to send its reply, where one is awaited. Set by
    /// [`Publishing::request`].
    pub reply_to: Option<ReplyTo>,
}

impl Message {
    /// A message with no headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), headers: Vec::new(), reply_to: None }
    }
}

/// The address of one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// Where it is sent.
    pub address: String,
    /// The request that it answers.
    pub correlation: String,
}

/// A queue's depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that are delivered and not acknowledged.
    pub unacked: u64,
}

/// Names a delivery within its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// A message that is delivered to a consumer, and not settled yet.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What settles it.
    pub tag: Tag,
    /// How often it was delivered before: 0 the first time. Deliveries before a crash count.
    pub redeliveries: u32,
    /// The message.
    pub message: Message,
}

/// Puts messages into durable queues.
#[async_trait]
pub trait Publishing: Send + Sync + 'static {
    /// Makes sure that a queue exists.
    async fn declare(&self, queue: &QueueName) -> Result<()>;

    /// Puts a message at a queue's end. When this returns, the message survives a crash of the
    /// broker and of every client. Messages that are published concurrently have the order in which
    /// the futures were first polled.
    ///
    /// # Errors
    /// [`BrokerError::Full`], [`BrokerError::NoQueue`], [`BrokerError::Unavailable`],
    /// [`BrokerError::Unconfirmed`]. Only after the last may the message have been taken.
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<()>;

    /// Publishes a message and awaits the one reply to it. The first future ends when the message
    /// is confirmed, as with [`Publishing::publish`]; the reply is awaited by
    /// [`PendingReply::wait`]. A reply may get lost with a process; the message does not.
    async fn request(&self, queue: &QueueName, message: Message) -> Result<PendingReply>;
}

/// Takes messages off queues, and answers those that await a reply.
#[async_trait]
pub trait Consuming: Send + Sync + 'static {
    /// Begins to take messages off a queue, in order. At most `prefetch` of them are unacknowledged
    /// at a time.
    async fn consume(&self, queue: &QueueName, prefetch: NonZeroU16) -> Result<Consumption>;

    /// Sends a reply. It goes nowhere if nobody waits any more, and that is no error.
    async fn reply(&self, to: &ReplyTo, body: Bytes) -> Result<()>;
}

/// Request streams between two processes, of which nothing is stored.
#[async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Opens a request stream to whoever accepts those of `service`; `opening` is its first
    /// message. It returns before the stream is accepted
    /// ([`StreamReceiver::accepted`](crate::StreamReceiver::accepted)). Nothing of a stream is
    /// stored: it ends where either end is lost.
    ///
    /// # Errors
    /// [`BrokerError::NoQueue`] where nobody accepts streams there, as far as is known;
    /// [`BrokerError::Full`] where too many wait to be accepted; [`BrokerError::Unavailable`].
    async fn open_stream(&self, service: &QueueName, opening: Bytes) -> Result<RequestStream>;

    /// Begins to accept the request streams of `service`, at most `most` at a time. Each is
    /// accepted once, by one process.
    async fn accept_streams(
        &self,
        service: &QueueName,
        most: NonZeroU16,
    ) -> Result<Box<dyn IncomingStreams>>;
}

/// What queues there are.
#[async_trait]
pub trait Queues: Send + Sync + 'static {
    /// Deletes a queue with its messages. Its consumers end. It is no error where there is none.
    async fn delete(&self, queue: &QueueName) -> Result<()>;

    /// How many messages a queue holds.
    async fn depth(&self, queue: &QueueName) -> Result<Depth>;

    /// Every queue with its depth, by name; `None` where the broker cannot list them.
    async fn queues(&self) -> Result<Option<Vec<(QueueName, Depth)>>>;
}

/// Whose the broker is, and whether it answers.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Whether the broker answers.
    async fn ping(&self) -> Result<()>;

    /// Whether the broker carries the mark of installation `id`.
    async fn owner(&self, id: Uuid) -> Result<Owner>;

    /// Marks the broker as that of installation `id`, in place of any mark that it has.
    async fn mark(&self, id: Uuid) -> Result<()>;
}

/// Which installation a broker's queues belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It carries no mark.
    Nobody,
    /// The one that was asked for.
    This,
    /// Another installation, by its id as far as that can be read: RabbitMQ tells the beginning.
    Other(String),
}

/// A consumer: one half receives deliveries, the other settles them. Dropping `deliveries` stops
/// further deliveries; those that are unacknowledged can still be settled. Dropping the last
/// `settle` requeues what is unacknowledged, at the front of the queue.
pub struct Consumption {
    /// Receives deliveries.
    pub deliveries: Box<dyn Deliveries>,
    /// Settles them.
    pub settle: Arc<dyn Settle>,
}

/// The half of a consumer that receives messages.
#[async_trait]
pub trait Deliveries: Send {
    /// The next message; `None` once the queue is deleted or the broker is closed. Cancel-safe: a
    /// message is not lost where the future is dropped.
    async fn next(&mut self) -> Option<Delivery>;
}

/// The half of a consumer that settles messages. A tag that is not unacknowledged (settled before,
/// or from before a reconnection) is ignored.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Acknowledges messages: they leave the queue.
    async fn ack(&self, tags: &[Tag]) -> Result<()>;

    /// Requeues messages at the front of the queue: they are delivered again. Messages that were
    /// requeued before may come first.
    async fn release(&self, tags: &[Tag]) -> Result<()>;
}

/// The request streams that come in at a service.
#[async_trait]
pub trait IncomingStreams: Send {
    /// Accepts the next stream; `None` once the broker is closed. Cancel-safe.
    async fn next(&mut self) -> Option<IncomingStream>;
}

/// A reply that is awaited.
pub struct PendingReply {
    receiver: tokio::sync::oneshot::Receiver<Bytes>,
}

impl PendingReply {
    /// For backends: the other end of `receiver` gets the reply.
    pub fn new(receiver: tokio::sync::oneshot::Receiver<Bytes>) -> Self {
        Self { receiver }
    }

    /// Awaits the reply.
    ///
    /// # Errors
    /// [`BrokerError::NoReply`] after `timeout`; [`BrokerError::Unavailable`] where the connection
    /// was lost.
    pub async fn wait(self, timeout: Duration) -> Result<Bytes> {
        match tokio::time::timeout(timeout, self.receiver).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(BrokerError::Unavailable(
                "the connection that awaited the reply is gone".into(),
            )),
            Err(_) => Err(BrokerError::NoReply(timeout)),
        }
    }
}
