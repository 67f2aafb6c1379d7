//! Version 2 of the HTTP messages, behind its version's byte: what version 1 says, and extras.

use serde::{Deserialize, Serialize};

use super::extras;
use super::http_v1::{WireDownload, WireRequestHead, WireUpload, opening};
use super::octets::Octets;
use crate::batch::Batch;
use crate::http_message::{DecodeError, Download, Opening, Upload};

/// What a gateway says first.
#[derive(Serialize, Deserialize)]
struct OpeningV2<'a> {
    /// A batch of one dispatch, in a version of its own.
    #[serde(borrow)]
    batch: Octets<'a>,
    #[serde(borrow)]
    head: WireRequestHead<'a>,
    #[serde(borrow)]
    body: Octets<'a>,
    complete: bool,
}

/// What is said in all of `bytes`. No extra is known yet.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    extras::decode_without(bytes).map_err(DecodeError)
}

pub(super) fn encode_opening(
    opening: &Opening,
    batch: u8,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    let batch = Batch::single(opening.dispatch.clone()).encode_as(batch);
    let Opening { head, body, complete, .. } = opening;
    let wire = OpeningV2 {
        batch: Octets(&batch),
        head: head.into(),
        body: Octets(body.as_ref()),
        complete: *complete,
    };
    extras::encode_with(&wire, &[], bytes)
}

pub(super) fn decode_opening(bytes: &[u8]) -> Result<Opening, DecodeError> {
    let OpeningV2 { batch, head, body, complete } = decode(bytes)?;
    opening(batch, head, body, complete)
}

pub(super) fn encode_upload(upload: &Upload, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    extras::encode_with(&WireUpload::from(upload), &[], bytes)
}

pub(super) fn decode_upload(bytes: &[u8]) -> Result<Upload, DecodeError> {
    decode::<WireUpload<'_>>(bytes).map(Upload::from)
}

pub(super) fn encode_download(
    download: &Download,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    extras::encode_with(&WireDownload::from(download), &[], bytes)
}

pub(super) fn decode_download(bytes: &[u8]) -> Result<Download, DecodeError> {
    decode::<WireDownload<'_>>(bytes).map(Download::from)
}
