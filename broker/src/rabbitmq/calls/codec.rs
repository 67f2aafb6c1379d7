//! Control messages as bytes, in any version that this release knows: from the `streams` of
//! [`Reads::OLDEST`](wasmill_domain::wire::Reads::OLDEST) to that of `Reads::HERE`.

use bytes::Bytes;

use super::control_message::{ControlMessage, DecodeError};
use super::{v1, v2};

/// The bit that the first byte of every version but the first has; the others are the version.
const HAS_VERSION: u8 = 0x80;

/// Writes a message in `version`: one of those that are read.
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
