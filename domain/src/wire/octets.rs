//! Bytes and ids, as postcard writes bytes: a length and the bytes themselves.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::execution::ExecutionId;

/// Bytes, written at once and read without being copied.
#[derive(Clone, Copy)]
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

/// An execution's id: 16 bytes, and their number before them, as the first version had it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(pub(super) ExecutionId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.0.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Uuid::from_slice(bytes)
            .map(|uuid| Self(ExecutionId(uuid)))
            .map_err(serde::de::Error::custom)
    }
}
