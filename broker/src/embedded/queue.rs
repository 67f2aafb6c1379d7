//! One queue: what waits, who consumes it, and what each consumer has not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::inbox::{ConsumerId, Inbox, InboxDeliveries, QueuedDelivery};
use super::message::StoredMessage;
use crate::port::{Depth, QueueName, Tag};

/// A queue.
pub(super) struct Queue {
    pub(super) name: QueueName,
    /// Messages in it, those that wait for their confirm included.
    pub(super) messages: u64,
    /// Their weight.
    pub(super) bytes: u64,
    /// It is in the list of queues that may have something to deliver.
    pub(super) listed: bool,
    /// Always in the order of the messages' numbers: that is the order in which they were
    /// published, and the order that a reader of the log finds.
    ready: VecDeque<StoredMessage>,
    consumers: Vec<Consumer>,
    /// The index of the consumer that is asked first.
    next_consumer: usize,
}

struct Consumer {
    id: u64,
    inbox: Arc<Inbox>,
    prefetch: usize,
    unacked: BTreeMap<u64, StoredMessage>,
    /// Its deliveries are still received.
    flowing: bool,
    /// Deliveries for the inbox, until they are in the log.
    outgoing: Vec<QueuedDelivery>,
}

impl Consumer {
    fn has_room(&self) -> bool {
        self.flowing && self.unacked.len() < self.prefetch
    }
}

impl Queue {
    pub(super) fn new(name: QueueName) -> Self {
        Self {
            name,
            messages: 0,
            bytes: 0,
            listed: false,
            ready: VecDeque::new(),
            consumers: Vec::new(),
            next_consumer: 0,
        }
    }

    pub(super) fn depth(&self) -> Depth {
        let unacked = self.consumers.iter().map(|consumer| consumer.unacked.len() as u64).sum();
        Depth { ready: self.ready.len() as u64, unacked }
    }

    /// Puts a message at the end.
    pub(super) fn push(&mut self, message: StoredMessage) {
        self.ready.push_back(message);
    }

    /// Requeues messages, each before everything that was published after it.
    pub(super) fn requeue(&mut self, mut messages: Vec<StoredMessage>) {
        let Some(last) = messages.iter().map(|message| message.number).max() else { return };
        let among = self.ready.partition_point(|message| message.number < last);
        messages.extend(self.ready.drain(..among));
        messages.sort_unstable_by_key(|message| message.number);
        for message in messages.into_iter().rev() {
            self.ready.push_front(message);
        }
    }

    /// Whether a message waits and a consumer has room for it.
    pub(super) fn can_deliver(&self) -> bool {
        !self.ready.is_empty() && self.consumers.iter().any(Consumer::has_room)
    }

    /// Delivers what waits to the consumers in turn, as far as they have room. Adds the messages'
    /// numbers to `delivered`, and what is to be put into inboxes to `out`.
    pub(super) fn deliver(
        &mut self,
        id: u64,
        delivered: &mut Vec<u64>,
        out: &mut Vec<InboxDeliveries>,
    ) {
        while !self.ready.is_empty() {
            let Some(at) = self.next_with_room() else { break };
            let Some(mut message) = self.ready.pop_front() else { break };
            let redeliveries = message.deliveries;
            message.deliveries = message.deliveries.saturating_add(1);
            delivered.push(message.number);
            let consumer = &mut self.consumers[at];
            let (tag, contents) = (message.tag(), Arc::clone(&message.message));
            consumer.outgoing.push(QueuedDelivery { tag, redeliveries, message: contents });
            consumer.unacked.insert(message.number, message);
        }
        for consumer in self.consumers.iter_mut().filter(|consumer| !consumer.outgoing.is_empty()) {
            out.push(InboxDeliveries {
                id: ConsumerId { queue: id, consumer: consumer.id },
                inbox: Arc::clone(&consumer.inbox),
                deliveries: std::mem::take(&mut consumer.outgoing),
            });
        }
    }

    fn next_with_room(&mut self) -> Option<usize> {
        let count = self.consumers.len();
        let at = (0..count)
            .map(|step| (self.next_consumer + step) % count)
            .find(|at| self.consumers[*at].has_room())?;
        self.next_consumer = at + 1;
        Some(at)
    }

    pub(super) fn add_consumer(&mut self, id: u64, prefetch: u16, inbox: Arc<Inbox>) {
        self.consumers.push(Consumer {
            id,
            inbox,
            prefetch: usize::from(prefetch),
            unacked: BTreeMap::new(),
            flowing: true,
            outgoing: Vec::new(),
        });
    }

    /// Removes a consumer; what it has not acknowledged is requeued.
    pub(super) fn remove_consumer(&mut self, id: u64) {
        if let Some(at) = self.consumers.iter().position(|consumer| consumer.id == id) {
            let gone = self.consumers.swap_remove(at);
            self.requeue(gone.unacked.into_values().collect());
        }
    }

    /// Delivers nothing more to a consumer.
    pub(super) fn stop_flow(&mut self, id: u64) {
        if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == id) {
            consumer.flowing = false;
        }
    }

    /// Takes messages from a consumer: those of `tags` that it has not settled.
    pub(super) fn take_from(&mut self, consumer: u64, tags: &[Tag]) -> Vec<StoredMessage> {
        let Some(consumer) = self.consumers.iter_mut().find(|known| known.id == consumer) else {
            return Vec::new();
        };
        let take = |tag: &Tag| {
            let number = StoredMessage::number_in(*tag);
            let is_this =
                consumer.unacked.get(&number).is_some_and(|message| message.tag() == *tag);
            if is_this { consumer.unacked.remove(&number) } else { None }
        };
        tags.iter().filter_map(take).collect()
    }

    /// Everything in it, in no order.
    pub(super) fn stored(&self) -> impl Iterator<Item = &StoredMessage> {
        self.ready
            .iter()
            .chain(self.consumers.iter().flat_map(|consumer| consumer.unacked.values()))
    }

    /// The message of this number, waiting or unacknowledged.
    pub(super) fn find(&mut self, number: u64) -> Option<&mut StoredMessage> {
        if let Ok(at) = self.ready.binary_search_by_key(&number, |message| message.number) {
            return self.ready.get_mut(at);
        }
        self.consumers.iter_mut().find_map(|consumer| consumer.unacked.get_mut(&number))
    }

    /// Closes the consumers' inboxes.
    pub(super) fn end_consumers(&self) {
        for consumer in &self.consumers {
            consumer.inbox.close();
        }
    }
}
