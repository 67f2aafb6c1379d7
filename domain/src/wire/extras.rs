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
