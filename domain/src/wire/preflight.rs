//! The messages by which a gateway asks a host whether a version could run, in each of their
//! versions.

use bytes::Bytes;

use super::preflight_v1;
use super::versions::Reads;
use crate::preflight::{DecodeError, PreflightAnswer, PreflightRequest};

/// What follows the version of a message.
fn read(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_first() {
        Some((1, rest)) => Ok(rest),
        Some((version, _)) => Err(DecodeError(format!(
            "messages about a version to deploy in version {version} cannot be read here (1 can)"
        ))),
        None => Err(DecodeError("an empty message".into())),
    }
}

impl PreflightRequest {
    /// As bytes, in the newest version that is written here and that a process reads which says
    /// `reads` of itself; `None` where it knows of no such messages.
    pub fn encode_for(&self, reads: Reads) -> Option<Bytes> {
        match reads.preflight.min(Reads::HERE.preflight) {
            0 => None,
            // It grows a Vec, and every length is known: nothing can fail.
            _ => Some(preflight_v1::encode_request(self, vec![1]).unwrap_or_default().into()),
        }
    }

    /// From bytes, in whichever version they are.
    ///
    /// # Errors
    /// Where they are damaged, of a version that is not read here, have something that must not be
    /// passed over, or a manifest with a key that is not known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        read(bytes).and_then(preflight_v1::decode_request)
    }
}

impl PreflightAnswer {
    /// As bytes, in version 1, which whoever asked in it reads.
    pub fn encode(&self) -> Bytes {
        preflight_v1::encode_answer(self, vec![1]).unwrap_or_default().into()
    }

    /// From bytes, in whichever version they are.
    ///
    /// # Errors
    /// Where they are damaged, of a version that is not read here, or have something that must not
    /// be passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        read(bytes).and_then(preflight_v1::decode_answer)
    }
}
