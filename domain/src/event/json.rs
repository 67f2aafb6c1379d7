//! The JSON event format:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Attribute, Event, EventParts, Invalid, is_json_media_type};

/// The members that hold the data.
const DATA: [&str; 2] = ["data", "data_base64"];

/// An event that was read, and where its data stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The event.
    pub event: Event,
    /// The member that held its data, or would have: `data` or `data_base64`.
    pub data_member: &'static str,
}

impl Event {
    /// Reads one event in the JSON format, and checks it.
    ///
    /// # Errors
    /// Where the text is not a JSON object, or a member stands there twice, or an attribute is
    /// missing, unknown or unfit; the error points at it.
    pub fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        Self::read_json(text).map(|read| read.event)
    }

    /// The same, and tells which member held the data.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn read_json(text: &[u8]) -> Result<Read, Invalid> {
        let members = Members::read(text)?;
        if let Some(name) = members.repeated {
            return Err(Invalid::attribute(
                &name,
                format!("the member '{name}' stands there twice"),
            ));
        }
        let parts = members.parts()?;
        let is_base64 = members.get("data_base64").is_some();
        Ok(Read { event: parts.check()?, data_member: DATA[usize::from(is_base64)] })
    }

    /// Reads what [`EventParts::to_stored`] wrote, or [`EventParts::to_json`]. It was checked by
    /// the rules of whichever release wrote it, so no attribute is refused but a type that is none.
    ///
    /// # Errors
    /// Where the text is no event in the JSON format.
    pub fn from_stored(text: &[u8]) -> Result<Self, Invalid> {
        let members = Members::read(text)?;
        let mut parts = members.parts()?;
        // The mark of `to_stored`.
        if members.members.get("datacontenttype").is_some_and(|raw| raw.get() == "null") {
            parts.opaque = false;
        }
        Ok(Self(parts))
    }
}

impl EventParts {
    /// Writes the event in the JSON format, so that it is read back as it is, but for white space
    /// around JSON of no named media type: the format has no way to say both that bytes are JSON
    /// and which they are.
    pub fn to_json(&self) -> Vec<u8> {
        self.written(Fidelity::Exact)
    }

    /// The same with a mark of our own, so that [`Event::from_stored`] reads that white space back,
    /// too: a media type that is null, which is one that is not set, beside bytes that are JSON. A
    /// release that does not know the mark takes them for bytes of no named type.
    pub fn to_stored(&self) -> Vec<u8> {
        self.written(Fidelity::Stored)
    }

    fn written(&self, fidelity: Fidelity) -> Vec<u8> {
        // Cannot fail: every key is a string and every value serializes; there is no I/O.
        serde_json::to_vec(&Written { parts: self, fidelity }).unwrap_or_default()
    }
}

/// An object's members as they stand in its text.
#[derive(Default)]
struct Members<'a> {
    members: BTreeMap<String, &'a RawValue>,
    /// The first name that stands there twice.
    repeated: Option<String>,
}

impl<'a> Members<'a> {
    fn read(text: &'a [u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(text)
            .map_err(|e| Invalid::whole(format!("not a CloudEvent in the JSON format: {e}")))
    }

    /// A member. A null one is one that is not set, but for the data, which may be null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.get(name).copied().filter(|raw| name == "data" || raw.get() != "null")
    }

    /// What the members say, each read as the type that it has.
    fn parts(&self) -> Result<EventParts, Invalid> {
        let required = |name: &str| match self.get(name) {
            Some(raw) => string(name, raw),
            None => {
                Err(Invalid::attribute(name, format!("the required attribute '{name}' is missing")))
            }
        };
        let event_type =
            required("type")?.parse().map_err(|e| Invalid::attribute("type", format!("{e}")))?;
        super::rules::check("specversion", &required("specversion")?)?;
        let mut parts = EventParts::new(required("id")?, required("source")?, event_type);
        for name in self.members.keys() {
            let is_read = matches!(
                name.as_str(),
                "specversion" | "id" | "source" | "type" | "data" | "data_base64"
            );
            if let Some(raw) = self.get(name).filter(|_| !is_read) {
                parts.put(name, attribute(name, raw)?)?;
            }
        }
        parts.data = match DATA.map(|name| self.get(name)) {
            [Some(_), Some(_)] => {
                return Err(Invalid::attribute(
                    "data_base64",
                    "'data' and 'data_base64' exclude each other",
                ));
            }
            [Some(raw), None] => Some(data(parts.datacontenttype.as_deref(), raw)?),
            [None, Some(raw)] => {
                let text = string("data_base64", raw)?;
                let bytes = BASE64
                    .decode(text)
                    .map_err(|e| Invalid::attribute("data_base64", format!("not base64: {e}")))?;
                // Whatever it looks like, nobody said that it is JSON.
                parts.opaque = parts.datacontenttype.is_none();
                Some(bytes.into())
            }
            [None, None] => None,
        };
        Ok(parts)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut read = Members::default();
                while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
                    if read.members.contains_key(&name) {
                        read.repeated.get_or_insert_with(|| name.clone());
                    }
                    read.members.insert(name, raw);
                }
                Ok(read)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// An event that serializes in the JSON format, for documents that contain events: JSON data as
/// JSON, without the white space around it.
pub struct JsonFormat<'a>(pub &'a EventParts);

impl Serialize for JsonFormat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { parts: self.0, fidelity: Fidelity::Plain }.serialize(serializer)
    }
}

