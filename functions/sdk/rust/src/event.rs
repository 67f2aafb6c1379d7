//! Events as handlers see them.

use serde::de::DeserializeOwned;

use crate::Failure;
use crate::contract;

/// An event as CloudEvents 1.0 has it, with its data as a `T`: [`Bytes`], or a type that serde can
/// read from JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event<T> {
    /// Identifies the event together with `source`.
    pub id: String,
    /// Where it happened.
    pub source: String,
    /// What kind of event it is, such as `order.created`.
    pub event_type: String,
    /// What in the source it is about.
    pub subject: Option<String>,
    /// When it happened: an RFC 3339 timestamp.
    pub time: Option<String>,
    /// The URI of the data's schema.
    pub dataschema: Option<String>,
    /// Extension attributes, in the order of their names.
    pub extensions: Vec<(String, String)>,
    /// The data's media type.
    pub datacontenttype: Option<String>,
    /// The data.
    pub data: T,
}

/// Data as they came; empty where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// What an event's data can be read as.
pub trait FromData: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it; the event is rejected.
    fn from_data(data: Option<Vec<u8>>) -> Result<Self, String>;
}

impl FromData for Bytes {
    fn from_data(data: Option<Vec<u8>>) -> Result<Self, String> {
        Ok(Self(data.unwrap_or_default()))
    }
}

impl<T: DeserializeOwned> FromData for T {
    fn from_data(data: Option<Vec<u8>>) -> Result<Self, String> {
        serde_json::from_slice(data.as_deref().unwrap_or(b"null"))
            .map_err(|error| format!("the data: {error}"))
    }
}

impl<T: FromData> Event<T> {
    pub(crate) fn from_contract(event: contract::Event) -> Result<Self, Failure> {
        Ok(Self {
            id: event.id,
            source: event.source,
            event_type: event.type_,
            subject: event.subject,
            time: event.time,
            dataschema: event.dataschema,
            extensions: event.extensions,
            datacontenttype: event.datacontenttype,
            data: T::from_data(event.data).map_err(Failure::Reject)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_or_bytes() {
        assert_eq!(Vec::<u8>::from_data(Some(b"[1, 2]".to_vec())), Ok(vec![1, 2]));
        assert_eq!(Option::<u8>::from_data(None), Ok(None));
        assert_eq!(Bytes::from_data(Some(b"[1".to_vec())), Ok(Bytes(b"[1".to_vec())));
        assert!(u8::from_data(Some(b"x".to_vec())).unwrap_err().starts_with("the data: "));
    }
}
