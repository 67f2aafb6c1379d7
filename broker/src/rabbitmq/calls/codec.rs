//! Control messages as bytes, in any version that this release knows: those of
//! [`VERSIONS`].

use std::ops::RangeInclusive;

use bytes::Bytes;
use wasmill_domain::wire::Reads;

use super::control_message::{ControlMessage, DecodeError};
use super::{v1, v2};

/// The versions that are read. Each of them can be written.
pub(super) const VERSIONS: RangeInclusive<u8> = Reads::OLDEST.streams..=Reads::HERE.streams;

/// The bit that the first byte of every version but the first has; the others are the version.
const HAS_VERSION: u8 = 0x80;

/// Writes a message in `version`: one of [`VERSIONS`].
pub(super) fn encode(message: &ControlMessage, version: u8) -> Bytes {
    if version == 1 { v1::encode(message) } else { v2::encode(message) }
}

/// Reads a message; `None` where it is of a kind to be skipped.
pub(super) fn decode(bytes: Bytes) -> Result<Option<ControlMessage>, DecodeError> {
    match bytes.first() {
        None => Err(DecodeError::Malformed),
        Some(&v2::VERSION_BYTE) => v2::decode(bytes),
        Some(first) if first & HAS_VERSION != 0 => Err(DecodeError::Version(first & !HAS_VERSION)),
        Some(_) => v1::decode(bytes).map(Some),
    }
}
