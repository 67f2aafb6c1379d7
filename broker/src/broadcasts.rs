//! The port for what every process is told at once: small messages that are not stored. Who is not
//! there does not hear of them.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::port::Result;

/// What is done with the body of each broadcast. It is called where broadcasts are received, one
/// after the other, so it must be quick and must not block.
pub type BroadcastReceiver = Arc<dyn Fn(Bytes) + Send + Sync>;

/// Broadcasts to every process that has subscribed.
#[async_trait]
pub trait Broadcasts: Send + Sync + 'static {
    /// Tells a message to every subscriber, of this process as well. When this returns, it is on
    /// its way to all that are connected: in one process, all have heard it.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::BrokerError::Unavailable): some may have heard it
    /// nevertheless.
    async fn broadcast(&self, body: Bytes) -> Result<()>;

    /// Listens from now on: when this returns, every later broadcast comes to `listener`, until the
    /// subscription ends. It ends where it is dropped, or where the broker cannot be reached.
    async fn subscribe(&self, listener: BroadcastReceiver) -> Result<Subscription>;
}

/// A subscription to broadcasts, until it is dropped.
pub struct Subscription {
    /// Its sender is dropped where the subscription ends.
    alive: watch::Receiver<()>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Subscription {
    /// A subscription that lives as long as the sender of `alive`. `keep` is dropped with it.
    pub(crate) fn new(alive: watch::Receiver<()>, keep: impl Any + Send + Sync) -> Self {
        Self { alive, _keep: Box::new(keep) }
    }

    /// Waits until broadcasts may be missed.
    pub async fn ended(&mut self) {
        // Nothing is ever sent.
        while self.alive.changed().await.is_ok() {}
    }
}
