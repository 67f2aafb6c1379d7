//! Version 1 of the HTTP messages, behind its version's byte.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::octets::Octets;
use crate::batch::Batch;
use crate::execution::Outcome;
use crate::http_message::{
    DecodeError, Download, Headers, Opening, RequestHead, ResponseHead, Upload,
};

/// Header fields.
pub(super) type WireHeaders<'a> = Vec<(&'a str, Octets<'a>)>;

#[derive(Serialize, Deserialize)]
struct OpeningV1<'a> {
    /// A batch of one dispatch, in a version of its own.
    #[serde(borrow)]
    batch: Octets<'a>,
    #[serde(borrow)]
    head: WireRequestHead<'a>,
    #[serde(borrow)]
    body: Octets<'a>,
    complete: bool,
}

/// The head of a request, which version 2 has as it is.
#[derive(Serialize, Deserialize)]
pub(super) struct WireRequestHead<'a> {
    method: &'a str,
    target: &'a str,
    scheme: &'a str,
    authority: &'a str,
    #[serde(borrow)]
    headers: WireHeaders<'a>,
}

/// What a gateway says next, which version 2 has as it is. The order is the format's.
#[derive(Serialize, Deserialize)]
pub(super) enum WireUpload<'a> {
    #[serde(borrow)]
    Data(Octets<'a>),
    #[serde(borrow)]
    End(WireHeaders<'a>),
}

/// What a host says, which version 2 has as it is. The order is the format's.
#[derive(Serialize, Deserialize)]
pub(super) enum WireDownload<'a> {
    Head {
        status: u16,
        #[serde(borrow)]
        headers: WireHeaders<'a>,
    },
    #[serde(borrow)]
    Data(Octets<'a>),
    #[serde(borrow)]
    End(WireHeaders<'a>),
    Failed {
        outcome: WireOutcome,
        message: &'a str,
    },
}

/// The order is the format's.
#[derive(Serialize, Deserialize)]
pub(super) enum WireOutcome {
    Success,
    Rejected,
    Error,
    Trap,
    OutOfFuel,
    OutOfMemory,
    TimedOut,
    Cancelled,
    Poisoned,
}

fn wrong(error: &postcard::Error) -> DecodeError {
    DecodeError(format!("a message that cannot be read: {error}"))
}

pub(super) fn encode_opening(
    opening: &Opening,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    let batch = Batch::single(opening.dispatch.clone()).encode_as(1);
    let Opening { head, body, complete, .. } = opening;
    let wire = OpeningV1 {
        batch: Octets(&batch),
        head: head.into(),
        body: Octets(body.as_ref()),
        complete: *complete,
    };
    postcard::to_extend(&wire, bytes)
}

pub(super) fn decode_opening(bytes: &[u8]) -> Result<Opening, DecodeError> {
    let OpeningV1 { batch, head, body, complete } =
        postcard::from_bytes(bytes).map_err(|e| wrong(&e))?;
    opening(batch, head, body, complete)
}

/// An opening from its parts.
pub(super) fn opening(
    batch: Octets<'_>,
    head: WireRequestHead<'_>,
    body: Octets<'_>,
    complete: bool,
) -> Result<Opening, DecodeError> {
    let batch = Batch::decode(batch.0).map_err(|e| DecodeError(e.to_string()))?;
    let dispatch = batch.into_dispatches().into_iter().next();
    let dispatch = dispatch.ok_or_else(|| DecodeError("a request without an execution".into()))?;
    Ok(Opening { dispatch, head: head.into(), body: Bytes::copy_from_slice(body.0), complete })
}

pub(super) fn encode_upload(upload: &Upload, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(&WireUpload::from(upload), bytes)
}

pub(super) fn decode_upload(bytes: &[u8]) -> Result<Upload, DecodeError> {
    postcard::from_bytes::<WireUpload<'_>>(bytes).map(Upload::from).map_err(|e| wrong(&e))
}

pub(super) fn encode_download(
    download: &Download,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(&WireDownload::from(download), bytes)
}

pub(super) fn decode_download(bytes: &[u8]) -> Result<Download, DecodeError> {
    postcard::from_bytes::<WireDownload<'_>>(bytes).map(Download::from).map_err(|e| wrong(&e))
}

fn wire_headers(headers: &Headers) -> WireHeaders<'_> {
    headers.iter().map(|(name, value)| (name.as_str(), Octets(value.as_ref()))).collect()
}

fn headers(wire: WireHeaders<'_>) -> Headers {
    wire.into_iter()
        .map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value.0)))
        .collect()
}

impl<'a> From<&'a RequestHead> for WireRequestHead<'a> {
    fn from(head: &'a RequestHead) -> Self {
        Self {
            method: &head.method,
            target: &head.target,
            scheme: &head.scheme,
            authority: &head.authority,
            headers: wire_headers(&head.headers),
        }
    }
}

impl From<WireRequestHead<'_>> for RequestHead {
    fn from(wire: WireRequestHead<'_>) -> Self {
        Self {
            method: wire.method.to_owned(),
            target: wire.target.to_owned(),
            scheme: wire.scheme.to_owned(),
            authority: wire.authority.to_owned(),
            headers: headers(wire.headers),
        }
    }
}

impl<'a> From<&'a Upload> for WireUpload<'a> {
    fn from(upload: &'a Upload) -> Self {
        match upload {
            Upload::Data(data) => Self::Data(Octets(data.as_ref())),
            Upload::End(trailers) => Self::End(wire_headers(trailers)),
        }
    }
}

impl From<WireUpload<'_>> for Upload {
    fn from(wire: WireUpload<'_>) -> Self {
        match wire {
            WireUpload::Data(data) => Self::Data(Bytes::copy_from_slice(data.0)),
            WireUpload::End(trailers) => Self::End(headers(trailers)),
        }
    }
}

impl<'a> From<&'a Download> for WireDownload<'a> {
    fn from(download: &'a Download) -> Self {
        match download {
            Download::Head(head) => {
                Self::Head { status: head.status, headers: wire_headers(&head.headers) }
            }
            Download::Data(data) => Self::Data(Octets(data.as_ref())),
            Download::End(trailers) => Self::End(wire_headers(trailers)),
            Download::Failed { outcome, message } => {
                Self::Failed { outcome: (*outcome).into(), message }
            }
        }
    }
}

impl From<WireDownload<'_>> for Download {
    fn from(wire: WireDownload<'_>) -> Self {
        match wire {
            WireDownload::Head { status, headers: fields } => {
                Self::Head(ResponseHead { status, headers: headers(fields) })
            }
            WireDownload::Data(data) => Self::Data(Bytes::copy_from_slice(data.0)),
            WireDownload::End(trailers) => Self::End(headers(trailers)),
            WireDownload::Failed { outcome, message } => {
                Self::Failed { outcome: outcome.into(), message: message.to_owned() }
            }
        }
    }
}

macro_rules! same_words {
    ($($word:ident)+) => {
        impl From<Outcome> for WireOutcome {
            fn from(outcome: Outcome) -> Self {
                match outcome {
                    $(Outcome::$word => Self::$word,)+
                }
            }
        }

        impl From<WireOutcome> for Outcome {
            fn from(wire: WireOutcome) -> Self {
                match wire {
                    $(WireOutcome::$word => Self::$word,)+
                }
            }
        }
    };
}

same_words!(Success Rejected Error Trap OutOfFuel OutOfMemory TimedOut Cancelled Poisoned);
