//! The JSON event format: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Attribute, Event, Invalid, is_json_media_type};

impl Event {
    /// Reads one event in the JSON format.
    ///
    /// # Errors
    /// Where the text is not a JSON object, or an attribute is missing, unknown or unfit; the error points at it.
    pub fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(text)
            .map_err(|e| Invalid::whole(format!("not a CloudEvent in the JSON format: {e}")))?;
        let required = |name: &str| match members.get(name) {
            Some(raw) => string(name, raw),
            None => Err(Invalid::attribute(name, format!("the required attribute '{name}' is missing"))),
        };
        let event_type = required("type")?.parse().map_err(|e| Invalid::attribute("type", format!("{e}")))?;
        let mut event = Self::new("", "", event_type, Bytes::new());
        event.datacontenttype = None;
        event.data = None;
        for name in ["specversion", "id", "source"] {
            event.set(name, Attribute::String(required(name)?))?;
        }
        for (name, raw) in &members {
            // A null attribute is one that is not set.
            if !matches!(name.as_str(), "specversion" | "id" | "source" | "type" | "data" | "data_base64")
                && raw.get() != "null"
            {
                event.set(name, attribute(name, raw)?)?;
            }
        }
        event.data = match (members.get("data"), members.get("data_base64")) {
            (Some(_), Some(_)) => {
                return Err(Invalid::attribute("data_base64", "'data' and 'data_base64' exclude each other"));
            }
            (Some(raw), None) => Some(data(event.datacontenttype.as_deref(), raw)?),
            (None, Some(raw)) => {
                let text = string("data_base64", raw)?;
                let bytes =
                    BASE64.decode(text).map_err(|e| Invalid::attribute("data_base64", format!("not base64: {e}")))?;
                Some(bytes.into())
            }
            (None, None) => None,
        };
        Ok(event)
    }

    /// Writes the event in the JSON format.
    pub fn to_json(&self) -> Vec<u8> {
        // Cannot fail: every key is a string and every value serializes; there is no I/O.
        serde_json::to_vec(&JsonFormat(self)).unwrap_or_default()
    }
}

/// An event that serializes in the JSON format, for documents that contain events.
pub struct JsonFormat<'a>(pub &'a Event);

impl Serialize for JsonFormat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.attributes() {
            match value {
                Attribute::Boolean(value) => map.serialize_entry(name, &value)?,
                Attribute::Integer(value) => map.serialize_entry(name, &value)?,
                Attribute::String(value) => map.serialize_entry(name, &value)?,
            }
        }
        if let Some(data) = &self.0.data {
            match DataMember::of(self.0.has_json_data(), data) {
                DataMember::Json(raw) => map.serialize_entry("data", raw)?,
                DataMember::Text(text) => map.serialize_entry("data", text)?,
                DataMember::Binary(text) => map.serialize_entry("data_base64", &text)?,
            }
        }
        map.end()
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
    serde_json::from_str(raw.get()).map_err(|_| Invalid::attribute(name, format!("'{name}' must be a JSON string")))
}

fn attribute(name: &str, raw: &RawValue) -> Result<Attribute, Invalid> {
    match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::String(text)) => Ok(Attribute::String(text)),
        Ok(serde_json::Value::Bool(value)) => Ok(Attribute::Boolean(value)),
        Ok(serde_json::Value::Number(number)) => {
            let integer = number.as_i64().and_then(|n| i32::try_from(n).ok());
            integer.map(Attribute::Integer).ok_or_else(|| {
                Invalid::attribute(name, format!("'{name}' must be a whole number of 32 bits; write others as strings"))
            })
        }
        _ => Err(Invalid::attribute(
            name,
            format!("'{name}' must be a string, a boolean or a whole number: an attribute holds no arrays or objects"),
        )),
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Event, Invalid> {
        Event::from_json(text.as_bytes())
    }

    #[test]
    fn data_by_media_type() {
        let json = read(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a": 1}}"#).unwrap();
        assert_eq!(json.data.as_deref(), Some(br#"{"a": 1}"#.as_slice()));
        let text = read(
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"a\nb"}"#,
        )
        .unwrap();
        assert_eq!(text.data.as_deref(), Some(b"a\nb".as_slice()));
        let binary = read(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"/wA="}"#).unwrap();
        assert_eq!(binary.data.as_deref(), Some([0xff, 0].as_slice()));
        for event in [json, text, binary] {
            assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
        }
    }

    #[test]
    fn errors_point() {
        let pointer = |text: &str| read(text).unwrap_err().pointer;
        assert_eq!(pointer("[]"), "");
        assert_eq!(pointer(r#"{"specversion":"1.0","id":"1","source":"/s"}"#), "/type");
        assert_eq!(pointer(r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#), "/id");
        assert_eq!(pointer(r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#), "/specversion");
        assert_eq!(pointer(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","ext":{}}"#), "/ext");
        assert_eq!(
            pointer(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":""}"#),
            "/data_base64"
        );
    }

    proptest! {
        #[test]
        fn any_event_survives(
            id in "\\PC{1,20}", source in "\\PC{1,20}", subject in proptest::option::of("\\PC{1,20}"),
            content in prop_oneof![Just(None), Just(Some("text/plain")), Just(Some("application/octet-stream"))],
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            number in any::<i32>(), flag in any::<bool>(), text in "\\PC{0,20}",
        ) {
            let mut event = Event::new(id, source, "a.b".parse().unwrap(), Bytes::new());
            event.subject = subject;
            event.datacontenttype = content.map(str::to_owned);
            // Without a media type the data is JSON.
            event.data = match content { None => data.map(|d| format!("{d:?}").into()), Some(_) => data.map(Bytes::from) };
            event.extensions.insert("number".into(), Attribute::Integer(number));
            event.extensions.insert("flag".into(), Attribute::Boolean(flag));
            event.extensions.insert("text".into(), Attribute::String(text));
            prop_assert_eq!(Event::from_json(&event.to_json()).unwrap(), event);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::from_json(&bytes);
        }
    }
}
