//! Reads the log when the broker is opened.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::batch::{BATCH_HEADER, BatchHeader};
use super::format::reader::Reader;
use super::format::record::{Item, ReadMessage, Record, RecordError};
use super::format::segment::{HeaderError, Location, SEGMENT_HEADER, SegmentHeader};
use super::log::{End, Sealed, segment_path};
use super::message::{StoredMessage, weight};
use crate::port::QueueName;

/// Why the embedded broker cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or this one has.
    #[error("the queue in {} is in use{}: stop that process first, or choose another directory", dir.display(), holder(by))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that uses it, as far as it is known.
        by: Option<u32>,
    },
    /// Bytes that were synced are not what was written.
    #[error(
        "the queue's log is damaged: {} at byte {offset}: {what}. Restore the directory from a backup, or move it away to \
         start with empty queues",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The offset in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// It is of a version that this release does not read: a newer release has written it.
    #[error("{} is of version {version} of the queue's format, which this wasmill does not know: use a newer one", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// The version.
        version: u32,
    },
    /// A newer release has written something that must be understood.
    #[error("{} has something at byte {offset} that this wasmill does not know (tag {tag}): use a newer one", file.display())]
    Extra {
        /// The file.
        file: PathBuf,
        /// The offset of the batch that has it.
        offset: u64,
        /// The extra's tag.
        tag: u8,
    },
    /// The file system refused something.
    #[error("the queue cannot be opened: {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn holder(by: &Option<u32>) -> String {
    by.map(|process| format!(" by process {process}")).unwrap_or_default()
}

impl OpenError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

impl From<OpenError> for crate::port::BrokerError {
    fn from(error: OpenError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What a log has.
pub(super) struct Recovered {
    pub(super) end: End,
    pub(super) first_segment: u64,
    pub(super) next_queue: u64,
    pub(super) next_message: u64,
    pub(super) queues: HashMap<u64, QueueName>,
    /// Each with its queue, in the order of publishing.
    pub(super) messages: Vec<(u64, StoredMessage)>,
}

/// Reads the log in `dir`; `None` where there is none.
pub(super) fn recover(dir: &Path) -> Result<Option<Recovered>, OpenError> {
    let numbers = list_segments(dir)?;
    let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Ok(None) };
    if let Some(gap) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        let file = segment_path(dir, gap[0] + 1);
        return Err(OpenError::Damaged { file, offset: 0, what: "the file is missing".into() });
    }
    let mut replay = Replay::default();
    let mut sealed = VecDeque::new();
    let mut segment = Segment::read(dir, first)?;
    for number in first + 1..=last {
        let next = Segment::read(dir, number)?;
        if next.header.log != segment.header.log {
            return Err(next.damaged(0, "it belongs to another log"));
        }
        let length = next.header.previous_length;
        segment.replay_sealed(length, &mut replay)?;
        sealed.push_back(Sealed { number: number - 1, length });
        segment = next;
    }
    let offset = segment.replay_last(&mut replay)?;
    let end = End { id: segment.header.log, sealed, number: last, offset };
    Ok(Some(replay.finish(end, first)))
}

