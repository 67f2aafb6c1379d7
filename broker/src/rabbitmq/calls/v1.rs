//! Version 1 of control messages: a kind, the stream's id, and what the kind has. Numbers are
//! little-endian. There is no version in it and no place for extras; a later version is told by its
//! first byte, which is no kind of this one.
//! ```text
//!  0  kind (1 to 7)
//!  1  stream (16 bytes)
//! 17  Open        length of the reply queue's name (u8), the name, the opening message
//!     Accepted    stream (16 bytes), the reply queue's name
//!     Data        number (u64), the body
//!     Consumed    count (u64)
//!     End         count (u64)
//!     Stop        nothing
//!     KeepAlive   nothing
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::control_message::{Control, ControlMessage, DecodeError};

const OPEN: u8 = 1;
const ACCEPTED: u8 = 2;
const DATA: u8 = 3;
const CONSUMED: u8 = 4;
const END: u8 = 5;
const STOP: u8 = 6;
const KEEP_ALIVE: u8 = 7;

/// The length of the kind and the stream's id.
const HEAD: usize = 17;

/// Writes a message.
pub(super) fn encode(message: &ControlMessage) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD + payload_length(&message.control));
    bytes.put_u8(kind_of(&message.control));
    bytes.put_slice(message.stream.as_bytes());
    put_payload(&mut bytes, &message.control);
    bytes.freeze()
}

/// Reads a message.
pub(super) fn decode(mut bytes: Bytes) -> Result<ControlMessage, DecodeError> {
    if bytes.len() < HEAD {
        return Err(DecodeError::Malformed);
    }
    let payload = bytes.split_off(HEAD);
    let stream = Uuid::from_slice(&bytes[1..]).map_err(|_| DecodeError::Malformed)?;
    let control = payload_of(bytes[0], payload).ok_or(DecodeError::Malformed)?;
    Ok(ControlMessage { stream, control })
}

/// The kind of a message.
pub(super) fn kind_of(control: &Control) -> u8 {
    match control {
        Control::Open { .. } => OPEN,
        Control::Accepted { .. } => ACCEPTED,
        Control::Data { .. } => DATA,
        Control::Consumed { .. } => CONSUMED,
        Control::End { .. } => END,
        Control::Stop => STOP,
        Control::KeepAlive => KEEP_ALIVE,
    }
}

/// Whether a kind is one of this version.
pub(super) fn is_kind(kind: u8) -> bool {
    (OPEN..=KEEP_ALIVE).contains(&kind)
}

/// The length of what a kind has, at least.
pub(super) fn payload_length(control: &Control) -> usize {
    match control {
        Control::Open { reply_queue, opening } => 1 + reply_queue.len() + opening.len(),
        Control::Accepted { reply_queue, .. } => 16 + reply_queue.len(),
        Control::Data { body, .. } => 8 + body.len(),
        Control::Consumed { .. } | Control::End { .. } => 8,
        Control::Stop | Control::KeepAlive => 0,
    }
}

/// Writes what a kind has.
pub(super) fn put_payload(bytes: &mut BytesMut, control: &Control) {
    match control {
        Control::Open { reply_queue, opening } => {
            // A queue's name has at most 255 bytes.
            bytes.put_u8(u8::try_from(reply_queue.len()).unwrap_or(u8::MAX));
            bytes.put_slice(reply_queue.as_bytes());
            bytes.put_slice(opening);
        }
        Control::Accepted { reply_queue, stream } => {
            bytes.put_slice(stream.as_bytes());
            bytes.put_slice(reply_queue.as_bytes());
        }
        Control::Data { number, body } => {
            bytes.put_u64_le(*number);
            bytes.put_slice(body);
        }
        Control::Consumed { count } | Control::End { count } => bytes.put_u64_le(*count),
        Control::Stop | Control::KeepAlive => {}
    }
}

/// Reads what a kind has; `None` where it is none of this version, or cut off.
pub(super) fn payload_of(kind: u8, mut payload: Bytes) -> Option<Control> {
    Some(match kind {
        OPEN => {
            let length = usize::from(*payload.first()?);
            let mut name = payload.split_off(1);
            let opening = (name.len() >= length).then(|| name.split_off(length))?;
            Control::Open { reply_queue: text(&name)?, opening }
        }
        ACCEPTED => {
            let stream = Uuid::from_slice(payload.get(..16)?).ok()?;
            Control::Accepted { reply_queue: text(&payload[16..])?, stream }
        }
        DATA => {
            let number = number(&payload)?;
            Control::Data { number, body: payload.split_off(8) }
        }
        CONSUMED => Control::Consumed { count: number(&payload)? },
        END => Control::End { count: number(&payload)? },
        STOP => Control::Stop,
        KEEP_ALIVE => Control::KeepAlive,
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}
