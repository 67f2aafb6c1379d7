//! Version 2 of control messages: version 1 behind a version byte, and with a place for extras.
//! Numbers are little-endian.
//! ```text
//!  0  0x82: the version, with a bit that no kind of version 1 has
//!  1  kind
//!  2  stream (16 bytes)
//! 18  length of the extras (u16)
//! 20  extras: tag (u8), length (u16), body; any number of them
//!     what the kind has: see version 1
//! ```
//! A later field is an extra, or a kind. A reader skips a tag or a kind that it does not know,
//! unless it has the bit `MUST_UNDERSTAND`. No tag is in use yet.

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::control_message::{Control, ControlMessage, DecodeError, MUST_UNDERSTAND};
use super::v1;

/// The first byte.
pub(super) const VERSION_BYTE: u8 = 0x82;

/// The length of everything before the extras.
const HEAD: usize = 20;

/// Writes a message.
pub(super) fn encode(message: &ControlMessage) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD + v1::payload_length(&message.control));
    put_head(&mut bytes, v1::kind_of(&message.control), message.stream, 0);
    v1::put_payload(&mut bytes, &message.control);
    bytes.freeze()
}

fn put_head(bytes: &mut BytesMut, kind: u8, stream: Uuid, extras_length: u16) {
    bytes.put_u8(VERSION_BYTE);
    bytes.put_u8(kind);
    bytes.put_slice(stream.as_bytes());
    bytes.put_u16_le(extras_length);
}

/// Reads a message; `None` where it is of a kind to be skipped.
pub(super) fn decode(mut bytes: Bytes) -> Result<Option<ControlMessage>, DecodeError> {
    if bytes.len() < HEAD {
        return Err(DecodeError::Malformed);
    }
    let mut rest = bytes.split_off(HEAD);
    let kind = bytes[1];
    let stream = Uuid::from_slice(&bytes[2..18]).map_err(|_| DecodeError::Malformed)?;
    let extras_length = usize::from(u16::from_le_bytes([bytes[18], bytes[19]]));
    if rest.len() < extras_length {
        return Err(DecodeError::Malformed);
    }
    let payload = rest.split_off(extras_length);
    check_extras(&rest, stream)?;
    if !v1::is_kind(kind) {
        return if kind & MUST_UNDERSTAND != 0 {
            Err(DecodeError::Kind { stream, kind })
        } else {
            Ok(None)
        };
    }
    let control: Control = v1::payload_of(kind, payload).ok_or(DecodeError::Malformed)?;
    Ok(Some(ControlMessage { stream, control }))
}

/// Looks for extras that must be understood: none is known here.
fn check_extras(mut extras: &[u8], stream: Uuid) -> Result<(), DecodeError> {
    while let [tag, low, high, rest @ ..] = extras {
        if tag & MUST_UNDERSTAND != 0 {
            return Err(DecodeError::Extra { stream, tag: *tag });
        }
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        extras = rest.get(length..).ok_or(DecodeError::Malformed)?;
    }
    if extras.is_empty() { Ok(()) } else { Err(DecodeError::Malformed) }
}

/// Writes a message as a later release may: with an extra, or of another kind.
#[cfg(test)]
pub(super) fn encode_later(stream: Uuid, kind: u8, extras: &[(u8, &str)], payload: &[u8]) -> Bytes {
    let length: usize = extras.iter().map(|(_, body)| 3 + body.len()).sum();
    let mut bytes = BytesMut::new();
    put_head(&mut bytes, kind, stream, u16::try_from(length).unwrap());
    for (tag, body) in extras {
        bytes.put_u8(*tag);
        bytes.put_u16_le(u16::try_from(body.len()).unwrap());
        bytes.put_slice(body.as_bytes());
    }
    bytes.put_slice(payload);
    bytes.freeze()
}
