//! CloudEvents 1.0 events: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
//!
//! Whoever makes an event fills in [`EventParts`], and [`EventParts::check`] makes an [`Event`] of
//! them: there is no other way. What was checked once is read back from wherever it was kept, by
//! [`Event::from_stored`] and out of batches.

#[cfg(any(test, feature = "testing"))]
pub mod arbitrary;
pub mod binary;
mod fit;
pub mod json;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

pub use self::fit::CUT;
pub use self::rules::{is_content_type, is_extension_name, is_json_media_type, is_media_type};
use crate::names::EventType;

/// The only version of the specification that is spoken.
pub const SPEC_VERSION: &str = "1.0";

/// What an event is made of, checked or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventParts {
    /// Identifies the event together with `source`.
    pub id: String,
    /// Where it happened: a URI reference.
    pub source: String,
    /// What kind of event it is.
    pub event_type: EventType,
    /// What in the source it is about.
    pub subject: Option<String>,
    /// When it happened, RFC 3339, as the sender wrote it.
    pub time: Option<String>,
    /// The URI of the schema that the sender says the data follows.
    pub dataschema: Option<String>,
    /// The media type of the data. Where it is absent, the data are JSON, or `opaque`.
    pub datacontenttype: Option<String>,
    /// Extension attributes.
    pub extensions: BTreeMap<String, Attribute>,
    /// The data, where there is any: byte for byte as `datacontenttype` describes it.
    pub data: Option<Bytes>,
    /// Whether the data came as bytes, and nobody said what they are. Only where there is no
    /// `datacontenttype`.
    pub opaque: bool,
}

/// One event. Its parts can be read and not changed: what it has was checked, or stood in a row or
/// a batch that an earlier release wrote by its own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(EventParts);

/// The value of an extension attribute, of the types that JSON keeps apart:
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#22-type-system-mapping>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// true or false.
    Boolean(bool),
    /// A whole number of 32 bits.
    Integer(i32),
    /// Every other type in its canonical string form.
    String(String),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(value) => f.write_str(value),
        }
    }
}

/// What is wrong with an event, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The JSON pointer of the offending member in structured mode; empty for the whole. `/id` is
    /// also what names the attribute `id` in binary mode.
    pub pointer: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl Invalid {
    /// A complaint about the attribute called `name`.
    pub fn attribute(name: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            message: message.into(),
        }
    }

    /// A complaint about the event as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { pointer: String::new(), message: message.into() }
    }
}

impl EventParts {
    /// The required attributes, and no data.
    pub fn new(id: impl Into<String>, source: impl Into<String>, event_type: EventType) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            event_type,
            subject: None,
            time: None,
            dataschema: None,
            datacontenttype: None,
            extensions: BTreeMap::new(),
            data: None,
            opaque: false,
        }
    }

    /// Sets the attribute called `name`, core or extension. It is checked as it will be by
    /// [`Self::check`].
    ///
    /// # Errors
    /// Where the name is not one that CloudEvents allows or the value does not fit the attribute.
    pub fn set(&mut self, name: &str, value: Attribute) -> Result<(), Invalid> {
        rules::check(name, &value.to_string())?;
        self.put(name, value)
    }

    /// Sets an attribute unchecked, but for the type.
    fn put(&mut self, name: &str, value: Attribute) -> Result<(), Invalid> {
        match name {
            "id" => self.id = value.to_string(),
            "source" => self.source = value.to_string(),
            "type" => {
                self.event_type = value
                    .to_string()
                    .parse()
                    .map_err(|e| Invalid::attribute(name, format!("{e}")))?;
            }
            "subject" => self.subject = Some(value.to_string()),
            "time" => self.time = Some(value.to_string()),
            "dataschema" => self.dataschema = Some(value.to_string()),
            "datacontenttype" => self.datacontenttype = Some(value.to_string()),
            "specversion" => {}
            _ => drop(self.extensions.insert(name.to_owned(), value)),
        }
        Ok(())
    }

    /// Makes the event.
    ///
    /// # Errors
    /// Where an attribute is not what CloudEvents and wasmill's bounds allow; the error points at
    /// it.
    pub fn check(mut self) -> Result<Event, Invalid> {
        for (name, value) in self.attributes() {
            match &value {
                Attribute::String(text) => rules::check(name, text)?,
                Attribute::Boolean(_) | Attribute::Integer(_) => rules::check(name, "")?,
            }
        }
        if let Some(name) = self.extensions.keys().find(|name| !is_extension_name(name)) {
            return Err(Invalid::attribute(name, format!("'{name}' cannot name an extension")));
        }
        self.opaque &= self.data.is_some() && self.datacontenttype.is_none();
        Ok(Event(self))
    }

    /// Whether the data is JSON: by its media type, or by having come as JSON.
    pub fn has_json_data(&self) -> bool {
        self.datacontenttype.as_deref().map_or(!self.opaque, is_json_media_type)
    }

    /// The media type of the data, said or, for JSON, implied; none where there is no data, and
    /// where nobody knows.
    pub fn media_type(&self) -> Option<&str> {
        let implied = (self.data.is_some() && !self.opaque).then_some("application/json");
        self.datacontenttype.as_deref().or(implied)
    }

    /// Every attribute that is set, `specversion` first, extensions in the order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Attribute)> {
        let text = |value: &str| Attribute::String(value.to_owned());
        let core = [
            ("specversion", Some(text(SPEC_VERSION))),
            ("id", Some(text(&self.id))),
            ("source", Some(text(&self.source))),
            ("type", Some(text(&self.event_type))),
            ("subject", self.subject.as_deref().map(text)),
            ("time", self.time.as_deref().map(text)),
            ("dataschema", self.dataschema.as_deref().map(text)),
            ("datacontenttype", self.datacontenttype.as_deref().map(text)),
        ];
        core.into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)))
            .chain(self.extensions.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }
}

