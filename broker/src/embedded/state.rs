//! The broker's state: queues, what is alive in which segment, and the writer's next work.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::alive::Alive;
use super::format::record::Record;
use super::inbox::{ConsumerId, Inbox, InboxDeliveries};
use super::message::{MessageRecord, Publish, Relocation, StoredMessage, Waiter, Waiting, weight};
use super::queue::Queue;
use super::settings::EmbeddedSettings;
use crate::port::{BrokerError, Depth, Message, QueueName, Result, Tag};

/// The state behind the broker's one lock. Nothing in here blocks or does I/O.
pub(super) struct BrokerState {
    settings: EmbeddedSettings,
    queues: HashMap<u64, Queue>,
    names: HashMap<QueueName, u64>,
    next_queue: u64,
    next_message: u64,
    next_consumer: u64,
    /// The weight of all messages, those that wait for their confirm included.
    bytes: u64,
    alive: Alive,
    /// Queues that may have something to deliver.
    listed: Vec<u64>,
    pending: PendingWork,
    /// The writer sleeps, and must be woken when there is work.
    pub(super) writer_sleeps: bool,
    /// It does so for as long as there is none.
    #[cfg(test)]
    pub(super) writer_rests: bool,
    /// Nothing new is taken any more; what was taken is still written.
    pub(super) closing: bool,
    /// Why the last write failed, until one works again.
    pub(super) failing: Option<String>,
}

/// What the writer is to do next.
#[derive(Default)]
struct PendingWork {
    publishes: VecDeque<Publish>,
    acked: Vec<u64>,
    changes: Vec<Record>,
    on_written: Vec<Waiter>,
    on_synced: Vec<Waiter>,
}

/// What the writer does in one cycle.
#[derive(Default)]
pub(super) struct Work {
    pub(super) publishes: Vec<Publish>,
    pub(super) moves: Vec<Relocation>,
    pub(super) acked: Vec<u64>,
    pub(super) delivered: Vec<u64>,
    pub(super) changes: Vec<Record>,
    /// Deliveries to be put into inboxes once the log says that they were made.
    pub(super) deliveries: Vec<InboxDeliveries>,
    pub(super) on_written: Vec<Waiter>,
    pub(super) on_synced: Vec<Waiter>,
}

impl BrokerState {
    /// With no queues. `first_segment` is the oldest one of the log.
    pub(super) fn new(settings: EmbeddedSettings, first_segment: u64) -> Self {
        Self {
            settings,
            queues: HashMap::new(),
            names: HashMap::new(),
            next_queue: 1,
            next_message: 1,
            next_consumer: 1,
            bytes: 0,
            alive: Alive::since(first_segment),
            listed: Vec::new(),
            pending: PendingWork::default(),
            writer_sleeps: false,
            #[cfg(test)]
            writer_rests: false,
            closing: false,
            failing: None,
        }
    }

    /// Takes over what the log has.
    pub(super) fn restore(
        &mut self,
        next_queue: u64,
        next_message: u64,
        queues: impl IntoIterator<Item = (u64, QueueName)>,
        messages: impl IntoIterator<Item = (u64, StoredMessage)>,
    ) {
        (self.next_queue, self.next_message) = (next_queue, next_message);
        for (id, name) in queues {
            self.names.insert(name.clone(), id);
            self.queues.insert(id, Queue::new(name));
        }
        for (queue, message) in messages {
            let Some(queue) = self.queues.get_mut(&queue) else { continue };
            self.alive.add(message.segment, message.weight);
            self.bytes += message.weight;
            queue.messages += 1;
            queue.bytes += message.weight;
            queue.push(message);
        }
    }

    /// The first record of each segment.
    pub(super) fn table(&self) -> Record {
        let queues = self.queues.iter().map(|(id, queue)| (*id, queue.name.clone())).collect();
        Record::Table { next_message: self.next_message, next_queue: self.next_queue, queues }
    }

