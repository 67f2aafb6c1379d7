//! CloudEvents over HTTP:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use std::collections::HashSet;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use wasmill_domain::event::binary::PREFIX;
use wasmill_domain::event::json::Read;
use wasmill_domain::event::{self, Attribute, Event, EventParts};

use crate::body::{media_type, not_json};
use crate::error::{ApiError, Result};
use crate::problem::Fault;

/// The media type of one event in the JSON format.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// The media type of a batch of events in the JSON format.
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";

/// What `POST /v1/events` takes.
const ACCEPTED: &[&str] =
    &[STRUCTURED, BATCH, "*/* with the headers ce-specversion, ce-id, ce-source and ce-type"];

/// The three ways in which a request carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Attributes are headers, the data is the body.
    Binary,
    /// The body is one event in the JSON format.
    Structured,
    /// The body is an array of events in the JSON format.
    Batch,
}

/// Tells the mode of a request.
///
/// # Errors
/// Where it carries no event in any of the modes.
pub(super) fn mode_of(headers: &HeaderMap) -> Result<Mode> {
    let media_type = media_type(headers)?;
    match media_type.as_deref() {
        Some(STRUCTURED) => Ok(Mode::Structured),
        Some(BATCH) => Ok(Mode::Batch),
        Some(other) if is_cloudevents(other) => {
            Err(ApiError::MediaType(format!("the event format '{other}' is not spoken here, only JSON"), ACCEPTED))
        }
        _ if headers.keys().any(|name| name.as_str().starts_with(PREFIX)) => Ok(Mode::Binary),
        _ => Err(ApiError::MediaType(
            "the request is no CloudEvent in structured, batch or binary mode; data without attributes goes to \
             /v1/events/{type}"
                .into(),
            ACCEPTED,
        )),
    }
}

/// Whether a media type says that the body is one or more CloudEvents.
pub(super) fn is_cloudevents(media_type: &str) -> bool {
    media_type.starts_with("application/cloudevents")
}

/// Reads an event in binary mode.
///
/// # Errors
/// Where a required attribute is missing or one is not valid.
pub(super) fn read_binary(headers: &HeaderMap, body: Bytes) -> Result<Event> {
    let mut attributes = attribute_headers(headers).collect::<Result<Vec<_>>>()?;
    let missing = ["specversion", "id", "source", "type"]
        .into_iter()
        .find(|r| !attributes.iter().any(|(n, _)| n == r));
    if let Some(name) = missing {
        return Err(ApiError::InvalidEvent(Fault::at(
            format!("/{name}"),
            format!("the header ce-{name} is missing"),
        )));
    }
    // The type first: an event cannot be without one.
    attributes.sort_by_key(|(name, _)| *name != "type");
    let event_type = attributes.remove(0).1.parse();
    let event_type = event_type.map_err(|e| event::Invalid::attribute("type", format!("{e}")))?;
    let mut parts = EventParts::new("", "", event_type);
    for (name, value) in attributes {
        parts.set(name, Attribute::String(value))?;
    }
    if let Some(value) = headers.get(CONTENT_TYPE) {
        let text = value.to_str().map_err(|_| {
            event::Invalid::attribute("datacontenttype", "Content-Type is not ASCII")
        })?;
        parts.set("datacontenttype", Attribute::String(text.trim().to_owned()))?;
    }
    parts.data = (!body.is_empty()).then_some(body);
    // Where no header says that the body is JSON, it is bytes.
    parts.opaque = true;
    Ok(parts.check()?)
}

/// Reads an event in structured mode.
///
/// # Errors
/// Where the body is not an event in the JSON format.
pub(super) fn read_structured(body: &[u8]) -> Result<Read> {
    Event::read_json(body).map_err(|invalid| match serde_json::from_slice::<&RawValue>(body) {
        // Not JSON at all: the line and the column are worth having.
        Err(error) => ApiError::InvalidEvent(not_json("", "the event", body, &error)),
        Ok(_) => invalid.into(),
    })
}

