//! Version 2 of the HTTP messages, behind its version's byte: what version 1 says, and extras.

use serde::{Deserialize, Serialize};

use super::extras::Extra;
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

/// Appends what is said, and extras.
fn encode<T: Serialize>(
    said: &T,
    extras: &[Extra],
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(extras, postcard::to_extend(said, bytes)?)
}

/// What is said in all of `bytes`. No extra is known yet: one that may not be passed over is
/// refused.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let wrong = |e: postcard::Error| DecodeError(format!("a message that cannot be read: {e}"));
    let (said, rest): (T, &[u8]) = postcard::take_from_bytes(bytes).map_err(wrong)?;
    let (extras, rest): (Vec<Extra>, &[u8]) = postcard::take_from_bytes(rest).map_err(wrong)?;
    if !rest.is_empty() {
        return Err(DecodeError(format!("{} bytes stand behind the message", rest.len())));
    }
    match Extra::first_needed(&extras) {
        Some(tag) => Err(DecodeError(format!(
            "the message has something that is not known here (tag {tag})"
        ))),
        None => Ok(said),
    }
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
    encode(&wire, &[], bytes)
}

pub(super) fn decode_opening(bytes: &[u8]) -> Result<Opening, DecodeError> {
    let OpeningV2 { batch, head, body, complete } = decode(bytes)?;
    opening(batch, head, body, complete)
}

pub(super) fn encode_upload(upload: &Upload, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    encode(&WireUpload::from(upload), &[], bytes)
}

pub(super) fn decode_upload(bytes: &[u8]) -> Result<Upload, DecodeError> {
    decode::<WireUpload<'_>>(bytes).map(Upload::from)
}

pub(super) fn encode_download(
    download: &Download,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    encode(&WireDownload::from(download), &[], bytes)
}

pub(super) fn decode_download(bytes: &[u8]) -> Result<Download, DecodeError> {
    decode::<WireDownload<'_>>(bytes).map(Download::from)
}
