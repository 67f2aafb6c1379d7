//! The two halves of a consumer, and the inbox between the writer and them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use super::parts::Handed;
use super::shared::Shared;
use crate::port::{Deliveries, Delivery, Error, Message, Result, Settle, Tag};

/// Messages that are a consumer's and that it has not looked at: never more than its prefetch.
#[derive(Debug)]
pub(super) struct Inbox {
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    waiting: VecDeque<Handed>,
    open: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(Slot { waiting: VecDeque::new(), open: true, waker: None }) }
    }

    /// Puts messages in; gives them back where nobody listens any more.
    pub(super) fn put(&self, handed: Vec<Handed>) -> Result<(), Vec<Handed>> {
        let mut slot = self.lock();
        if !slot.open {
            return Err(handed);
        }
        slot.waiting.extend(handed);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Ends it, and gives what nobody has looked at.
    pub(super) fn close(&self) -> VecDeque<Handed> {
        let mut slot = self.lock();
        slot.open = false;
        let left = std::mem::take(&mut slot.waiting);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        left
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Handed>> {
        let mut slot = self.lock();
        if let Some(handed) = slot.waiting.pop_front() {
            return Poll::Ready(Some(handed));
        }
        if !slot.open {
            return Poll::Ready(None);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            slot.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // Nothing panics while it is locked.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which consumer of which queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsumerId {
    pub(super) queue: u64,
    pub(super) consumer: u64,
}

/// Where deliveries come out.
pub(super) struct EmbeddedDeliveries {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConsumerId,
    pub(super) inbox: Arc<Inbox>,
}

#[async_trait]
impl Deliveries for EmbeddedDeliveries {
    async fn next(&mut self) -> Option<Delivery> {
        let Handed { tag, redeliveries, message } = poll_fn(|context| self.inbox.poll_next(context)).await?;
        // The queue keeps the message for the case that it comes back.
        Some(Delivery { tag, redeliveries, message: Message::clone(&message) })
    }
}

impl Drop for EmbeddedDeliveries {
    fn drop(&mut self) {
        // What nobody has looked at can be settled by nobody.
        let unseen: Vec<Tag> = self.inbox.close().iter().map(|handed| handed.tag).collect();
        self.shared.order(|state| {
            state.stop_flow(self.id);
            state.release(self.id, &unseen);
        });
    }
}

/// What settles deliveries.
pub(super) struct EmbeddedSettle {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConsumerId,
    pub(super) inbox: Arc<Inbox>,
}

#[async_trait]
impl Settle for EmbeddedSettle {
    async fn ack(&self, tags: &[Tag]) -> Result<()> {
        let (gone, written) = self.shared.order(|state| state.ack(self.id, tags))?;
        // The bodies are given back outside the lock.
        drop(gone);
        match written {
            None => Ok(()),
            Some(written) => written.await.unwrap_or_else(|_| Err(Error::Unavailable("the broker is closed".into()))),
        }
    }

    async fn release(&self, tags: &[Tag]) -> Result<()> {
        self.shared.order(|state| state.release(self.id, tags));
        Ok(())
    }
}

impl Drop for EmbeddedSettle {
    fn drop(&mut self) {
        self.inbox.close();
        self.shared.order(|state| state.remove_consumer(self.id));
    }
}
