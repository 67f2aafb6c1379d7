//! What the two ends of a request stream send to each other.

use bytes::Bytes;
use uuid::Uuid;

/// The bit of kinds and of extras' tags that a reader must know.
pub(super) const MUST_UNDERSTAND: u8 = 0x80;

/// A message to a process's reply queue or, to open a stream, to a service's queue. Any of them may
/// come twice, as what is not confirmed when a connection is lost is sent again over the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ControlMessage {
    /// The end that it is for; in an opening message, the end that opens the stream.
    pub(super) stream: Uuid,
    pub(super) control: Control,
}

/// What a control message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Opens a stream: the sender's reply queue, and the stream's first message.
    Open { reply_queue: String, opening: Bytes },
    /// The stream is accepted: the sender's reply queue, and the id of its end.
    Accepted { reply_queue: String, stream: Uuid },
    /// The message of this number, counted from 0.
    Data { number: u64, body: Bytes },
    /// The sender has consumed so many messages in all: that many and a window more may be sent.
    Consumed { count: u64 },
    /// The sender sends no more, after so many messages.
    End { count: u64 },
    /// The sender receives no more.
    Stop,
    /// The sender is there.
    KeepAlive,
}

/// Why bytes are not a control message that this process can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// They are none, or are cut off.
    #[error("it is no control message, or is cut off")]
    Malformed,
    /// They are of a version that is not known here.
    #[error("version {0} of control messages is not known here")]
    Version(u8),
    /// They are of a kind that must be understood and is not known here.
    #[error("a kind of control message is not known here ({kind})")]
    Kind {
        /// The end that it is for.
        stream: Uuid,
        kind: u8,
    },
    /// They have an extra that must be understood and is not known here.
    #[error("a control message has an extra that is not known here (tag {tag})")]
    Extra {
        /// The end that it is for.
        stream: Uuid,
        tag: u8,
    },
}
