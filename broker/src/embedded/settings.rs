//! The bounds of the embedded broker.

use std::time::Duration;

/// Every bound of an embedded broker. [`EmbeddedSettings::default`] fits one machine that runs the
/// whole system.
///
/// Messages are kept in memory as well as on disk, so the bounds on bytes bound both. On disk the
/// log is at most twice as long as the messages in it, and four segments besides.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// How many queues there may be. Default: 10,000.
    pub queues: usize,
    /// How many batches a queue takes, unacknowledged ones included. Default: 1,000,000.
    pub queue_max_batches: u64,
    /// How many bytes of messages a queue takes: bodies, headers and 128 bytes for each message.
    /// Default: 256 MiB.
    pub queue_bytes: u64,
    /// How many bytes of messages all queues take together. Default: 1 GiB.
    pub total_bytes: u64,
    /// How large one message may be. Default: 16 MiB. More than 1 GiB means 1 GiB.
    pub message_bytes: u64,
    /// How long a segment of the log grows before the next one is begun. Default: 16 MiB; at least
    /// 4 KiB.
    pub segment_bytes: u64,
    /// How much of a segment is written with zeros ahead of its use. Syncing data over bytes that
    /// are there already is several times faster than syncing a file that grows. Default: 1 MiB; 0
    /// turns it off.
    pub preallocate_bytes: u64,
    /// How many bytes of messages are committed together at most; a larger message is committed
    /// alone. Default: 4 MiB.
    pub batch_bytes: u64,
    /// How many bytes of messages each commit moves while the log is being compacted. Default: 1
    /// MiB.
    pub compact_bytes: u64,
    /// How many requests may await their replies at a time. Default: 65,536.
    pub replies: usize,
    /// How long an acknowledgement may stay unsynced, so that a power failure can undo it. A crash
    /// of the process never does. Default: 1 s.
    pub sync_after: Duration,
    /// How long after a failed write the next attempt is made, where nobody publishes meanwhile.
    /// Default: 500 ms.
    pub retry_after: Duration,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            queues: 10_000,
            queue_max_batches: 1_000_000,
            queue_bytes: 256 << 20,
            total_bytes: 1 << 30,
            message_bytes: 16 << 20,
            segment_bytes: 16 << 20,
            preallocate_bytes: 1 << 20,
            batch_bytes: 4 << 20,
            compact_bytes: 1 << 20,
            replies: 65_536,
            sync_after: Duration::from_secs(1),
            retry_after: Duration::from_millis(500),
        }
    }
}

impl EmbeddedSettings {
    /// The settings with values that cannot work replaced by the nearest that can.
    pub(super) fn checked(mut self) -> Self {
        // Lengths inside the log are 32 bits wide.
        self.message_bytes = self.message_bytes.min(1 << 30);
        self.batch_bytes = self.batch_bytes.clamp(1, 1 << 30);
        self.compact_bytes = self.compact_bytes.clamp(1, 1 << 30);
        self.segment_bytes = self.segment_bytes.clamp(4 << 10, 1 << 40);
        self.preallocate_bytes = self.preallocate_bytes.min(self.segment_bytes);
        self
    }
}