    fn refuse_if_closed(&self) -> Result<()> {
        if self.closing {
            Err(BrokerError::Unavailable("the broker is closed".into()))
        } else {
            Ok(())
        }
    }

    /// Whether writing works, as far as is known.
    pub(super) fn health(&self) -> Result<()> {
        self.refuse_if_closed()?;
        self.failing.clone().map_or(Ok(()), |why| Err(BrokerError::Unavailable(why)))
    }

    fn id_of(&self, name: &QueueName) -> Result<u64> {
        self.names.get(name).copied().ok_or_else(|| BrokerError::NoQueue(name.clone()))
    }

    /// Makes a queue; `None` where it is there already.
    pub(super) fn declare(&mut self, name: &QueueName) -> Result<Option<Waiting>> {
        self.refuse_if_closed()?;
        if self.names.contains_key(name) {
            return Ok(None);
        }
        self.health()?;
        if self.queues.len() >= self.settings.queues {
            return Err(BrokerError::Rejected(format!(
                "there are {} queues already, which is the limit",
                self.queues.len()
            )));
        }
        let queue = self.next_queue;
        self.next_queue += 1;
        self.names.insert(name.clone(), queue);
        self.queues.insert(queue, Queue::new(name.clone()));
        Ok(Some(self.change(Record::Declared { queue, name: name.clone() })))
    }

    /// Deletes a queue, and returns it; `None` where there is none.
    pub(super) fn delete(&mut self, name: &QueueName) -> Result<Option<(Queue, Waiting)>> {
        self.health()?;
        let Some(queue) = self.names.remove(name) else { return Ok(None) };
        let Some(gone) = self.queues.remove(&queue) else { return Ok(None) };
        gone.end_consumers();
        for message in gone.stored() {
            self.alive.remove(message.segment, message.weight);
        }
        self.bytes -= gone.bytes;
        Ok(Some((gone, self.change(Record::Deleted { queue }))))
    }

    fn change(&mut self, record: Record) -> Waiting {
        let (waiter, waiting) = oneshot::channel();
        self.pending.changes.push(record);
        self.pending.on_synced.push(waiter);
        waiting
    }

    /// Takes a message, to be written next.
    pub(super) fn publish(&mut self, name: &QueueName, message: Message) -> Result<Waiting> {
        self.refuse_if_closed()?;
        let id = self.id_of(name)?;
        let weight = weight(&message);
        let limit = self
            .settings
            .message_bytes
            .min(self.settings.queue_bytes)
            .min(self.settings.total_bytes);
        if weight > limit {
            return Err(BrokerError::Rejected(format!(
                "it takes {weight} bytes; the limit is {limit}"
            )));
        }
        let Some(queue) = self.queues.get_mut(&id) else {
            return Err(BrokerError::NoQueue(name.clone()));
        };
        let full = queue.messages >= self.settings.queue_max_batches
            || queue.bytes + weight > self.settings.queue_bytes
            || self.bytes + weight > self.settings.total_bytes;
        if full {
            return Err(BrokerError::Full(name.clone()));
        }
        queue.messages += 1;
        queue.bytes += weight;
        self.bytes += weight;
        let number = self.next_message;
        self.next_message += 1;
        let (done, waiting) = oneshot::channel();
        let record = MessageRecord { number, queue: id, message: Arc::new(message) };
        self.pending.publishes.push_back(Publish { record, weight, done });
        Ok(waiting)
    }

    /// Puts messages that were written to `segment` into their queues.
    pub(super) fn commit(&mut self, publishes: &[Publish], segment: u64) {
        for Publish { record, weight, .. } in publishes {
            let Some(queue) = self.queues.get_mut(&record.queue) else { continue };
            self.alive.add(segment, *weight);
            let message = Arc::clone(&record.message);
            queue.push(StoredMessage {
                number: record.number,
                segment,
                weight: *weight,
                deliveries: 0,
                message,
            });
            list(&mut self.listed, record.queue, queue);
        }
    }

