//! A message that is to be published.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::port::{QueueName, Result};

/// A message on its way through a publish channel.
pub(super) struct PublishRequest {
    /// The queue that it must get to; a reply has none: it is dropped where its queue is gone.
    pub(super) queue: Option<QueueName>,
    /// The routing key: what RabbitMQ calls the queue.
    pub(super) route: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    /// Gets the reply to it.
    pub(super) reply: Option<oneshot::Sender<Bytes>>,
    /// Gets its confirm. Closed once nobody waits for that any more.
    pub(super) done: oneshot::Sender<Result<()>>,
    /// Set before it is sent the first time, so that a publisher that stops waiting knows whether
    /// it may have been taken.
    pub(super) sent: Arc<AtomicBool>,
    /// Its bytes, of those that all requests may have together.
    pub(super) _permit: OwnedSemaphorePermit,
}
