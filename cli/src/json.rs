//! JSON as it came: looked into member by member without being read as a whole, and shown with the
//! digits and the order of keys that it has. What a guest or a sender put into a document (a lone
//! surrogate, a number beyond a double, a hundred levels) is no reason not to show the rest of it.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// How many levels are laid out on lines of their own; what is deeper stays on one.
const LAID_OUT: usize = 32;

/// A document of the API, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Document(Box<RawValue>);

/// A value somewhere in a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(&'a RawValue);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    /// `true`, `false` or `null`.
    Word,
}

impl Default for Document {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub(crate) fn read(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text).map(Self)
    }

    /// Anything as a document.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> Self {
        // What is written here has texts as keys.
        to_raw_value(value).map(Self).unwrap_or_default()
    }

    /// The whole of it.
    pub(crate) fn json(&self) -> Json<'_> {
        Json(&self.0)
    }

    /// A member of it; null where there is none of that name.
    pub(crate) fn get(&self, name: &str) -> Json<'_> {
        self.json().get(name)
    }
}

impl<'a> Json<'a> {
    /// Reads a text without copying it.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub(crate) fn read(text: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text).map(Self)
    }

    /// A member of an object; null where there is none of that name. Of several, the last counts.
    pub(crate) fn get(self, name: &str) -> Self {
        let members = self.members().into_iter().rev();
        members
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value)
            .next()
            .unwrap_or(Self(RawValue::NULL))
    }

    /// The members of an object, in their order; none where it is something else.
    pub(crate) fn members(self) -> Vec<(String, Self)> {
        self.exact_members().into_iter().map(|(name, value)| (name.lossy(), value)).collect()
    }

    /// The same, with names of which no two are one.
    pub(crate) fn exact_members(self) -> Vec<(Text, Self)> {
        let members: Members<'a> = serde_json::from_str(self.0.get()).unwrap_or_default();
        members.0
    }

    /// The items of an array; none where it is something else.
    pub(crate) fn items(self) -> Vec<Self> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.0.get()).unwrap_or_default();
        items.into_iter().map(Self).collect()
    }

    /// A string's text, in which half a surrogate pair is U+FFFD.
    pub(crate) fn string(self) -> Option<String> {
        self.exact_string().map(|text| text.lossy())
    }

    /// A string's text with all that is in it.
    pub(crate) fn exact_string(self) -> Option<Text> {
        serde_json::from_str(self.0.get()).ok()
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        self.0.get().parse().ok()
    }

    pub(crate) fn as_f64(self) -> Option<f64> {
        self.0.get().parse().ok()
    }

    pub(crate) fn is_true(self) -> bool {
        self.0.get() == "true"
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.get() == "null"
    }

    /// The value's text on one line.
    pub(crate) fn text(self) -> String {
        laid_out(self.0.get(), 0)
    }

    /// What kind of value it is.
    pub(crate) fn kind(self) -> Kind {
        match self.0.get().as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f' | b'n') => Kind::Word,
            _ => Kind::Number,
        }
    }

    /// The same as a document of its own.
    pub(crate) fn to_document(self) -> Document {
        Document(self.0.to_owned())
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The JSON of a file: without the byte-order mark that some editors begin texts with.
///
/// # Errors
/// Where the mark says that the text is UTF-16.
pub(crate) fn without_mark(text: &[u8]) -> anyhow::Result<&[u8]> {
    if text.starts_with(&[0xFF, 0xFE]) || text.starts_with(&[0xFE, 0xFF]) {
        anyhow::bail!(
            "its byte-order mark says that it is UTF-16, and JSON is UTF-8: save it as UTF-8"
        );
    }
    Ok(text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text))
}

/// Lays a document out for people, on many lines. Nothing but space between its tokens changes.
pub(crate) fn pretty(text: &str) -> String {
    laid_out(text, LAID_OUT)
}

