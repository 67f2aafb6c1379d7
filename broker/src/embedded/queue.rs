//! One queue: what waits, who consumes, and what each consumer holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::consumer::Inbox;
use super::parts::{Entry, HandOut, Handed};
use crate::port::{Depth, QueueName, Tag};

/// A queue.
pub(super) struct Queue {
    pub(super) name: QueueName,
    /// Messages in it, those that wait for their confirm included.
    pub(super) messages: u64,
    /// Their weight.
    pub(super) bytes: u64,
    /// It is in the list of queues that may have something to hand out.
    pub(super) listed: bool,
    /// Always in the order of the messages' numbers: that is the order in which they were published, and the order that a
    /// reader of the log finds.
    ready: VecDeque<Entry>,
    consumers: Vec<Consumer>,
    /// Whose turn it is.
    turn: usize,
}

struct Consumer {
    id: u64,
    inbox: Arc<Inbox>,
    prefetch: usize,
    held: BTreeMap<u64, Entry>,
    /// Its deliveries are still listened to.
    flowing: bool,
    leaving: Vec<Handed>,
}

impl Consumer {
    fn has_room(&self) -> bool {
        self.flowing && self.held.len() < self.prefetch
    }
}

impl Queue {
    pub(super) fn new(name: QueueName) -> Self {
        Self { name, messages: 0, bytes: 0, listed: false, ready: VecDeque::new(), consumers: Vec::new(), turn: 0 }
    }

    pub(super) fn depth(&self) -> Depth {
        let unacked = self.consumers.iter().map(|consumer| consumer.held.len() as u64).sum();
        Depth { ready: self.ready.len() as u64, unacked }
    }

    /// Puts a message at the end.
    pub(super) fn push(&mut self, entry: Entry) {
        self.ready.push_back(entry);
    }

    /// Puts messages back in their places: before everything that was published after them.
    pub(super) fn put_back(&mut self, mut entries: Vec<Entry>) {
        let Some(last) = entries.iter().map(|entry| entry.number).max() else { return };
        let among = self.ready.partition_point(|entry| entry.number < last);
        entries.extend(self.ready.drain(..among));
        entries.sort_unstable_by_key(|entry| entry.number);
        for entry in entries.into_iter().rev() {
            self.ready.push_front(entry);
        }
    }

    /// Whether a message waits and somebody has room for it.
    pub(super) fn can_hand_out(&self) -> bool {
        !self.ready.is_empty() && self.consumers.iter().any(Consumer::has_room)
    }

    /// Gives what waits to the consumers in turn, as far as they have room, and notes the numbers in `delivered`.
    pub(super) fn hand_out(&mut self, id: u64, delivered: &mut Vec<u64>, out: &mut Vec<HandOut>) {
        while !self.ready.is_empty() {
            let Some(at) = self.next_with_room() else { break };
            let Some(mut entry) = self.ready.pop_front() else { break };
            let redeliveries = entry.deliveries;
            entry.deliveries = entry.deliveries.saturating_add(1);
            delivered.push(entry.number);
            let consumer = &mut self.consumers[at];
            consumer.leaving.push(Handed { tag: entry.tag(), redeliveries, message: Arc::clone(&entry.message) });
            consumer.held.insert(entry.number, entry);
        }
        for consumer in self.consumers.iter_mut().filter(|consumer| !consumer.leaving.is_empty()) {
            out.push(HandOut {
                queue: id,
                consumer: consumer.id,
                inbox: Arc::clone(&consumer.inbox),
                handed: std::mem::take(&mut consumer.leaving),
            });
        }
    }

    fn next_with_room(&mut self) -> Option<usize> {
        let count = self.consumers.len();
        let at = (0..count).map(|step| (self.turn + step) % count).find(|at| self.consumers[*at].has_room())?;
        self.turn = at + 1;
        Some(at)
    }

    pub(super) fn add_consumer(&mut self, id: u64, prefetch: u16, inbox: Arc<Inbox>) {
        self.consumers.push(Consumer {
            id,
            inbox,
            prefetch: usize::from(prefetch),
            held: BTreeMap::new(),
            flowing: true,
            leaving: Vec::new(),
        });
    }

    /// Takes a consumer away; what it holds goes back.
    pub(super) fn remove_consumer(&mut self, id: u64) {
        if let Some(at) = self.consumers.iter().position(|consumer| consumer.id == id) {
            let gone = self.consumers.swap_remove(at);
            self.put_back(gone.held.into_values().collect());
        }
    }

    /// Hands nothing more to a consumer.
    pub(super) fn stop_flow(&mut self, id: u64) {
        if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == id) {
            consumer.flowing = false;
        }
    }

    /// Takes messages out of a consumer's hands: those of `tags` that it holds.
    pub(super) fn take_from(&mut self, consumer: u64, tags: &[Tag]) -> Vec<Entry> {
        let Some(consumer) = self.consumers.iter_mut().find(|known| known.id == consumer) else { return Vec::new() };
        let take = |tag: &Tag| {
            let number = Entry::number_in(*tag);
            let is_this = consumer.held.get(&number).is_some_and(|entry| entry.tag() == *tag);
            if is_this { consumer.held.remove(&number) } else { None }
        };
        tags.iter().filter_map(take).collect()
    }

    /// Everything in it, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ready.iter().chain(self.consumers.iter().flat_map(|consumer| consumer.held.values()))
    }

    /// The message called `number`, wherever it is.
    pub(super) fn find(&mut self, number: u64) -> Option<&mut Entry> {
        if let Ok(at) = self.ready.binary_search_by_key(&number, |entry| entry.number) {
            return self.ready.get_mut(at);
        }
        self.consumers.iter_mut().find_map(|consumer| consumer.held.get_mut(&number))
    }

    /// Tells the consumers that there is nothing more to come.
    pub(super) fn end_consumers(&self) {
        for consumer in &self.consumers {
            consumer.inbox.close();
        }
    }
}
