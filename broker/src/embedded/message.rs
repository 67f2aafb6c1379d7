//! Messages inside the embedded broker: as they are written to the log, as they wait in a queue,
//! and as their publisher waits for them.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::port::{Message, Result, Tag};

/// Gets the result of a change once it is in the log.
pub(super) type Waiter = oneshot::Sender<Result<()>>;

/// The other end of a [`Waiter`].
pub(super) type Waiting = oneshot::Receiver<Result<()>>;

/// What a message weighs besides its body and headers, in bytes.
const OVERHEAD: u64 = 128;

/// The number that the numbers of messages, and of queues, stay below: a delivery's tag has the
/// message's number in its upper 48 bits. At 100,000 messages a second it takes 89 years to get
/// there.
pub(super) const NUMBER_LIMIT: u64 = 1 << 48;

/// What a message counts for, in memory and on disk, where bytes are bounded.
pub(super) fn weight(message: &Message) -> u64 {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let reply_to =
        message.reply_to.as_ref().map_or(0, |to| to.address.len() + to.correlation.len());
    (message.body.len() + headers + reply_to) as u64 + OVERHEAD
}

/// A message as it is written to the log.
#[derive(Clone, Debug)]
pub(super) struct MessageRecord {
    /// The message's number: counts up over all queues.
    pub(super) number: u64,
    /// The queue's number.
    pub(super) queue: u64,
    pub(super) message: Arc<Message>,
}

/// A message that waits for its confirm.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) record: MessageRecord,
    pub(super) weight: u64,
    pub(super) done: Waiter,
}

/// A message that is copied to the log's end, so that the oldest segment can be deleted.
#[derive(Debug)]
pub(super) struct Relocation {
    pub(super) record: MessageRecord,
    pub(super) deliveries: u32,
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct StoredMessage {
    pub(super) number: u64,
    /// The segment that it is in.
    pub(super) segment: u64,
    pub(super) weight: u64,
    /// How often it was delivered to a consumer.
    pub(super) deliveries: u32,
    pub(super) message: Arc<Message>,
}

impl StoredMessage {
    /// Names the current delivery: each delivery of the message has another tag.
    pub(super) fn tag(&self) -> Tag {
        Tag(self.number << 16 | u64::from(self.deliveries & 0xFFFF))
    }

    /// The number of the message that `tag` belongs to.
    pub(super) fn number_in(tag: Tag) -> u64 {
        tag.0 >> 16
    }
}