/// The numbers of the segments in `dir`, sorted. Deletes segments that never got their names.
fn list_segments(dir: &Path) -> Result<Vec<u64>, OpenError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(OpenError::io(dir))? {
        let path = entry.map_err(OpenError::io(dir))?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse::<u64>().ok());
        match (number, path.extension().and_then(|extension| extension.to_str())) {
            (Some(number), Some("log")) => numbers.push(number),
            (Some(_), Some("new")) => fs::remove_file(&path).map_err(OpenError::io(&path))?,
            _ => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A segment's file in memory.
struct Segment {
    path: PathBuf,
    header: SegmentHeader,
    bytes: Vec<u8>,
}

impl Segment {
    fn read(dir: &Path, number: u64) -> Result<Self, OpenError> {
        let path = segment_path(dir, number);
        let bytes = fs::read(&path).map_err(OpenError::io(&path))?;
        let damaged =
            |what: &str| OpenError::Damaged { file: path.clone(), offset: 0, what: what.into() };
        // A segment has its name only once its header is synced, so a bad one is no write cut
        // short.
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            Err(HeaderError::Damaged) => return Err(damaged("the header cannot be read")),
            Err(HeaderError::Version(version)) => {
                return Err(OpenError::Version { file: path, version });
            }
        };
        if header.number != number {
            return Err(damaged(&format!("it is segment {}, under another's name", header.number)));
        }
        Ok(Self { path, header, bytes })
    }

    fn damaged(&self, offset: usize, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { file: self.path.clone(), offset: offset as u64, what: what.into() }
    }

    /// The error for a record that cannot be read, in the batch at `offset`.
    fn unreadable(&self, offset: usize, error: &RecordError) -> OpenError {
        match error {
            RecordError::Extra(tag) => {
                OpenError::Extra { file: self.path.clone(), offset: offset as u64, tag: *tag }
            }
            RecordError::Damaged(_) => self.damaged(offset, error.to_string()),
        }
    }

    fn location(&self, offset: usize) -> Location {
        Location { log: self.header.log, segment: self.header.number, offset: offset as u64 }
    }

    /// The records of the batch at `offset`; `None` where there is no complete batch.
    fn batch_at(&self, offset: usize) -> Option<&[u8]> {
        let bytes = self.bytes.get(offset..)?;
        let header = BatchHeader::decode(bytes, self.location(offset))?;
        let records = bytes.get(BATCH_HEADER..)?.get(..header.length as usize)?;
        header.covers(records).then_some(records)
    }

    /// Replays a segment that another one follows: all of it was synced before that one was begun.
    fn replay_sealed(&self, length: u64, replay: &mut Replay) -> Result<(), OpenError> {
        let end = self.replay_batches(replay)?;
        if (end as u64) < length {
            return Err(self.damaged(end, "what stands there is not what was written"));
        }
        if end as u64 > length || self.bytes[end..].iter().any(|byte| *byte != 0) {
            return Err(self.damaged(
                end.min(usize::try_from(length).unwrap_or(end)),
                "the segment should end there",
            ));
        }
        Ok(())
    }

    /// Replays the segment at the log's end, and returns where its last complete batch ends. Behind
    /// that there may be a write that was cut short, whose messages were never confirmed. Where a
    /// later batch says that the offset was synced, it is damage.
    fn replay_last(&self, replay: &mut Replay) -> Result<u64, OpenError> {
        let end = self.replay_batches(replay)?;
        let behind = self.bytes.get(end + 1..).unwrap_or_default();
        let was_synced =
            BatchHeader::any(behind, self.location(end + 1), |header| header.synced > end as u64);
        // The segment's first batch is synced before the segment has its name.
        if was_synced || end == SEGMENT_HEADER {
            return Err(self.damaged(end, "what stands there is not what was written"));
        }
        if self.bytes[end..].iter().any(|byte| *byte != 0) {
            tracing::warn!(
                "{}: a write was cut short at byte {end}; going on from there",
                self.path.display()
            );
        }
        Ok(end as u64)
    }

    /// Replays batches up to the first offset that has none, and returns that offset.
    fn replay_batches(&self, replay: &mut Replay) -> Result<usize, OpenError> {
        let mut offset = SEGMENT_HEADER;
        while let Some(records) = self.batch_at(offset) {
            for item in Reader::new(self.header.version, records) {
                replay.apply(
                    item.map_err(|error| self.unreadable(offset, &error))?,
                    self.header.number,
                );
            }
            offset += BATCH_HEADER + records.len();
        }
        Ok(offset)
    }
}

/// The state after the records that were read so far.
#[derive(Default)]
struct Replay {
    next_queue: u64,
    next_message: u64,
    queues: HashMap<u64, QueueName>,
    messages: BTreeMap<u64, (u64, StoredMessage)>,
}

impl Replay {
    fn apply(&mut self, item: Item, segment: u64) {
        match item {
            Item::Message(ReadMessage { number, queue, deliveries, message }) => {
                self.next_message = self.next_message.max(number + 1);
                let weight = weight(&message);
                let stored = StoredMessage {
                    number,
                    segment,
                    weight,
                    deliveries,
                    message: Arc::new(message),
                };
                // One that is there already was moved: the later record replaces it.
                self.messages.insert(number, (queue, stored));
            }
            Item::Other(Record::Delivered(numbers)) => {
                for number in numbers {
                    if let Some((_, message)) = self.messages.get_mut(&number) {
                        message.deliveries = message.deliveries.saturating_add(1);
                    }
                }
            }
            Item::Other(Record::Acked(numbers)) => {
                for number in numbers {
                    self.messages.remove(&number);
                }
            }
            Item::Other(Record::Declared { queue, name }) => {
                self.next_queue = self.next_queue.max(queue + 1);
                self.queues.insert(queue, name);
            }
            Item::Other(Record::Deleted { queue }) => {
                self.queues.remove(&queue);
            }
            Item::Other(Record::Table { next_message, next_queue, queues }) => {
                self.next_message = self.next_message.max(next_message);
                self.next_queue = self.next_queue.max(next_queue);
                self.queues = queues.into_iter().collect();
            }
        }
    }

    fn finish(self, end: End, first_segment: u64) -> Recovered {
        // A queue's number is used once only: what is of no known queue is of one that was deleted.
        let queues = self.queues;
        let messages =
            self.messages.into_values().filter(|(queue, _)| queues.contains_key(queue)).collect();
        let Self { next_queue, next_message, .. } = self;
        Recovered { end, first_segment, next_queue, next_message, queues, messages }
    }
}