struct Written<'a> {
    parts: &'a EventParts,
    fidelity: Fidelity,
}

/// How much of an event's data is read back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fidelity {
    /// What it says.
    Plain,
    /// Its bytes, where the format has a way to write them.
    Exact,
    /// Its bytes.
    Stored,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.parts.attributes() {
            match value {
                Attribute::Boolean(value) => map.serialize_entry(name, &value)?,
                Attribute::Integer(value) => map.serialize_entry(name, &value)?,
                Attribute::String(value) => map.serialize_entry(name, &value)?,
            }
        }
        if let Some(data) = &self.parts.data {
            let member = self.data_member(data);
            if matches!(member, DataMember::Binary(_)) && self.is_marked() {
                map.serialize_entry("datacontenttype", &())?;
            }
            match member {
                DataMember::Json(raw) => map.serialize_entry("data", raw)?,
                DataMember::Text(text) => map.serialize_entry("data", text)?,
                DataMember::Binary(text) => map.serialize_entry("data_base64", &text)?,
            }
        }
        map.end()
    }
}

impl<'a> Written<'a> {
    /// Whether bytes are written with the mark that they are JSON.
    fn is_marked(&self) -> bool {
        self.fidelity == Fidelity::Stored
            && self.parts.datacontenttype.is_none()
            && !self.parts.opaque
    }

    /// Whether white space around JSON is read back where it is written as bytes.
    fn keeps_white_space(&self) -> bool {
        match self.fidelity {
            Fidelity::Plain => false,
            Fidelity::Exact => self.parts.datacontenttype.is_some(),
            Fidelity::Stored => true,
        }
    }

    fn data_member(&self, data: &'a [u8]) -> DataMember<'a> {
        match DataMember::of(self.parts.has_json_data(), data) {
            // Only as base64 they come back as what they are.
            _ if self.parts.opaque => DataMember::Binary(BASE64.encode(data)),
            DataMember::Json(raw) if raw.get().len() < data.len() && self.keeps_white_space() => {
                DataMember::Binary(BASE64.encode(data))
            }
            member => member,
        }
    }
}

/// How some data is written inside a JSON document.
pub enum DataMember<'a> {
    /// As the JSON value that it is.
    Json(&'a RawValue),
    /// As a string.
    Text(&'a str),
    /// As base64.
    Binary(String),
}

impl<'a> DataMember<'a> {
    /// The plainest way to write `data`.
    pub fn of(is_json: bool, data: &'a [u8]) -> Self {
        let text = std::str::from_utf8(data).ok();
        let raw = text.filter(|_| is_json).and_then(|text| serde_json::from_str(text).ok());
        match (raw, text) {
            (Some(raw), _) => Self::Json(raw),
            (None, Some(text)) if !is_json => Self::Text(text),
            _ => Self::Binary(BASE64.encode(data)),
        }
    }
}

fn string(name: &str, raw: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| {
        no_text(name, raw)
            .unwrap_or_else(|| Invalid::attribute(name, format!("'{name}' must be a JSON string")))
    })
}

/// Why a member that is a JSON string is no text.
fn no_text(name: &str, raw: &RawValue) -> Option<Invalid> {
    let surrogate = lone_surrogate(raw.get().strip_prefix('"')?)?;
    let detail = format!(
        "'{name}' has the lone surrogate {surrogate} in it, which is half of a pair and no character"
    );
    Some(Invalid::attribute(name, detail))
}

/// The first escape in a JSON string that stands for a surrogate without the other one of its pair.
fn lone_surrogate(text: &str) -> Option<&str> {
    let escaped = |at: usize| {
        let hex = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut at = 0;
    while let Some(next) = text.get(at..)?.find('\\') {
        at += next;
        let is_pair = || escaped(at + 6).is_some_and(|low| (0xdc00..=0xdfff).contains(&low));
        at += match escaped(at) {
            Some(0xd800..=0xdbff) if is_pair() => 12,
            Some(0xd800..=0xdfff) => return text.get(at..at + 6),
            Some(_) => 6,
            None => 2,
        };
    }
    None
}

fn attribute(name: &str, raw: &RawValue) -> Result<Attribute, Invalid> {
    match crate::json::lenient(raw.get().as_bytes()) {
        Ok(serde_json::Value::String(text)) => Ok(Attribute::String(text)),
        Ok(serde_json::Value::Bool(value)) => Ok(Attribute::Boolean(value)),
        Ok(serde_json::Value::Number(number)) => {
            let integer = number.as_i64().and_then(|n| i32::try_from(n).ok());
            integer.map(Attribute::Integer).ok_or_else(|| {
                Invalid::attribute(name, format!("'{name}' must be a whole number of 32 bits; write others as strings"))
            })
        }
        _ => Err(no_text(name, raw).unwrap_or_else(|| {
            let rule = "must be a string, a boolean or a whole number: an attribute holds no arrays or objects";
            Invalid::attribute(name, format!("'{name}' {rule}"))
        })),
    }
}

/// The bytes that the member `data` stands for.
fn data(datacontenttype: Option<&str>, raw: &RawValue) -> Result<Bytes, Invalid> {
    if datacontenttype.is_none_or(is_json_media_type) || !raw.get().starts_with('"') {
        Ok(Bytes::copy_from_slice(raw.get().as_bytes()))
    } else {
        string("data", raw).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests;
