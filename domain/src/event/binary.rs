//! Events in binary mode: attributes as headers, data as the body
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode>).

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::EventParts;

/// The prefix of headers that carry attributes.
pub const PREFIX: &str = "ce-";

/// What the specification has percent-encoded, next to everything that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

impl EventParts {
    /// Its headers in binary mode: names in lower case, each once; values of visible ASCII.
    /// `content-type` is among them where it is known what the data are.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let attributes = self.attributes().filter(|(name, _)| *name != "datacontenttype");
        let encoded =
            attributes.map(|(name, value)| (format!("{PREFIX}{name}"), encode(&value.to_string())));
        // What JSON data imply has to be said outside of the JSON format.
        encoded.chain(self.media_type().map(|value| ("content-type".to_owned(), value.to_owned())))
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
        let data = |data: Option<&'static str>| EventParts {
            data: data.map(Into::into),
            ..EventParts::new("a b", "/%C3", "x.y".parse().unwrap())
        };
        let event = data(Some("{}"));
        let headers: Vec<_> = event.headers().collect();
        let expected = [
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20b"),
            ("ce-source", "/%25C3"),
            ("ce-type", "x.y"),
            ("content-type", "application/json"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for unsaid in [data(None), EventParts { opaque: true, ..event }] {
            assert!(unsaid.headers().all(|(name, _)| name != "content-type"));
        }
    }
}
