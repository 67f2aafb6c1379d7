//! Makes batches: dispatches that wait while earlier batches await their confirms share the next
//! one.
//!
//! Each queue with something to publish has a task ([`sender`]), which ends when nothing waits for
//! it and every batch is confirmed. A batch is sent as soon as fewer than `in_flight` of the queue
//! await their confirms, so that nothing is held back for a timer, and a busy queue's batches grow
//! by themselves. A caller is answered when the broker has confirmed its batch, never before. A
//! batch that is refused as there is no such queue waits until the queue's other batches are
//! confirmed; then the queue is declared and all such batches are sent again, in their order.

mod batchers;
mod message;
mod sender;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::oneshot;
use wasmill_domain::Dispatch;
use wasmill_domain::wire::Writes;

pub use self::settings::PublisherSettings;

use self::batchers::Batchers;
use self::message::message_of;
use crate::port::{BrokerError, PendingReply, Publishing, QueueName, Result};

/// Publishes dispatches to the queues of their functions, grouped into batches. Cheap to clone;
/// all clones share the batches. It needs a Tokio runtime around it.
#[derive(Clone)]
pub struct BatchPublisher {
    batchers: Arc<Batchers>,
}

impl BatchPublisher {
    /// A publisher to `broker`.
    pub fn new(broker: Arc<dyn Publishing>, settings: PublisherSettings) -> Self {
        Self { batchers: Arc::new(Batchers::new(broker, settings)) }
    }

    /// Publishes a dispatch. Ends when the broker has confirmed the batch that has it. The batches
    /// of a queue have its dispatches in the order of these calls. Once polled it goes on by
    /// itself: dropping the future does not take the dispatch back.
    ///
    /// # Errors
    /// [`BrokerError::Full`] where the queue is full, and at once where too many of its dispatches
    /// wait already, or too many bytes of its tenant's; [`BrokerError::Unavailable`], at once where
    /// too many of all tenants' wait. A queue that does not exist is declared.
    pub async fn publish(&self, dispatch: Dispatch) -> Result<()> {
        let queue = QueueName::of_function(&dispatch.tenant, &dispatch.function);
        let (done, confirmed) = oneshot::channel();
        if self.batchers.enqueue(&queue, dispatch, done)? {
            tokio::spawn(sender::run(Arc::clone(&self.batchers), queue));
        }
        // The task is gone without an answer only where the runtime is.
        confirmed
            .await
            .unwrap_or_else(|_| Err(BrokerError::Unavailable("the publisher is shut down".into())))
    }

    /// Publishes a dispatch in a batch of its own and returns the reply to be awaited. The reply is
    /// empty: it says that the attempt's end is committed.
    ///
    /// # Errors
    /// As with [`BatchPublisher::publish`].
    pub async fn request(&self, dispatch: Dispatch) -> Result<PendingReply> {
        let queue = QueueName::of_function(&dispatch.tenant, &dispatch.function);
        let broker = &self.batchers.broker;
        let message = message_of(vec![dispatch], self.writes())?;
        match broker.request(&queue, message.clone()).await {
            Err(BrokerError::NoQueue(_)) => {
                broker.declare(&queue).await?;
                broker.request(&queue, message).await
            }
            answer => answer,
        }
    }

    /// The versions that messages are written in.
    pub fn writes(&self) -> &Writes {
        &self.batchers.settings.writes
    }
}
