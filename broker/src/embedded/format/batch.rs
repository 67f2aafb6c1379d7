//! Batches: records that are written together. After a crash all of a batch is there, or nothing.

use super::record::Record;
use super::segment::{Location, u32_at, u64_at};
use super::v1;
use crate::embedded::message::MessageRecord;

/// The length of a batch's header, in bytes.
pub(crate) const BATCH_HEADER: usize = 24;

const BATCH_MAGIC: [u8; 4] = [0xB7, b'W', b'M', 0x01];

/// An emptied batch keeps so much memory for the next one, in bytes.
const BATCH_MEMORY: usize = 8 << 20;

/// What a batch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The length of the records behind the header, in bytes.
    pub(crate) length: u32,
    /// Up to which offset the segment was synced, and not merely written, when this was written.
    pub(crate) synced: u64,
    records_crc: u32,
}

impl BatchHeader {
    /// Reads the header at the beginning of `bytes`; `None` where there is none for this location.
    pub(crate) fn decode(bytes: &[u8], at: Location) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        if bytes[..4] != BATCH_MAGIC || u32_at(bytes, 4) != header_checksum(bytes, at) {
            return None;
        }
        Some(Self {
            records_crc: u32_at(bytes, 8),
            length: u32_at(bytes, 12),
            synced: u64_at(bytes, 16),
        })
    }

    /// Whether `records` are the ones that were written.
    pub(crate) fn covers(&self, records: &[u8]) -> bool {
        crc32fast::hash(records) == self.records_crc
    }

    /// Whether `bytes`, whose first byte is at `first`, have any header that satisfies `wanted`.
    pub(crate) fn any(bytes: &[u8], first: Location, wanted: impl Fn(&Self) -> bool) -> bool {
        let starts = bytes
            .windows(BATCH_HEADER)
            .enumerate()
            .filter(|(_, window)| window[..4] == BATCH_MAGIC);
        starts
            .filter_map(|(at, window)| {
                Self::decode(window, Location { offset: first.offset + at as u64, ..first })
            })
            .any(|header| wanted(&header))
    }
}

fn header_checksum(bytes: &[u8], at: Location) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(at.log.as_bytes());
    hasher.update(&at.segment.to_le_bytes());
    hasher.update(&at.offset.to_le_bytes());
    hasher.update(&bytes[8..BATCH_HEADER]);
    hasher.finalize()
}

/// Adds a record to `bytes`, in the version that is written.
pub(crate) fn write_record(bytes: &mut Vec<u8>, record: &Record) {
    v1::write(bytes, record);
}

/// Records to be written together, in the version that is written.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BATCH_HEADER] }
    }

    /// Empties it, and frees the memory of an unusually large one.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(BATCH_HEADER);
        self.bytes.shrink_to(BATCH_MEMORY);
    }

    /// Whether it has no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == BATCH_HEADER
    }

    /// How many bytes of the segment it takes.
    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Adds records that are encoded already.
    pub(crate) fn add_encoded(&mut self, records: &[u8]) {
        self.bytes.extend_from_slice(records);
    }

    /// Adds a record other than a message.
    pub(crate) fn add(&mut self, record: &Record) {
        write_record(&mut self.bytes, record);
    }

    /// Adds a message.
    pub(crate) fn add_message(&mut self, record: &MessageRecord, deliveries: u32) {
        v1::write_message(&mut self.bytes, record, deliveries);
    }

    /// The bytes to be written at `at`.
    pub(crate) fn seal(&mut self, at: Location, synced: u64) -> &[u8] {
        let records_crc = crc32fast::hash(&self.bytes[BATCH_HEADER..]);
        // A batch has `batch_bytes` or one message, and other records of about the same: far less
        // than 4 GiB.
        let length = u32::try_from(self.bytes.len() - BATCH_HEADER).unwrap_or(u32::MAX);
        let header = &mut self.bytes[..BATCH_HEADER];
        header[..4].copy_from_slice(&BATCH_MAGIC);
        header[8..12].copy_from_slice(&records_crc.to_le_bytes());
        header[12..16].copy_from_slice(&length.to_le_bytes());
        header[16..24].copy_from_slice(&synced.to_le_bytes());
        let crc = header_checksum(header, at);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}
