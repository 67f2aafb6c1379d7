//! The port: what a broker can do. Messages are bytes to it.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wasmill_domain::{FunctionName, TenantName};

use crate::line::{Call, Line};

/// Why a broker did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It cannot be reached or cannot work now. The same call may succeed later.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// It went away, or became slow, while the message was on its way: it has been taken or not.
    #[error("the broker has not confirmed the message: {0}")]
    Unconfirmed(String),
    /// The queue is full. The message was not taken; try again later.
    #[error("queue {0} is full")]
    Full(QueueName),
    /// There is no such queue.
    #[error("there is no queue {0}")]
    NoQueue(QueueName),
    /// The message cannot be taken, now or later.
    #[error("the message cannot be taken: {0}")]
    Rejected(String),
    /// No reply came in time.
    #[error("no reply within {0:?}")]
    NoReply(Duration),
}

/// The result of a verb of the port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A queue's name: at most 255 bytes of printable ASCII. A function's queue is `wasmill.TENANT.FUNCTION`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// The queue of a function.
    pub fn of_function(tenant: &TenantName, function: &FunctionName) -> Self {
        Self(format!("wasmill.{tenant}.{function}").into())
    }

    /// Where a function's calls come in. Its name can be no function's.
    pub fn of_calls(tenant: &TenantName, function: &FunctionName) -> Self {
        Self(format!("wasmill.calls.{tenant}.{function}").into())
    }

    /// What carries the installation's id on a broker that has nothing but queues. Its name can be
    /// no function's.
    pub fn installation() -> Self {
        Self("wasmill.installation".into())
    }

    /// The function whose queue this is, if it is one's.
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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(Error::Rejected(format!("'{text}' is not a queue's name"))) }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Something to be carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The bytes.
    pub body: Bytes,
    /// Names and values that tools on the way may read: trace context, content type.
    pub headers: Vec<(String, String)>,
    /// Where the consumer is to send its reply, where one is awaited. Set by [`Broker::request`].
    pub reply_to: Option<ReplyTo>,
}

impl Message {
    /// A message with no headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), headers: Vec::new(), reply_to: None }
    }
}

/// An address for a reply, good for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// Where.
    pub address: String,
    /// Which request.
    pub correlation: String,
}

/// A queue's depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that a consumer holds.
    pub unacked: u64,
}

/// Names a delivery within its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// A message in a consumer's hands.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to settle it by.
    pub tag: Tag,
    /// How often it was delivered before: 0 the first time. Deliveries before a crash count.
    pub redeliveries: u32,
    /// The message.
    pub message: Message,
}

/// A durable message broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Makes sure that a queue exists.
    async fn declare(&self, queue: &QueueName) -> Result<()>;

    /// Deletes a queue with what it holds. Consumers of it end. No error where there is none.
    async fn delete(&self, queue: &QueueName) -> Result<()>;

    /// Puts a message at a queue's end. When this returns, the message survives a crash of the broker and of every client.
    /// Where several calls are under way at once, their messages stand in the order in which the futures were first polled.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::NoQueue`], [`Error::Unavailable`], [`Error::Unconfirmed`]. Only after the last may the message have been taken.
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<()>;

    /// Publishes a message and awaits the one reply to it. The first future ends when the message is confirmed, as with
    /// [`Broker::publish`]; the reply is awaited by [`PendingReply::wait`]. A reply may get lost with a process; the message does not.
    async fn request(&self, queue: &QueueName, message: Message) -> Result<PendingReply>;

    /// Sends a reply. It goes nowhere if nobody waits any more, and that is no error.
    async fn reply(&self, to: &ReplyTo, body: Bytes) -> Result<()>;

    /// Begins to take messages off a queue, in order. At most `prefetch` are in the consumer's hands at a time.
    async fn consume(&self, queue: &QueueName, prefetch: NonZeroU16) -> Result<Consumption>;

    /// Calls whoever answers at `service`, and says `opening` first. It returns before anybody has answered
    /// ([`Listener::answered`](crate::Listener::answered)). Nothing of a call is kept: the line ends where either end is lost.
    ///
    /// # Errors
    /// [`Error::NoQueue`] where nobody answers there, as far as is known; [`Error::Full`] where too many calls wait;
    /// [`Error::Unavailable`].
    async fn call(&self, service: &QueueName, opening: Bytes) -> Result<Line>;

    /// Begins to answer calls of `service`, at most `most` at a time. Each call is answered once, by one process.
    async fn answer(&self, service: &QueueName, most: NonZeroU16) -> Result<Box<dyn Calls>>;

    /// How many messages a queue holds.
    async fn depth(&self, queue: &QueueName) -> Result<Depth>;

    /// Whose these queues are: whether the broker carries the mark of installation `id`.
    async fn owner(&self, id: Uuid) -> Result<Owner>;

    /// Marks the broker as that of installation `id`, in place of any mark that it has.
    async fn mark(&self, id: Uuid) -> Result<()>;

    /// Every queue with what it holds, by name; `None` where the broker cannot tell.
    async fn queues(&self) -> Result<Option<Vec<(QueueName, Depth)>>>;

    /// Whether the broker answers.
    async fn ping(&self) -> Result<()>;
}

/// Whose a broker's queues are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It carries no mark.
    Nobody,
    /// The one that was asked for.
    This,
    /// Another installation, by its id as far as that can be read: RabbitMQ tells the beginning.
    Other(String),
}

/// A consumer: deliveries come out of one half and are settled by the other. Dropping `deliveries` stops the flow and
/// lets what is held be settled still; dropping the last `settle` puts what is held back at the front of the queue.
pub struct Consumption {
    /// Where deliveries come out.
    pub deliveries: Box<dyn Deliveries>,
    /// What settles them.
    pub settle: Arc<dyn Settle>,
}

/// The half of a consumer that messages come out of.
#[async_trait]
pub trait Deliveries: Send {
    /// The next message; `None` once the queue is deleted or the broker is closed. Cancel-safe: a message is not lost where the
    /// future is dropped.
    async fn next(&mut self) -> Option<Delivery>;
}

/// The half of a consumer that settles messages. A tag that is not held (settled before, or from before a reconnection)
/// is ignored.
#[async_trait]
pub trait Settle: Send + Sync {
    /// These are done: they leave the queue.
    async fn ack(&self, tags: &[Tag]) -> Result<()>;

    /// These go back to the front of the queue and are delivered again. Where some went back before them, those may come first.
    async fn release(&self, tags: &[Tag]) -> Result<()>;
}

/// Where calls come in.
#[async_trait]
pub trait Calls: Send {
    /// The next call, which is answered by this; `None` once the broker is closed. Cancel-safe.
    async fn next(&mut self) -> Option<Call>;
}

/// A reply on its way.
pub struct PendingReply {
    receiver: tokio::sync::oneshot::Receiver<Bytes>,
}

impl PendingReply {
    /// What a backend hands out: the other end of `receiver` gets the reply.
    pub fn new(receiver: tokio::sync::oneshot::Receiver<Bytes>) -> Self {
        Self { receiver }
    }

    /// Awaits the reply.
    ///
    /// # Errors
    /// [`Error::NoReply`] after `timeout`; [`Error::Unavailable`] where the connection was lost.
    pub async fn wait(self, timeout: Duration) -> Result<Bytes> {
        match tokio::time::timeout(timeout, self.receiver).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(Error::Unavailable("the connection that awaited the reply is gone".into())),
            Err(_) => Err(Error::NoReply(timeout)),
        }
    }
}
