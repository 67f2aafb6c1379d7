//! The bytes of the log: see the module's documentation above for what they mean.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::parts::Parcel;
use crate::port::{Message, QueueName, ReplyTo};

/// The length of what a segment begins with.
pub(super) const SEGMENT_HEADER: usize = 64;
/// The length of what a batch begins with.
pub(super) const BATCH_HEADER: usize = 24;
/// The version of the format that is written and read.
const VERSION: u32 = 1;
const SEGMENT_MAGIC: [u8; 8] = *b"wasmillq";
const BATCH_MAGIC: [u8; 4] = [0xB7, b'W', b'M', 0x01];

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The log that it belongs to: random, so that segments of two logs are not mixed up.
    pub(super) log: Uuid,
    /// Its number; also its file's name.
    pub(super) number: u64,
    /// How long the segment before it is; 0 for the first.
    pub(super) previous_length: u64,
}

/// Why the first bytes of a file are not a segment's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Cut off, damaged, or something else altogether.
    Damaged,
    /// Written by a newer wasmill.
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(self.log.as_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_length.to_le_bytes());
        let crc = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(file: &[u8]) -> Result<Self, HeaderError> {
        let bytes = file.get(..SEGMENT_HEADER).ok_or(HeaderError::Damaged)?;
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 12) != Self::checksum(bytes) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let log = Uuid::from_slice(&bytes[16..32]).map_err(|_| HeaderError::Damaged)?;
        Ok(Self { log, number: u64_at(bytes, 32), previous_length: u64_at(bytes, 40) })
    }

    /// Over everything but the checksum itself.
    fn checksum(bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..12]);
        hasher.update(&bytes[16..]);
        hasher.finalize()
    }
}

/// Where a batch stands. It is part of the batch's checksum, so that bytes which only look like a batch (old ones, or a
/// message's body made to deceive) are not taken for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) log: Uuid,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What a batch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// The length of the records behind the header.
    pub(super) length: u32,
    /// Up to which offset the segment was on the disk, and not merely written, when this batch was written.
    pub(super) synced: u64,
    records_crc: u32,
}

impl BatchHeader {
    /// Reads the header at the beginning of `bytes`; `None` where there is none for this place.
    pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        if bytes[..4] != BATCH_MAGIC || u32_at(bytes, 4) != header_checksum(bytes, place) {
            return None;
        }
        Some(Self { records_crc: u32_at(bytes, 8), length: u32_at(bytes, 12), synced: u64_at(bytes, 16) })
    }

    /// Whether `records` are the ones that were written.
    pub(super) fn covers(&self, records: &[u8]) -> bool {
        crc32fast::hash(records) == self.records_crc
    }

    /// Whether any header stands in `bytes`, whose first byte is at `place`, that satisfies `wanted`.
    pub(super) fn any(bytes: &[u8], place: Place, wanted: impl Fn(&Self) -> bool) -> bool {
        let starts = bytes.windows(BATCH_HEADER).enumerate().filter(|(_, window)| window[..4] == BATCH_MAGIC);
        starts
            .filter_map(|(at, window)| Self::decode(window, Place { offset: place.offset + at as u64, ..place }))
            .any(|header| wanted(&header))
    }
}

fn header_checksum(bytes: &[u8], place: Place) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(place.log.as_bytes());
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(&bytes[8..BATCH_HEADER]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// One thing that happened, as it is written. A change here is a new version of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A message was published, or moved to the log's end. Its headers, its reply address and its body follow.
    Message(Envelope),
    /// These messages were handed to consumers, once more each.
    Delivered(Vec<u64>),
    /// These messages are done.
    Acked(Vec<u64>),
    /// There is a queue.
    Declared { queue: u64, name: QueueName },
    /// There is no such queue any more, nor its messages.
    Deleted { queue: u64 },
    /// What must be known when everything before this is gone: the first record of each segment.
    Table { next_message: u64, next_queue: u64, queues: Vec<(u64, QueueName)> },
}

/// What a message's record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The message's number: counts up over all queues, so it is also the order in each.
    pub(super) message: u64,
    /// The queue's number.
    pub(super) queue: u64,
    /// How often it was handed to a consumer.
    pub(super) deliveries: u32,
    body_length: u32,
}

/// A record read.
#[derive(Debug)]
pub(super) enum Item {
    /// A message with its contents.
    Message(Envelope, Message),
    /// Anything else.
    Other(Record),
}

/// Reads the records of a batch one by one; an error where they cannot be read although the checksum is right.
pub(super) fn read_records(mut bytes: &[u8]) -> impl Iterator<Item = Result<Item, postcard::Error>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let read = read_record(bytes);
        bytes = read.as_ref().map_or(&[][..], |(_, rest)| rest);
        Some(read.map(|(item, _)| item))
    })
}

fn read_record(bytes: &[u8]) -> Result<(Item, &[u8]), postcard::Error> {
    let (record, rest) = postcard::take_from_bytes::<Record>(bytes)?;
    let Record::Message(envelope) = record else { return Ok((Item::Other(record), rest)) };
    let (headers, rest) = postcard::take_from_bytes::<Vec<(String, String)>>(rest)?;
    let (reply_to, rest) = postcard::take_from_bytes::<Option<ReplyTo>>(rest)?;
    let (body, rest) =
        rest.split_at_checked(envelope.body_length as usize).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    Ok((Item::Message(envelope, Message { body: body.to_vec().into(), headers, reply_to }), rest))
}