/// Reads the events of a batch, at most `limit` of them.
///
/// # Errors
/// Where the body is not an array of events in the JSON format; the pointer names the one that is
/// not.
pub(super) fn read_batch(body: &[u8], limit: usize) -> Result<Vec<Read>> {
    let members: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| ApiError::InvalidEvent(not_json("", "the batch", body, &error)))?;
    if members.len() > limit {
        let count = members.len();
        return Err(ApiError::TooLarge(format!(
            "a batch of {count} events: at most {limit} are taken at once"
        )));
    }
    let events = members.iter().enumerate().map(|(i, member)| {
        Event::read_json(member.get().as_bytes()).map_err(|invalid| {
            ApiError::InvalidEvent(Fault::at(format!("/{i}{}", invalid.pointer), invalid.message))
        })
    });
    events.collect()
}

/// The attributes that come as headers, decoded, by name. `datacontenttype` is not one of them: it
/// is the content type.
pub(super) fn attribute_headers(
    headers: &HeaderMap,
) -> impl Iterator<Item = Result<(&str, String)>> {
    let mut seen = HashSet::new();
    headers.iter().filter_map(move |(name, value)| {
        let name = name.as_str().strip_prefix(PREFIX)?;
        let fault = |detail: String| Err(ApiError::from(event::Invalid::attribute(name, detail)));
        Some(if !seen.insert(name) {
            fault(format!("the header ce-{name} stands there twice"))
        } else if name == "datacontenttype" {
            fault(
                "the media type of the data goes by Content-Type, not by ce-datacontenttype".into(),
            )
        } else {
            match decode(value.as_bytes()) {
                Ok(text) => Ok((name, text)),
                Err(why) => fault(format!("the header ce-{name} {why}")),
            }
        })
    })
}

/// Decodes a header's value: first what double quotes enclose, then percent-encoding, once.
fn decode(value: &[u8]) -> Result<String, &'static str> {
    let unquoted = match value {
        [b'"', rest @ ..] => {
            unquote(rest).ok_or("begins with a double quote, but is not a quoted string")?
        }
        plain => plain.to_vec(),
    };
    let decoded = percent_decode(&unquoted).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "is not UTF-8 once it is percent-decoded")
}

/// What a quoted string holds, given all behind its opening quote.
fn unquote(rest: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut bytes) = (Vec::with_capacity(rest.len()), rest.iter());
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(text),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
}

/// Writes an event in binary mode: its headers and its body.
pub(crate) fn write_binary(event: &Event) -> (HeaderMap, Bytes) {
    let header = |(name, value): (String, String)| {
        // Cannot fail for what was checked here: names are lower-case letters and digits, values
        // visible ASCII and white space.
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    (event.headers().filter_map(header).collect(), event.data.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmill_domain::event::binary::encode;

    fn decoded(text: &str) -> Result<String, &'static str> {
        decode(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(decoded("Euro%20%E2%82%AC%20%F0%9F%98%80").unwrap(), "Euro € 😀");
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
    }

    #[test]
    fn values_are_decoded_once() {
        assert_eq!(decoded("100%25%2520").unwrap(), "100%%20");
        assert_eq!(decoded("%e2%82%ac").unwrap(), "€");
        assert_eq!(decoded("%41%42").unwrap(), "AB");
        assert_eq!(decoded("50% off").unwrap(), "50% off");
        assert!(decoded("%C0%A0").is_err());
    }

    #[test]
    fn quoted_strings_of_older_senders() {
        assert_eq!(decoded(r#""a b \"c\" \\ %20""#).unwrap(), r#"a b "c" \  "#);
        assert_eq!(decoded(r#"5" disk"#).unwrap(), r#"5" disk"#);
        for bad in [r#"""#, r#""a"#, r#""a"b"#, r#""a\"#] {
            assert!(decoded(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "\\PC*") {
            prop_assert_eq!(decode(encode(&text).as_bytes()).unwrap(), text);
        }

        #[test]
        fn any_value_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_event_survives_binary_mode(
            id in "[^\\p{C}]{1,20}", subject in proptest::option::of("[^\\p{C}]{1,20}"),
            kind in proptest::option::of(Just("application/octet-stream")),
            ext in "[^\\p{C}]{0,20}", data in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut parts = EventParts::new(id, "/a%20b?c", "a.b".parse().unwrap());
            parts.data = Some(data.into());
            parts.datacontenttype = kind.map(str::to_owned);
            parts.opaque = true;
            parts.subject = subject;
            parts.extensions.insert("ext".into(), Attribute::String(ext));
            let event = parts.check().unwrap();
            let (headers, body) = write_binary(&event);
            prop_assert_eq!(read_binary(&headers, body).unwrap(), event);
        }
    }
}
