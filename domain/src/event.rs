//! CloudEvents 1.0 events: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.

pub mod binary;
pub mod json;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::names::EventType;
use crate::timestamp::Timestamp;

/// The only version of the specification that is spoken.
pub const SPEC_VERSION: &str = "1.0";

/// One event. The data is kept byte for byte as `datacontenttype` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
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
    /// The media type of the data; absent means JSON.
    pub datacontenttype: Option<String>,
    /// Extension attributes.
    pub extensions: BTreeMap<String, Attribute>,
    /// The data, where there is any.
    pub data: Option<Bytes>,
}

/// The value of an extension attribute, of the types that JSON keeps apart:
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#22-type-system-mapping>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The JSON pointer of the offending member in structured mode; empty for the whole. `/id` is also what names the
    /// attribute `id` in binary mode.
    pub pointer: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl Invalid {
    /// A complaint about the attribute called `name`.
    pub fn attribute(name: &str, message: impl Into<String>) -> Self {
        Self { pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")), message: message.into() }
    }

    /// A complaint about the event as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { pointer: String::new(), message: message.into() }
    }
}

impl Event {
    /// An event of JSON data with the required attributes only.
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        event_type: EventType,
        json: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            event_type,
            subject: None,
            time: None,
            dataschema: None,
            datacontenttype: Some("application/json".into()),
            extensions: BTreeMap::new(),
            data: Some(json.into()),
        }
    }

    /// Whether the data is JSON: by its media type, or by having none.
    pub fn has_json_data(&self) -> bool {
        self.datacontenttype.as_deref().is_none_or(is_json_media_type)
    }

    /// Sets the attribute called `name`, core or extension, from its canonical string form.
    ///
    /// # Errors
    /// Where the name is not one that CloudEvents allows or the value does not fit the attribute.
    pub fn set(&mut self, name: &str, value: Attribute) -> Result<(), Invalid> {
        let text = value.to_string();
        let fits =
            |ok: bool, rule: &str| if ok { Ok(()) } else { Err(Invalid::attribute(name, format!("'{name}' {rule}"))) };
        // No string of CloudEvents may hold any; one database could not keep NUL.
        fits(!text.chars().any(char::is_control), "must not hold control characters")?;
        match name {
            "id" => {
                fits(!text.is_empty() && text.len() <= 1024, "must be 1 to 1,024 bytes long")?;
                self.id = text;
            }
            "source" => {
                fits(!text.is_empty() && text.len() <= 2048, "must be a URI reference of 1 to 2,048 bytes")?;
                self.source = text;
            }
            "type" => self.event_type = text.parse().map_err(|e| Invalid::attribute(name, format!("{e}")))?,
            "subject" => {
                fits(!text.is_empty(), "must not be empty; leave it out")?;
                self.subject = Some(text);
            }
            "time" => {
                fits(
                    Timestamp::parse(&text).is_ok(),
                    "must be an RFC 3339 timestamp, for example 2026-11-22T03:30:00Z",
                )?;
                self.time = Some(text);
            }
            "dataschema" => {
                fits(text.contains(':'), "must be an absolute URI")?;
                self.dataschema = Some(text);
            }
            "datacontenttype" => {
                fits(is_media_type(&text), "must be a media type, for example application/json")?;
                self.datacontenttype = Some(text);
            }
            "specversion" => fits(text == SPEC_VERSION, "must be \"1.0\": no other version of CloudEvents is spoken")?,
            _ => {
                fits(
                    is_extension_name(name),
                    "is not an attribute name: lower-case letters and digits only, and not 'data'",
                )?;
                fits(text.len() <= 8192, "must be at most 8,192 bytes long")?;
                self.extensions.insert(name.to_owned(), value);
            }
        }
        Ok(())
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

/// Whether `name` may name an extension: lower-case ASCII letters and digits, and none of the names with a meaning.
pub fn is_extension_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with("data_")
        && name != "data"
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether `text` has the form `type/subtype`, parameters allowed behind it.
pub fn is_media_type(text: &str) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b));
    let essence = text.split(';').next().unwrap_or_default().trim();
    text.len() <= 255
        && text.bytes().all(|b| (b' '..0x7f).contains(&b))
        && essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Whether a media type means JSON: `application/json`, `text/json`, or any with the suffix `+json`.
pub fn is_json_media_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5
            && subtype.is_char_boundary(subtype.len() - 5)
            && subtype[subtype.len() - 5..].eq_ignore_ascii_case("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_media_types() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json", "text/json"] {
            assert!(is_json_media_type(yes), "{yes}");
        }
        for no in ["text/plain", "application/jsonl", "json", "", "+json", "application/x+jsonx"] {
            assert!(!is_json_media_type(no), "{no}");
        }
    }

    #[test]
    fn attributes_are_checked() {
        let mut event = Event::new("1", "/s", "a.b".parse().unwrap(), "1");
        let text = |value: &str| Attribute::String(value.into());
        assert!(event.set("time", text("2026-01-01T00:00:00Z")).is_ok());
        assert_eq!(event.set("time", text("noon")).unwrap_err().pointer, "/time");
        assert_eq!(event.set("specversion", text("0.3")).unwrap_err().pointer, "/specversion");
        assert!(event.set("partitionkey", text("7")).is_ok());
        assert!(event.set("Partition-Key", text("7")).is_err());
        assert!(event.set("data", text("7")).is_err());
        assert_eq!(event.set("subject", text("a\0b")).unwrap_err().pointer, "/subject");
        assert!(event.set("subject", text("\u{85}")).is_err());
        assert_eq!(event.attributes().last().unwrap(), ("partitionkey", text("7")));
    }
}
