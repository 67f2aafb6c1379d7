//! What is handed around between the queues and the writer.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::consumer::Inbox;
use crate::port::{Message, Result, Tag};

/// Who waits for something to be on the disk.
pub(super) type Waiter = oneshot::Sender<Result<()>>;

/// What a message weighs besides its body and headers.
const OVERHEAD: u64 = 128;

/// What a message counts for, in memory and on disk, where bytes are bounded.
pub(super) fn weight(message: &Message) -> u64 {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let reply_to = message.reply_to.as_ref().map_or(0, |to| to.address.len() + to.correlation.len());
    (message.body.len() + headers + reply_to) as u64 + OVERHEAD
}

/// A message as it goes into the log.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// The message's number: counts up over all queues.
    pub(super) number: u64,
    /// The queue's number.
    pub(super) queue: u64,
    pub(super) message: Arc<Message>,
}

/// A message that waits for its confirm.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) parcel: Parcel,
    pub(super) weight: u64,
    pub(super) done: Waiter,
}

/// A message that is copied to the log's end, so that the oldest segment can go.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) parcel: Parcel,
    pub(super) deliveries: u32,
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// The segment that holds it.
    pub(super) home: u64,
    pub(super) weight: u64,
    /// How often it was handed to a consumer.
    pub(super) deliveries: u32,
    pub(super) message: Arc<Message>,
}

impl Entry {
    /// Names the delivery that is under way: another one for each time that the message is handed out. Numbers stay below 2^48
    /// for longer than anybody can publish.
    pub(super) fn tag(&self) -> Tag {
        Tag(self.number << 16 | u64::from(self.deliveries & 0xFFFF))
    }

    /// The number of the message that `tag` belongs to.
    pub(super) fn number_in(tag: Tag) -> u64 {
        tag.0 >> 16
    }
}

/// A message on its way into a consumer's hands.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) tag: Tag,
    pub(super) redeliveries: u32,
    pub(super) message: Arc<Message>,
}

/// Messages for one consumer.
pub(super) struct HandOut {
    pub(super) queue: u64,
    pub(super) consumer: u64,
    pub(super) inbox: Arc<Inbox>,
    pub(super) handed: Vec<Handed>,
}
