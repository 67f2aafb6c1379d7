//! The two halves of a consumer.

use std::future::poll_fn;
use std::sync::Arc;

use async_trait::async_trait;

use super::inbox::{ConsumerId, Inbox, QueuedDelivery};
use super::shared::SharedState;
use crate::port::{BrokerError, Deliveries, Delivery, Message, Result, Settle, Tag};

/// The half that receives deliveries.
pub(super) struct EmbeddedDeliveries {
    pub(super) shared: Arc<SharedState>,
    pub(super) id: ConsumerId,
    pub(super) inbox: Arc<Inbox>,
}

#[async_trait]
impl Deliveries for EmbeddedDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = poll_fn(|context| self.inbox.poll_next(context)).await?;
        let QueuedDelivery { tag, redeliveries, message } = delivery;
        // The queue keeps the message for the case that it is requeued.
        Some(Delivery { tag, redeliveries, message: Message::clone(&message) })
    }
}

impl Drop for EmbeddedDeliveries {
    fn drop(&mut self) {
        // What was never received can be settled by nobody.
        let unseen: Vec<Tag> = self.inbox.close().iter().map(|delivery| delivery.tag).collect();
        self.shared.update(|state| {
            state.stop_flow(self.id);
            state.release(self.id, &unseen);
        });
    }
}

/// The half that settles deliveries.
pub(super) struct EmbeddedSettle {
    pub(super) shared: Arc<SharedState>,
    pub(super) id: ConsumerId,
    pub(super) inbox: Arc<Inbox>,
}

#[async_trait]
impl Settle for EmbeddedSettle {
    async fn ack(&self, tags: &[Tag]) -> Result<()> {
        let (gone, written) = self.shared.update(|state| state.ack(self.id, tags))?;
        // The bodies are freed outside the lock.
        drop(gone);
        match written {
            None => Ok(()),
            Some(written) => written
                .await
                .unwrap_or_else(|_| Err(BrokerError::Unavailable("the broker is closed".into()))),
        }
    }

    async fn release(&self, tags: &[Tag]) -> Result<()> {
        self.shared.update(|state| state.release(self.id, tags));
        Ok(())
    }
}

impl Drop for EmbeddedSettle {
    fn drop(&mut self) {
        self.inbox.close();
        self.shared.update(|state| state.remove_consumer(self.id));
    }
}
