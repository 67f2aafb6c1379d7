//! The header of a segment, and positions in the log.

use std::ops::RangeInclusive;

use uuid::Uuid;

/// The length of a segment's header, in bytes.
pub(crate) const SEGMENT_HEADER: usize = 64;

/// The version of the format that is written.
pub(crate) const WRITTEN: u32 = 1;

/// The versions that are read.
pub(crate) const READ: RangeInclusive<u32> = 1..=1;

const SEGMENT_MAGIC: [u8; 8] = *b"wasmillq";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The version of what is behind the header: one of [`READ`].
    pub(crate) version: u32,
    /// The log that it belongs to: random, so that segments of two logs are not mixed up.
    pub(crate) log: Uuid,
    /// Its number; also its file's name.
    pub(crate) number: u64,
    /// How long the segment before it is; 0 for the first.
    pub(crate) previous_length: u64,
}

/// Why the first bytes of a file are not a segment's header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Cut off, damaged, or not a segment at all.
    Damaged,
    /// Of a version that this release does not read.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..32].copy_from_slice(self.log.as_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_length.to_le_bytes());
        let crc = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, HeaderError> {
        let bytes = file.get(..SEGMENT_HEADER).ok_or(HeaderError::Damaged)?;
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 12) != Self::checksum(bytes) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8);
        if !READ.contains(&version) {
            return Err(HeaderError::Version(version));
        }
        let log = Uuid::from_slice(&bytes[16..32]).map_err(|_| HeaderError::Damaged)?;
        Ok(Self { version, log, number: u64_at(bytes, 32), previous_length: u64_at(bytes, 40) })
    }

    /// Over everything but the checksum itself.
    fn checksum(bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..12]);
        hasher.update(&bytes[16..]);
        hasher.finalize()
    }
}

/// A position in the log. It is part of a batch's checksum, so that bytes which only look like a
/// batch (old ones, or a message's body made to deceive) are not taken for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub(crate) log: Uuid,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The number at `at`. Panics where `bytes` is too short: callers have checked its length.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// The number at `at`. Panics where `bytes` is too short: callers have checked its length.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
