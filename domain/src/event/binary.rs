//! Events in binary mode: attributes as headers, data as the body
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode>).

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Event;

/// The prefix of headers that carry attributes.
pub const PREFIX: &str = "ce-";

/// What the specification has percent-encoded, next to everything that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

impl Event {
    /// Its headers in binary mode: names in lower case, each once; values of visible ASCII. Where the event has data,
    /// `content-type` is among them.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let attributes = self.attributes().filter(|(name, _)| *name != "datacontenttype");
        let encoded = attributes.map(|(name, value)| (format!("{PREFIX}{name}"), encode(&value.to_string())));
        // Data of no named type is JSON, which has to be said outside of the JSON format.
        let implied = self.data.as_ref().map(|_| "application/json");
        let content_type = self.datacontenttype.as_deref().or(implied);
        encoded.chain(content_type.map(|value| ("content-type".to_owned(), value.to_owned())))
    }
}

/// Encodes an attribute's value for a header.
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let mut event = Event::new("a b", "/ü", "x.y".parse().unwrap(), "{}");
        event.datacontenttype = None;
        let headers: Vec<_> = event.headers().collect();
        let expected = [
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20b"),
            ("ce-source", "/%C3%BC"),
            ("ce-type", "x.y"),
            ("content-type", "application/json"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        event.data = None;
        assert!(event.headers().all(|(name, _)| name != "content-type"));
    }
}
