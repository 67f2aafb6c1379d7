//! The settings of a publisher.

use wasmill_domain::wire::Writes;

/// The bounds of a [`BatchPublisher`](super::BatchPublisher), and the versions that it writes.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// How many batches of one queue may await their confirms at a time. Default: 8. While fewer
    /// do, a dispatch is sent at once; otherwise it waits to share a batch with others.
    pub in_flight: usize,
    /// How many dispatches of one queue may wait for a batch. Default: 16,384.
    pub waiting: usize,
    /// How many bytes of dispatches may wait for a batch, those of all queues together, and of one
    /// tenant no more than it leaves free for others. Default: 128 MiB.
    pub waiting_bytes: usize,
    /// The versions that messages are written in: those of batches here, and the others by whoever
    /// has the publisher. Default: the newest.
    pub writes: Writes,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self { in_flight: 8, waiting: 16_384, waiting_bytes: 128 << 20, writes: Writes::default() }
    }
}
