//! What a version does not have a field for.

use serde::{Deserialize, Serialize};

/// The bit of an extra's tag that says: whoever does not know it must not go on without it.
pub const MUST_UNDERSTAND: u8 = 0x80;

/// Something that the version has no field for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// What it is; with [`MUST_UNDERSTAND`] where the message cannot be read without it.
    pub tag: u8,
    /// What it says.
    pub body: Vec<u8>,
}

impl Extra {
    /// The tag of the first of `extras`, none of which is known, that must not be passed over.
    pub(super) fn first_needed(extras: &[Self]) -> Option<u8> {
        extras.iter().map(|extra| extra.tag).find(|tag| tag & MUST_UNDERSTAND != 0)
    }
}

/// Appends the fields of a message, and extras.
pub(super) fn encode_with<T: Serialize>(
    fields: &T,
    extras: &[Extra],
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(extras, postcard::to_extend(fields, bytes)?)
}

/// The fields of the message in all of `bytes`, for a reader that knows no extra: one that may not
/// be passed over is refused.
pub(super) fn decode_without<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let wrong = |e: postcard::Error| format!("a message that cannot be read: {e}");
    let (fields, rest): (T, &[u8]) = postcard::take_from_bytes(bytes).map_err(wrong)?;
    let (extras, rest): (Vec<Extra>, &[u8]) = postcard::take_from_bytes(rest).map_err(wrong)?;
    if !rest.is_empty() {
        return Err(format!("{} bytes stand behind the message", rest.len()));
    }
    match Extra::first_needed(&extras) {
        Some(tag) => Err(format!("the message has something that is not known here (tag {tag})")),
        None => Ok(fields),
    }
}
