//! Counts the messages that are alive in each segment of the log: in a queue, and written there
//! last.

use std::collections::VecDeque;

/// How much of each segment is alive.
#[derive(Debug)]
pub(super) struct Alive {
    /// The oldest segment.
    first: u64,
    segments: VecDeque<Tally>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    messages: u64,
    bytes: u64,
}

impl Alive {
    /// Nothing, in a log whose oldest segment is `first`.
    pub(super) fn since(first: u64) -> Self {
        Self { first, segments: VecDeque::new(), bytes: 0 }
    }

    fn index(&self, segment: u64) -> usize {
        // Nothing is ever alive in a segment that is gone.
        usize::try_from(segment.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// A message was written to `segment`.
    pub(super) fn add(&mut self, segment: u64, bytes: u64) {
        let at = self.index(segment);
        if self.segments.len() <= at {
            self.segments.resize(at + 1, Tally::default());
        }
        self.segments[at].messages += 1;
        self.segments[at].bytes += bytes;
        self.bytes += bytes;
    }

    /// A message in `segment` is acknowledged, deleted, or was moved.
    pub(super) fn remove(&mut self, segment: u64, bytes: u64) {
        let at = self.index(segment);
        if let Some(tally) = self.segments.get_mut(at) {
            tally.messages -= 1;
            tally.bytes -= bytes;
            self.bytes -= bytes;
        }
    }

    /// The weight of everything that is alive.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing in `segment` is alive.
    pub(super) fn is_dead(&self, segment: u64) -> bool {
        self.segments.get(self.index(segment)).is_none_or(|tally| tally.messages == 0)
    }

    /// The oldest segment is gone.
    pub(super) fn remove_oldest(&mut self) {
        self.segments.pop_front();
        self.first += 1;
    }
}
