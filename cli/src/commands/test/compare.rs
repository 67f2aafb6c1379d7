//! What is not as it was expected, in words.

use serde_json::Value;

use super::case::Expected;
use super::trial::{Content, Observed};

/// How much of a value is shown, in characters.
const SHOWN: usize = 200;

/// Everything that differs, each in one line; nothing where all is well.
pub(super) fn differences(expected: &Expected, observed: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    if expected.outcome != observed.outcome {
        found.push(format!("outcome: expected {}, was {}", expected.outcome, observed.outcome));
    }
    if let Some(part) = &expected.message {
        let said = observed.message.as_deref().unwrap_or_default();
        if !said.contains(part.as_str()) {
            found.push(format!("message: expected one with {part:?}, was {said:?}"));
        }
    }
    let output = observed.output.as_ref();
    if let Some(wanted) = &expected.content_type {
        let is = output.map_or("none", |output| &output.content_type);
        if is != wanted {
            found.push(format!("content_type: expected {wanted}, was {is}"));
        }
    }
    match (&expected.output, &expected.output_base64, output.map(|output| &output.content)) {
        (Some(wanted), _, Some(Content::Value(is))) => values("output", wanted, is, &mut found),
        (_, Some(wanted), Some(Content::Base64(is))) if wanted == is => {}
        (None, None, _) => {}
        (Some(wanted), _, is) => found.push(format!("output: expected {}, was {}", shown(wanted), content(is))),
        (None, Some(wanted), is) => {
            found.push(format!("output_base64: expected {}, was {}", shortened(wanted), content(is)));
        }
    }
    if let Some(wanted) = &expected.emitted {
        let is = Value::Array(observed.emitted.clone());
        values("emitted", &Value::Array(wanted.clone()), &is, &mut found);
    }
    found
}

/// Compares two values; each place where they differ is named by a JSON pointer after `at`.
fn values(at: &str, expected: &Value, is: &Value, found: &mut Vec<String>) {
    match (expected, is) {
        (Value::Object(wanted), Value::Object(is)) => {
            for (name, wanted) in wanted {
                let at = format!("{at}/{}", escaped(name));
                match is.get(name) {
                    Some(is) => values(&at, wanted, is, found),
                    None => found.push(format!("{at}: expected {}, is missing", shown(wanted))),
                }
            }
            for (name, is) in is.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
                found.push(format!("{at}/{}: expected nothing, was {}", escaped(name), shown(is)));
            }
        }
        (Value::Array(wanted), Value::Array(is)) => {
            for (i, (wanted, is)) in wanted.iter().zip(is).enumerate() {
                values(&format!("{at}/{i}"), wanted, is, found);
            }
            for (i, wanted) in wanted.iter().enumerate().skip(is.len()) {
                found.push(format!("{at}/{i}: expected {}, is missing", shown(wanted)));
            }
            for (i, is) in is.iter().enumerate().skip(wanted.len()) {
                found.push(format!("{at}/{i}: expected nothing, was {}", shown(is)));
            }
        }
        (Value::Number(wanted), Value::Number(is)) if same_number(wanted, is) => {}
        _ if expected == is => {}
        _ => found.push(format!("{at}: expected {}, was {}", shown(expected), shown(is))),
    }
}

/// 2 and 2.0 are the same number; whole ones are compared as such.
fn same_number(one: &serde_json::Number, other: &serde_json::Number) -> bool {
    one == other || ((one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64())
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn content(is: Option<&Content>) -> String {
    match is {
        None => "none".into(),
        Some(Content::Value(value)) => shown(value),
        Some(Content::Base64(text)) => format!("bytes: {}", shortened(text)),
    }
}

fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compared(expected: &Value, is: &Value) -> Vec<String> {
        let mut found = Vec::new();
        values("output", expected, is, &mut found);
        found
    }

    #[test]
    fn every_place_is_named() {
        assert!(compared(&json!({"a": [1, 2.0], "b": null}), &json!({"b": null, "a": [1.0, 2]})).is_empty());
        assert_eq!(
            compared(&json!({"a": [1, 2], "b": "x", "c/d": 1}), &json!({"a": [1, 3, 4], "b": 2, "e": {}})),
            [
                "output/a/1: expected 2, was 3",
                "output/a/2: expected nothing, was 4",
                r#"output/b: expected "x", was 2"#,
                "output/c~1d: expected 1, is missing",
                "output/e: expected nothing, was {}",
            ]
        );
        // Above 2^53 two whole numbers may be one float.
        assert_eq!(compared(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)).len(), 1);
    }
}
