//! The messages that carry an HTTP request and its response between a gateway and a host, in each
//! of their versions.

use bytes::Bytes;

use super::versions::Writes;
use super::{http_v1, http_v2};
use crate::http_message::{DecodeError, Download, Opening, Upload};

/// The version of a message, and what follows.
fn version_of(bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let (&version, rest) =
        bytes.split_first().ok_or_else(|| DecodeError("an empty message".into()))?;
    match version {
        1 | 2 => Ok((version, rest)),
        _ => Err(DecodeError(format!(
            "messages of version {version} cannot be read here (1 and 2 can)"
        ))),
    }
}

/// The bytes of a message. It grows a Vec, and every length is known: nothing can fail.
fn written(bytes: Result<Vec<u8>, postcard::Error>) -> Bytes {
    bytes.unwrap_or_default().into()
}

impl Opening {
    /// As bytes, in the version that is written now.
    pub fn encode(self, writes: &Writes) -> Bytes {
        match writes.http() {
            // Who reads no newer message may read no newer batch.
            1 => written(http_v1::encode_opening(&self, vec![1])),
            _ => written(http_v2::encode_opening(&self, writes.batch(), vec![2])),
        }
    }

    /// From bytes, in whichever version they are.
    ///
    /// # Errors
    /// Where they are damaged, of a version that is not read here, or have something that must not
    /// be passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match version_of(bytes)? {
            (1, rest) => http_v1::decode_opening(rest),
            (_, rest) => http_v2::decode_opening(rest),
        }
    }
}

impl Upload {
    /// As bytes, in the version that is written now.
    pub fn encode(&self, writes: &Writes) -> Bytes {
        match writes.http() {
            1 => written(http_v1::encode_upload(self, vec![1])),
            _ => written(http_v2::encode_upload(self, vec![2])),
        }
    }

    /// From bytes, in whichever version they are.
    ///
    /// # Errors
    /// As [`Opening::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match version_of(bytes)? {
            (1, rest) => http_v1::decode_upload(rest),
            (_, rest) => http_v2::decode_upload(rest),
        }
    }
}

impl Download {
    /// As bytes, in the version that is written now.
    pub fn encode(&self, writes: &Writes) -> Bytes {
        match writes.http() {
            1 => written(http_v1::encode_download(self, vec![1])),
            _ => written(http_v2::encode_download(self, vec![2])),
        }
    }

    /// From bytes, in whichever version they are.
    ///
    /// # Errors
    /// As [`Opening::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match version_of(bytes)? {
            (1, rest) => http_v1::decode_download(rest),
            (_, rest) => http_v2::decode_download(rest),
        }
    }
}
