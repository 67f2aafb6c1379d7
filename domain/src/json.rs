//! JSON that is compared: by a schema, and then by whoever reads it. Both must see the same.
//!
//! [`parse`] refuses what readers take for different things: a member that stands there twice (RFC
//! 8259, section 4), and a number that is not kept exactly, be it a whole number beyond 64 bits or
//! one beyond a double. Numbers with a fraction or an exponent are doubles, as RFC 7493 has it.
//! [`lenient`] is for texts of which little is asked.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What the names of members begin with that serde_json takes for its own when it reads a `Value`:
/// it would read the text in them as JSON once more, and count how deep that is from nothing.
const RESERVED: &str = "$serde_json::private::";

/// Reads a JSON text in which nothing is ambiguous.
///
/// # Errors
/// Where it is not JSON, has a member twice, or one of a name that this program's library keeps for
/// itself, or a number that cannot be compared exactly; line and column are told.
pub fn parse(text: &[u8]) -> serde_json::Result<Value> {
    let value = read(text, Reading { strict: true })?;
    match inexact_integer(text) {
        None => Ok(value),
        Some((line, column)) => Err(serde_json::Error::custom(format_args!(
            "a whole number beyond 64 bits cannot be compared exactly: write it as a string at line {line} column {column}"
        ))),
    }
}

/// Reads any JSON text: of members that stand there twice the last counts, and numbers are as near
/// as a double comes.
///
/// # Errors
/// Where it is not JSON, or too deep.
pub fn lenient(text: &[u8]) -> serde_json::Result<Value> {
    read(text, Reading { strict: false })
}

fn read(text: &[u8], reading: Reading) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = reading.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Where the first whole number stands that 64 bits cannot hold, in a text that is JSON.
fn inexact_integer(text: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => {
                let rest = &text[at..];
                let of_number =
                    |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = rest.iter().position(|b| !of_number(b)).unwrap_or(rest.len());
                if !is_exact(&rest[..length]) {
                    let line_start = text[..at]
                        .iter()
                        .rposition(|b| *b == b'\n')
                        .map_or(0, |newline| newline + 1);
                    let line = 1 + text[..at].iter().filter(|b| **b == b'\n').count();
                    return Some((line, at - line_start + 1));
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_exact(number: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(number) else { return true };
    // Shorter ones always fit.
    text.len() < 19
        || text.contains(['.', 'e', 'E'])
        || text.parse::<i64>().is_ok()
        || text.parse::<u64>().is_ok()
}

/// Reads a value in which every name is a name and nothing more.
#[derive(Clone, Copy)]
struct Reading {
    /// Each member stands once, and has no name of serde_json's own.
    strict: bool,
}

impl<'de> DeserializeSeed<'de> for Reading {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if self.strict && read.contains_key(&name) {
                let shown: String = name.chars().take(80).collect();
                return Err(A::Error::custom(format_args!(
                    "the member '{shown}' stands there twice"
                )));
            }
            if self.strict && name.starts_with(RESERVED) {
                return Err(A::Error::custom(format_args!(
                    "no member may have a name that begins with '{RESERVED}'"
                )));
            }
            read.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_exact_is_read() {
        for text in [
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "[0.1, 1e20, -0, 123456789012345678901.0]",
            r#"{"a": {"a": "99999999999999999999"}, "b\"99999999999999999999": [1, 1]}"#,
        ] {
            assert_eq!(
                parse(text.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_exact_is_refused_with_its_place() {
        for (text, words) in [
            ("18446744073709551616", "beyond 64 bits"),
            ("{\n \"a\": -9223372036854775809}", "line 2 column 7"),
            ("[\"\\\"\", 99999999999999999999]", "beyond 64 bits"),
            ("1e400", "out of range"),
            (r#"{"a": 1, "b": 2, "a": 1}"#, "'a' stands there twice"),
            (r#"[{"a": 1, "\u0061": 1}]"#, "line 1 column"),
            (
                r#"[{"$serde_json::private::RawValue": "1"}]"#,
                "begins with '$serde_json::private::'",
            ),
            ("{", "EOF"),
            ("1 2", "trailing"),
        ] {
            let said = refused(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_name_is_a_name_where_little_is_asked() {
        let text = r#"{"$serde_json::private::RawValue": "[1]", "a": 1, "a": [2]}"#;
        let value = lenient(text.as_bytes()).unwrap();
        assert_eq!(value["$serde_json::private::RawValue"], "[1]");
        assert_eq!(value["a"][0], 2);
    }

    proptest! {
        #[test]
        fn other_texts_are_read_as_ever(text in r#"[\[\]{}",:0-9a\\ -]{0,24}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
