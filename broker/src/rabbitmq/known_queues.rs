//! The queues that a broker knows of, and the consumers that it has of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::unacked::UnackedDeliveries;
use crate::port::QueueName;

/// Queues by name, each with its consumers.
#[derive(Default)]
pub(super) struct KnownQueues {
    queues: Mutex<HashMap<QueueName, Vec<Weak<UnackedDeliveries>>>>,
}

impl KnownQueues {
    /// The queue exists, or did a moment ago.
    pub(super) fn add(&self, queue: &QueueName) {
        let mut queues = self.lock();
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Vec::new());
        }
    }

    /// The queue has one consumer more.
    pub(super) fn add_consumer(&self, queue: &QueueName, unacked: &Arc<UnackedDeliveries>) {
        let mut queues = self.lock();
        let consumers = queues.entry(queue.clone()).or_default();
        consumers.retain(|unacked| unacked.strong_count() > 0);
        consumers.push(Arc::downgrade(unacked));
    }

    /// The queue was not found. It may have been declared again since, and there may be consumers
    /// of it.
    pub(super) fn remove_unless_consumed(&self, queue: &QueueName) {
        let mut queues = self.lock();
        if queues
            .get(queue)
            .is_some_and(|consumers| consumers.iter().all(|unacked| unacked.strong_count() == 0))
        {
            queues.remove(queue);
        }
    }

    /// The queue was deleted.
    pub(super) fn remove(&self, queue: &QueueName) {
        self.lock().remove(queue);
    }

    /// How many messages of a queue its consumers have not acknowledged.
    pub(super) fn unacked(&self, queue: &QueueName) -> u64 {
        let count = |consumers: &Vec<Weak<UnackedDeliveries>>| {
            consumers.iter().filter_map(Weak::upgrade).map(|unacked| unacked.count()).sum()
        };
        self.lock().get(queue).map_or(0, count)
    }

    /// For tests, which delete what they have declared.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<QueueName> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Vec<Weak<UnackedDeliveries>>>> {
        // Nothing panics while it is locked.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
