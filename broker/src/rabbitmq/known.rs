//! The queues that a broker knows of, and the consumers that it has of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::holding::Holding;
use crate::port::QueueName;

#[derive(Default)]
pub(super) struct Known {
    queues: Mutex<HashMap<QueueName, Vec<Weak<Holding>>>>,
}

impl Known {
    /// There is, or was a moment ago, this queue.
    pub(super) fn add(&self, queue: &QueueName) {
        let mut queues = self.lock();
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Vec::new());
        }
    }

    /// It has one consumer more.
    pub(super) fn add_consumer(&self, queue: &QueueName, holding: &Arc<Holding>) {
        let mut queues = self.lock();
        let consumers = queues.entry(queue.clone()).or_default();
        consumers.retain(|holding| holding.strong_count() > 0);
        consumers.push(Arc::downgrade(holding));
    }

    /// Somebody has seen that there is no such queue. It may have been declared again since, and there may be consumers of it.
    pub(super) fn remove_unless_consumed(&self, queue: &QueueName) {
        let mut queues = self.lock();
        if queues.get(queue).is_some_and(|consumers| consumers.iter().all(|holding| holding.strong_count() == 0)) {
            queues.remove(queue);
        }
    }

    /// It was deleted.
    pub(super) fn remove(&self, queue: &QueueName) {
        self.lock().remove(queue);
    }

    /// How many messages of a queue its consumers hold.
    pub(super) fn held(&self, queue: &QueueName) -> u64 {
        let held = |consumers: &Vec<Weak<Holding>>| {
            consumers.iter().filter_map(Weak::upgrade).map(|holding| holding.count()).sum()
        };
        self.lock().get(queue).map_or(0, held)
    }

    /// For tests, which delete what they have declared.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<QueueName> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Vec<Weak<Holding>>>> {
        // Nothing panics while it is locked.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