impl Event {
    /// An event of JSON data with the required attributes only.
    ///
    /// # Errors
    /// As [`EventParts::check`].
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        event_type: EventType,
        json: impl Into<Bytes>,
    ) -> Result<Self, Invalid> {
        let parts = EventParts {
            datacontenttype: Some("application/json".into()),
            data: Some(json.into()),
            ..EventParts::new(id, source, event_type)
        };
        parts.check()
    }

    /// Its parts, to make another event of them.
    pub fn into_parts(self) -> EventParts {
        self.0
    }

    /// An event that was checked before it was sent here.
    pub(crate) fn from_checked(parts: EventParts) -> Self {
        Self(parts)
    }
}

impl Deref for Event {
    type Target = EventParts;

    fn deref(&self) -> &EventParts {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_checked() {
        let mut parts = EventParts::new("1", "/s", "a.b".parse().unwrap());
        let text = |value: &str| Attribute::String(value.into());
        assert!(parts.set("time", text("2026-01-01T00:00:00Z")).is_ok());
        assert_eq!(parts.set("time", text("noon")).unwrap_err().pointer, "/time");
        assert!(parts.set("partitionkey", text("7")).is_ok());
        assert!(parts.set("Partition-Key", text("7")).is_err());
        assert_eq!(parts.attributes().last().unwrap(), ("partitionkey", text("7")));
        let event = parts.check().unwrap();
        let mut parts = event.into_parts();
        parts.extensions.insert("id".into(), text("2"));
        assert_eq!(parts.check().unwrap_err().pointer, "/id");
    }

    #[test]
    fn parts_that_break_a_rule_make_no_event() {
        let parts = || EventParts::new("1", "/s", "a.b".parse().unwrap());
        for (pointer, broken) in [
            ("/id", EventParts { id: String::new(), ..parts() }),
            ("/source", EventParts { source: "a b".into(), ..parts() }),
            ("/subject", EventParts { subject: Some(String::new()), ..parts() }),
            ("/time", EventParts { time: Some("noon".into()), ..parts() }),
            ("/dataschema", EventParts { dataschema: Some("/x".into()), ..parts() }),
            (
                "/datacontenttype",
                EventParts { datacontenttype: Some("a/b, a/b".into()), ..parts() },
            ),
            (
                "/A",
                EventParts { extensions: [("A".into(), Attribute::Integer(1))].into(), ..parts() },
            ),
            (
                "/data",
                EventParts {
                    extensions: [("data".into(), Attribute::Boolean(true))].into(),
                    ..parts()
                },
            ),
        ] {
            assert_eq!(broken.check().unwrap_err().pointer, pointer);
        }
    }

    #[test]
    fn data_without_a_media_type_is_json_or_bytes() {
        let parts = || EventParts {
            data: Some("1".into()),
            ..EventParts::new("1", "/s", "a.b".parse().unwrap())
        };
        let json = parts().check().unwrap();
        assert!(json.has_json_data() && json.media_type() == Some("application/json"));
        let opaque = EventParts { opaque: true, ..parts() }.check().unwrap();
        assert!(!opaque.has_json_data() && opaque.media_type().is_none());
        // Said is said.
        let said =
            EventParts { opaque: true, datacontenttype: Some("text/json".into()), ..parts() }
                .check()
                .unwrap();
        assert!(said.has_json_data() && !said.opaque);
    }
}
