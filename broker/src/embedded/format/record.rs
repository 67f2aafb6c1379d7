//! Records as the broker works with them, whatever version they are written in.

use crate::port::{Message, QueueName};

/// The bit of extras' tags that a reader must know.
pub(super) const MUST_UNDERSTAND: u8 = 0x80;

/// One thing that happened, other than a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// These messages were delivered to consumers, once more each.
    Delivered(Vec<u64>),
    /// These messages are acknowledged.
    Acked(Vec<u64>),
    /// There is a queue.
    Declared { queue: u64, name: QueueName },
    /// There is no such queue any more, nor its messages.
    Deleted { queue: u64 },
    /// What must be known when everything before this is gone: the first record of each segment.
    Table { next_message: u64, next_queue: u64, queues: Vec<(u64, QueueName)> },
}

/// A message that was published, or moved to the log's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadMessage {
    /// The message's number: counts up over all queues, so it is also the order in each.
    pub(crate) number: u64,
    /// The queue's number.
    pub(crate) queue: u64,
    /// How often it was delivered to a consumer before this was written.
    pub(crate) deliveries: u32,
    pub(crate) message: Message,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Message(ReadMessage),
    Other(Record),
}

/// Why a record cannot be read although its batch has the right checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// It is no record of its version.
    #[error("a record cannot be read: {0}")]
    Damaged(String),
    /// It has an extra that must be understood and is not known here.
    #[error("a record has an extra that is not known here (tag {0})")]
    Extra(u8),
}