    /// Forgets messages that could not be written.
    pub(super) fn abandon(&mut self, publishes: &[Publish]) {
        for Publish { record, weight, .. } in publishes {
            self.leave(record.queue, *weight);
        }
    }

    /// A message has left its queue for good.
    fn leave(&mut self, queue: u64, weight: u64) {
        // A queue that was deleted took the weight of its messages with it.
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.messages -= 1;
            queue.bytes -= weight;
            self.bytes -= weight;
        }
    }

    pub(super) fn add_consumer(
        &mut self,
        name: &QueueName,
        prefetch: u16,
        inbox: &Arc<Inbox>,
    ) -> Result<ConsumerId> {
        self.refuse_if_closed()?;
        let id = ConsumerId { queue: self.id_of(name)?, consumer: self.next_consumer };
        self.next_consumer += 1;
        self.with_queue(id.queue, |queue| {
            queue.add_consumer(id.consumer, prefetch, Arc::clone(inbox));
        });
        Ok(id)
    }

    pub(super) fn stop_flow(&mut self, id: ConsumerId) {
        self.with_queue(id.queue, |queue| queue.stop_flow(id.consumer));
    }

    pub(super) fn remove_consumer(&mut self, id: ConsumerId) {
        self.with_queue(id.queue, |queue| queue.remove_consumer(id.consumer));
    }

    /// Changes a queue, after which it may have something to deliver.
    fn with_queue(&mut self, id: u64, act: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues.get_mut(&id) {
            act(queue);
            list(&mut self.listed, id, queue);
        }
    }

    /// Takes messages out of their queue for good. Returns them, and what is to be awaited where
    /// there are any.
    pub(super) fn ack(
        &mut self,
        id: ConsumerId,
        tags: &[Tag],
    ) -> Result<(Vec<StoredMessage>, Option<Waiting>)> {
        self.refuse_if_closed()?;
        let mut gone = Vec::new();
        self.with_queue(id.queue, |queue| gone = queue.take_from(id.consumer, tags));
        if gone.is_empty() {
            return Ok((gone, None));
        }
        for message in &gone {
            self.alive.remove(message.segment, message.weight);
            self.leave(id.queue, message.weight);
        }
        let (waiter, waiting) = oneshot::channel();
        self.pending.acked.extend(gone.iter().map(|message| message.number));
        self.pending.on_written.push(waiter);
        Ok((gone, Some(waiting)))
    }

    /// Requeues messages at the front of their queue.
    pub(super) fn release(&mut self, id: ConsumerId, tags: &[Tag]) {
        self.with_queue(id.queue, |queue| {
            let messages = queue.take_from(id.consumer, tags);
            queue.requeue(messages);
        });
    }

    pub(super) fn depth(&self, name: &QueueName) -> Result<Depth> {
        self.refuse_if_closed()?;
        let id = self.id_of(name)?;
        Ok(self.queues.get(&id).map(Queue::depth).unwrap_or_default())
    }

    /// Every queue with its depth, by name.
    pub(super) fn queues(&self) -> Result<Vec<(QueueName, Depth)>> {
        self.refuse_if_closed()?;
        let mut queues: Vec<(QueueName, Depth)> =
            self.queues.values().map(|queue| (queue.name.clone(), queue.depth())).collect();
        queues.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(queues)
    }

    #[cfg(test)]
    pub(super) fn queue_names(&self) -> Result<Vec<QueueName>> {
        self.refuse_if_closed()?;
        let mut names: Vec<QueueName> = self.names.keys().cloned().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether the writer has anything to do.
    pub(super) fn has_work(&self) -> bool {
        let PendingWork { publishes, acked, changes, on_written, on_synced } = &self.pending;
        !(publishes.is_empty()
            && acked.is_empty()
            && changes.is_empty()
            && on_written.is_empty()
            && on_synced.is_empty()
            && self.listed.is_empty())
    }

    /// Takes what the writer is to do next: everything, but no more messages than fit a batch.
    pub(super) fn take_work(&mut self) -> Work {
        let mut work = Work {
            publishes: self.take_publishes(),
            acked: std::mem::take(&mut self.pending.acked),
            changes: std::mem::take(&mut self.pending.changes),
            on_written: std::mem::take(&mut self.pending.on_written),
            on_synced: std::mem::take(&mut self.pending.on_synced),
            ..Work::default()
        };
        if !self.closing {
            for id in std::mem::take(&mut self.listed) {
                let Some(queue) = self.queues.get_mut(&id) else { continue };
                queue.listed = false;
                queue.deliver(id, &mut work.delivered, &mut work.deliveries);
            }
        }
        self.listed.clear();
        work
    }

    fn take_publishes(&mut self) -> Vec<Publish> {
        let mut room = self.settings.batch_bytes;
        let fitting = self.pending.publishes.iter().take_while(|publish| {
            let fits = room >= publish.weight;
            room = room.saturating_sub(publish.weight);
            fits
        });
        // A message that is larger than a batch goes alone.
        let count = fitting.count().max(1).min(self.pending.publishes.len());
        if count == self.pending.publishes.len() {
            return std::mem::take(&mut self.pending.publishes).into();
        }
        self.pending.publishes.drain(..count).collect()
    }

    /// Drops all pending work: whoever waits for any of it learns that the broker is gone.
    pub(super) fn drop_pending(&mut self) {
        self.pending = PendingWork::default();
    }

    pub(super) fn end_consumers(&self) {
        for queue in self.queues.values() {
            queue.end_consumers();
        }
    }

    /// Which messages are alive in the log.
    pub(super) fn alive(&mut self) -> &mut Alive {
        &mut self.alive
    }

    /// The messages that are alive in `segment`: queue and number of each.
    pub(super) fn alive_in(&self, segment: u64) -> Vec<(u64, u64)> {
        let of = |(id, queue): (&u64, &Queue)| {
            let id = *id;
            let there = queue.stored().filter(|message| message.segment == segment);
            there.map(|message| (id, message.number)).collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(of).collect()
    }

    /// Takes from `candidates` what is still alive in `segment`, up to the settings'
    /// `compact_bytes`, to be written again.
    pub(super) fn take_moves(
        &mut self,
        segment: u64,
        candidates: &mut Vec<(u64, u64)>,
    ) -> Vec<Relocation> {
        let mut moves = Vec::new();
        let mut bytes = 0;
        while bytes < self.settings.compact_bytes {
            let Some((queue, number)) = candidates.pop() else { break };
            let Some(found) = self.queues.get_mut(&queue).and_then(|q| q.find(number)) else {
                continue;
            };
            if found.segment == segment {
                bytes += found.weight;
                let record = MessageRecord { number, queue, message: Arc::clone(&found.message) };
                moves.push(Relocation { record, deliveries: found.deliveries });
            }
        }
        moves
    }

    /// Messages have been written again, to `segment`.
    pub(super) fn moved(&mut self, moves: &[Relocation], segment: u64) {
        for Relocation { record, .. } in moves {
            let found =
                self.queues.get_mut(&record.queue).and_then(|queue| queue.find(record.number));
            if let Some(message) = found {
                let (from, weight) =
                    (std::mem::replace(&mut message.segment, segment), message.weight);
                self.alive.remove(from, weight);
                self.alive.add(segment, weight);
            }
        }
    }
}

/// Puts a queue on the list of those that may have something to deliver.
fn list(listed: &mut Vec<u64>, id: u64, queue: &mut Queue) {
    if !queue.listed && queue.can_deliver() {
        queue.listed = true;
        listed.push(id);
    }
}