/// Puts space between the tokens of a JSON text: a line for each value down to the level `deepest`,
/// none below.
fn laid_out(text: &str, deepest: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut tokens = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(token) = tokens.next() {
        if in_string {
            out.push(token);
            in_string = escaped || token != '"';
            escaped = !escaped && token == '\\';
            continue;
        }
        let is_space = |c: &char| matches!(c, ' ' | '\t' | '\r' | '\n');
        match token {
            _ if is_space(&token) => {}
            '{' | '[' => {
                out.push(token);
                depth += 1;
                while tokens.next_if(is_space).is_some() {}
                if let Some(end) = tokens.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                    depth -= 1;
                } else if depth <= deepest {
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if depth < deepest {
                    line(&mut out, depth);
                }
                out.push(token);
            }
            ',' => {
                out.push(',');
                if depth <= deepest && depth > 0 {
                    line(&mut out, depth);
                }
            }
            ':' => out.push_str(if depth <= deepest { ": " } else { ":" }),
            _ => {
                in_string = token == '"';
                out.push(token);
            }
        }
    }
    out
}

/// A string that is read whatever it holds: UTF-8, in which a half of a surrogate pair stands as
/// the three bytes of its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// The text, in which half a surrogate pair is U+FFFD.
    pub(crate) fn lossy(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            // Each of the three bytes is told by itself; the first is this one.
            if chunk.invalid().starts_with(&[0xED]) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// An object's members, in their order.
#[derive(Default)]
struct Members<'a>(Vec<(Text, Json<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text, &'de RawValue>()? {
                    members.push((name, Json(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json<'_> {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_no_parser_keeps_is_kept() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let text = format!(
            r#"{{"z":1.0,"a":12345678901234567890123,"big":1e400,"lone":"a\ud800b","deep":{deep},"b\udc00":true}}"#
        );
        let value = read(&text);
        assert_eq!(value.text(), text);
        assert_eq!(value.get("lone").string().as_deref(), Some("a\u{fffd}b"));
        assert_eq!(value.get("big").text(), "1e400");
        assert_eq!(value.get("deep").text(), deep);
        assert!(value.get("b\u{fffd}").is_true() && value.get("none").is_null());
        let names: Vec<String> = value.members().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["z", "a", "big", "lone", "deep", "b\u{fffd}"]);
        let laid_out = pretty(&text);
        assert!(
            laid_out.len() < 2 * text.len() && laid_out.starts_with("{\n  \"z\": 1.0,\n"),
            "{}",
            laid_out.len()
        );
        assert_eq!(read(&laid_out).text(), text);
    }

    #[test]
    fn byte_order_marks_are_skipped_or_named() {
        assert_eq!(without_mark(b"\xef\xbb\xbf{}").unwrap(), b"{}");
        assert_eq!(without_mark(b"{}").unwrap(), b"{}");
        for text in [b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"] {
            assert!(without_mark(text).unwrap_err().to_string().contains("UTF-16"));
        }
    }

    #[test]
    fn values_are_read_as_what_they_are() {
        let value =
            read(r#" { "n" : 7, "f": 1.5, "s": "\"x\\", "list": [1, {}, [], "a, [b"], "n": 8 } "#);
        assert_eq!((value.get("n").as_u64(), value.get("f").as_f64()), (Some(8), Some(1.5)));
        assert_eq!(value.get("s").string().as_deref(), Some(r#""x\"#));
        assert_eq!((value.get("s").as_f64(), value.get("f").string()), (None, None));
        assert_eq!(value.get("list").items().len(), 4);
        assert!(value.get("s").items().is_empty() && value.get("list").members().is_empty());
        assert_eq!(pretty(value.get("list").0.get()), "[\n  1,\n  {},\n  [],\n  \"a, [b\"\n]");
        assert!(Json::read(b"{").is_err() && Document::read(b"nope").is_err());
        assert!(Document::default().json().is_null());
    }
}
