//! The inbox between the writer and a consumer: messages that are delivered to the consumer and
//! that it has not received yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::port::{Message, Tag};

/// Which consumer of which queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsumerId {
    pub(super) queue: u64,
    pub(super) consumer: u64,
}

/// A delivery that its consumer has not received yet.
#[derive(Debug)]
pub(super) struct QueuedDelivery {
    pub(super) tag: Tag,
    pub(super) redeliveries: u32,
    pub(super) message: Arc<Message>,
}

/// Deliveries to be put into one consumer's inbox.
pub(super) struct InboxDeliveries {
    pub(super) id: ConsumerId,
    pub(super) inbox: Arc<Inbox>,
    pub(super) deliveries: Vec<QueuedDelivery>,
}

/// A consumer's inbox. It never has more than the consumer's prefetch.
#[derive(Debug)]
pub(super) struct Inbox {
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    waiting: VecDeque<QueuedDelivery>,
    open: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(Slot { waiting: VecDeque::new(), open: true, waker: None }) }
    }

    /// Puts deliveries in; gives them back where the inbox is closed.
    pub(super) fn put(&self, deliveries: Vec<QueuedDelivery>) -> Result<(), Vec<QueuedDelivery>> {
        let mut slot = self.lock();
        if !slot.open {
            return Err(deliveries);
        }
        slot.waiting.extend(deliveries);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Closes it, and gives back what was not received.
    pub(super) fn close(&self) -> VecDeque<QueuedDelivery> {
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

    /// The next delivery; `None` once it is closed.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Option<QueuedDelivery>> {
        let mut slot = self.lock();
        if let Some(delivery) = slot.waiting.pop_front() {
            return Poll::Ready(Some(delivery));
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
