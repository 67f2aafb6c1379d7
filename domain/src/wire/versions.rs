//! Which versions of the formats are read, and which are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

/// The newest version of each format that a process reads. It reads the version before as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Of the batch message, which carries dispatches to a function's queue.
    pub batch: u8,
    /// Of the messages that carry an HTTP request and its response between a gateway and a host.
    pub http: u8,
    /// Of the messages that are broadcast to all processes. There is one version.
    pub control: u8,
    /// Of the control messages of request streams between a gateway and a host over RabbitMQ. A
    /// process that does not say it is from before it was said, and reads the oldest.
    #[serde(default = "oldest_streams")]
    pub streams: u8,
    /// Of the messages by which a gateway asks a host whether a version could run; 0 where the
    /// process is from before there were any.
    #[serde(default)]
    pub preflight: u8,
}

fn oldest_streams() -> u8 {
    Reads::OLDEST.streams
}

impl Reads {
    /// What this release reads.
    pub const HERE: Self = Self { batch: 2, http: 2, control: 1, streams: 2, preflight: 1 };

    /// The oldest versions that there are.
    pub const OLDEST: Self = Self { batch: 1, http: 1, control: 1, streams: 1, preflight: 0 };

    /// The newest versions that are read by both.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self {
            batch: self.batch.min(other.batch),
            http: self.http.min(other.http),
            control: self.control.min(other.control),
            streams: self.streams.min(other.streams),
            preflight: self.preflight.min(other.preflight),
        }
    }

    /// The newest versions that this process can write and all of these read: never older than the
    /// oldest that there are.
    pub fn of_all(processes: impl IntoIterator<Item = Self>) -> Self {
        let common = processes.into_iter().fold(Self::HERE, Self::common);
        Self {
            batch: common.batch.max(Self::OLDEST.batch),
            http: common.http.max(Self::OLDEST.http),
            control: common.control.max(Self::OLDEST.control),
            streams: common.streams.max(Self::OLDEST.streams),
            preflight: common.preflight,
        }
    }
}

/// The version of each format that a process writes, which all its encoders consult. Clones share
/// it: whoever learns which processes are alive sets it, at any time. What is sent to one process
/// alone is not among them: it is written as that one reads it.
#[derive(Clone, Debug)]
pub struct Writes(Arc<Versions>);

#[derive(Debug)]
struct Versions {
    batch: AtomicU8,
    http: AtomicU8,
    control: AtomicU8,
    streams: AtomicU8,
}

impl Writes {
    /// What is written where all processes read `common`, as [`Reads::of_all`] gives it.
    pub fn new(common: Reads) -> Self {
        let Reads { batch, http, control, streams, .. } = Reads::of_all([common]);
        Self(Arc::new(Versions {
            batch: AtomicU8::new(batch),
            http: AtomicU8::new(http),
            control: AtomicU8::new(control),
            streams: AtomicU8::new(streams),
        }))
    }

    /// Writes the newest versions from now on that this release and all of `processes` read. A
    /// version that this release cannot write is not written, whatever the others read.
    pub fn set(&self, processes: impl IntoIterator<Item = Reads>) {
        let Reads { batch, http, control, streams, .. } = Reads::of_all(processes);
        // Each format stands by itself, and a message that was just encoded in the version before
        // is read as well.
        self.0.batch.store(batch, Ordering::Relaxed);
        self.0.http.store(http, Ordering::Relaxed);
        self.0.control.store(control, Ordering::Relaxed);
        self.0.streams.store(streams, Ordering::Relaxed);
    }

    /// The version of batches that is written.
    pub fn batch(&self) -> u8 {
        self.0.batch.load(Ordering::Relaxed)
    }

    /// The version of HTTP messages that is written.
    pub fn http(&self) -> u8 {
        self.0.http.load(Ordering::Relaxed)
    }

    /// The version of broadcast messages that is written.
    pub fn control(&self) -> u8 {
        self.0.control.load(Ordering::Relaxed)
    }

    /// The version of request streams' control messages that is written.
    pub fn streams(&self) -> u8 {
        self.0.streams.load(Ordering::Relaxed)
    }
}

impl Default for Writes {
    /// The newest of each.
    fn default() -> Self {
        Self::new(Reads::HERE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_all_read_is_written() {
        let writes = Writes::default();
        let clone = writes.clone();
        let versions =
            |writes: &Writes| (writes.batch(), writes.http(), writes.control(), writes.streams());
        assert_eq!(versions(&writes), (2, 2, 1, 2));
        writes.set([
            Reads { batch: 1, ..Reads::HERE },
            Reads { batch: 9, http: 9, control: 9, streams: 9, preflight: 9 },
        ]);
        assert_eq!(versions(&clone), (1, 2, 1, 2));
        // The process that was behind is gone.
        writes.set([Reads { batch: 9, http: 9, control: 9, streams: 9, preflight: 9 }]);
        assert_eq!(versions(&clone), (2, 2, 1, 2));
        writes.set([Reads::OLDEST]);
        writes.set([]);
        assert_eq!(clone.streams(), Reads::HERE.streams);
    }

    #[test]
    fn no_version_is_written_that_there_never_was() {
        let writes = Writes::new(Reads { batch: 0, http: 0, control: 0, streams: 0, preflight: 0 });
        assert_eq!(
            (writes.batch(), writes.http(), writes.control(), writes.streams()),
            (1, 1, 1, 1)
        );
    }
}