/// Adds a record to `bytes`.
pub(super) fn write_record(bytes: &mut Vec<u8>, record: &Record) {
    write_value(bytes, record);
}

fn write_value<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    // Cannot fail: it grows a Vec, and every length is known.
    *bytes = postcard::to_extend(value, std::mem::take(bytes)).expect("a Vec takes every value");
}

/// Records to be written together: all of them are there after a crash, or none.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
}

/// An emptied batch keeps so much memory for the next one.
const BATCH_MEMORY: usize = 8 << 20;

impl Batch {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BATCH_HEADER] }
    }

    /// Empties it, and gives back the memory of an unusually large one.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(BATCH_HEADER);
        self.bytes.shrink_to(BATCH_MEMORY);
    }

    /// Whether it has no records.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == BATCH_HEADER
    }

    /// How many bytes of the segment it takes.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Adds records that are encoded already.
    pub(super) fn add_encoded(&mut self, records: &[u8]) {
        self.bytes.extend_from_slice(records);
    }

    /// Adds a record other than a message.
    pub(super) fn add(&mut self, record: &Record) {
        write_record(&mut self.bytes, record);
    }

    /// Adds a message.
    pub(super) fn add_message(&mut self, parcel: &Parcel, deliveries: u32) {
        let message = &*parcel.message;
        // Bounded by `EmbeddedSettings::message_bytes`, which is at most 1 GiB.
        let body_length = u32::try_from(message.body.len()).unwrap_or(u32::MAX);
        let envelope = Envelope { message: parcel.number, queue: parcel.queue, deliveries, body_length };
        write_value(&mut self.bytes, &Record::Message(envelope));
        write_value(&mut self.bytes, &message.headers);
        write_value(&mut self.bytes, &message.reply_to);
        self.bytes.extend_from_slice(&message.body);
    }

    /// The bytes to be written at `place`.
    pub(super) fn seal(&mut self, place: Place, synced: u64) -> &[u8] {
        let records_crc = crc32fast::hash(&self.bytes[BATCH_HEADER..]);
        // A batch holds `batch_bytes` or one message, and notes of about the same: far less than 4 GiB.
        let length = u32::try_from(self.bytes.len() - BATCH_HEADER).unwrap_or(u32::MAX);
        let header = &mut self.bytes[..BATCH_HEADER];
        header[..4].copy_from_slice(&BATCH_MAGIC);
        header[8..12].copy_from_slice(&records_crc.to_le_bytes());
        header[12..16].copy_from_slice(&length.to_le_bytes());
        header[16..24].copy_from_slice(&synced.to_le_bytes());
        let crc = header_checksum(header, place);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn place(offset: u64) -> Place {
        Place { log: Uuid::from_u128(7), segment: 3, offset }
    }

    #[test]
    fn a_batch_and_back() {
        let message = Message {
            body: vec![5; 300].into(),
            headers: vec![("a".into(), "b".into())],
            reply_to: Some(ReplyTo { address: "x".into(), correlation: "y".into() }),
        };
        let parcel = Parcel { number: 9, queue: 2, message: Arc::new(message.clone()) };
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.add(&Record::Acked(vec![1, 2, 300]));
        batch.add_message(&parcel, 4);
        batch.add(&Record::Declared { queue: 1, name: "q".parse().unwrap() });
        let bytes = batch.seal(place(64), 10).to_vec();

        let header = BatchHeader::decode(&bytes, place(64)).unwrap();
        assert_eq!((header.length as usize, header.synced), (bytes.len() - BATCH_HEADER, 10));
        let records = &bytes[BATCH_HEADER..];
        assert!(header.covers(records));
        let items: Vec<Item> = read_records(records).collect::<Result<_, _>>().unwrap();
        assert!(matches!(&items[0], Item::Other(Record::Acked(numbers)) if *numbers == [1, 2, 300]));
        let Item::Message(envelope, read) = &items[1] else { panic!("{items:?}") };
        assert_eq!((envelope.message, envelope.queue, envelope.deliveries), (9, 2, 4));
        assert_eq!(*read, message);
        assert!(matches!(&items[2], Item::Other(Record::Declared { queue: 1, .. })));
    }

    #[test]
    fn a_batch_is_valid_at_its_place_only() {
        let mut batch = Batch::new();
        let bytes = batch.seal(place(64), 10).to_vec();
        assert!(BatchHeader::decode(&bytes, place(65)).is_none());
        assert!(BatchHeader::decode(&bytes, Place { segment: 4, ..place(64) }).is_none());
        assert!(BatchHeader::decode(&bytes, Place { log: Uuid::from_u128(8), ..place(64) }).is_none());
        let shifted = [&[1, 2, 3][..], &bytes].concat();
        assert!(BatchHeader::any(&shifted, place(61), |header| header.synced == 10));
        assert!(!BatchHeader::any(&shifted, place(60), |_| true));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut batch = Batch::new();
        batch.add(&Record::Acked(vec![1, 2, 3]));
        let bytes = batch.seal(place(64), 10).to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let intact = BatchHeader::decode(&bytes, place(64)).is_some_and(|h| h.covers(&bytes[BATCH_HEADER..]));
            assert!(!intact, "bit {bit}");
        }
        let header = SegmentHeader { log: Uuid::from_u128(7), number: 3, previous_length: 5 };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Damaged), "bit {bit}");
        }
    }
}
