//! What is not as it was expected, in words.

use std::collections::BTreeMap;

use super::case::Expected;
use super::trial::{Content, Observed};
use crate::json::{Document, Json, Kind, Text};

/// How many levels of values are compared one by one.
const DEEPEST: usize = 200;

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
        (Some(wanted), _, Some(Content::Json(is))) => {
            values("output", wanted.json(), is.json(), &mut found);
        }
        (_, Some(wanted), Some(Content::Base64(is))) if wanted == is => {}
        (None, None, _) => {}
        (Some(wanted), _, is) => {
            found.push(format!("output: expected {}, was {}", shown(wanted.json()), content(is)));
        }
        (None, Some(wanted), is) => {
            found.push(format!(
                "output_base64: expected {}, was {}",
                shortened(wanted),
                content(is)
            ));
        }
    }
    if let Some(wanted) = &expected.emitted {
        let [wanted, is] = [wanted, &observed.emitted].map(Document::of);
        values("emitted", wanted.json(), is.json(), &mut found);
    }
    found
}

/// Compares two values; each place where they differ is named by a JSON pointer after `at`.
fn values(at: &str, expected: Json<'_>, is: Json<'_>, found: &mut Vec<String>) {
    // A pointer has a step for each level; of what is deeper than anybody writes, the text is
    // compared.
    let is_deep = at.bytes().filter(|byte| *byte == b'/').count() >= DEEPEST;
    match (expected.kind(), is.kind()) {
        (Kind::Object, Kind::Object) if !is_deep => members(at, expected, is, found),
        (Kind::Array, Kind::Array) if !is_deep => items(at, &expected.items(), &is.items(), found),
        _ if same(expected, is) => {}
        _ => found.push(format!("{at}: expected {}, was {}", shown(expected), shown(is))),
    }
}

fn members(at: &str, expected: Json<'_>, is: Json<'_>, found: &mut Vec<String>) {
    // Of several with one name the last counts.
    let [wanted, is] = [expected, is]
        .map(|object| object.exact_members().into_iter().collect::<BTreeMap<Text, Json<'_>>>());
    for (name, wanted) in &wanted {
        let at = format!("{at}/{}", escaped(name));
        match is.get(name) {
            Some(is) => values(&at, *wanted, *is, found),
            None => found.push(format!("{at}: expected {}, is missing", shown(*wanted))),
        }
    }
    for (name, is) in is.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        found.push(format!("{at}/{}: expected nothing, was {}", escaped(name), shown(*is)));
    }
}

fn items(at: &str, wanted: &[Json<'_>], is: &[Json<'_>], found: &mut Vec<String>) {
    for (i, (wanted, is)) in wanted.iter().zip(is).enumerate() {
        values(&format!("{at}/{i}"), *wanted, *is, found);
    }
    for (i, wanted) in wanted.iter().enumerate().skip(is.len()) {
        found.push(format!("{at}/{i}: expected {}, is missing", shown(*wanted)));
    }
    for (i, is) in is.iter().enumerate().skip(wanted.len()) {
        found.push(format!("{at}/{i}: expected nothing, was {}", shown(*is)));
    }
}

/// Whether two values are the same, of which not both are objects or arrays that are looked into.
fn same(one: Json<'_>, other: Json<'_>) -> bool {
    let (first, second) = (one.text(), other.text());
    match (one.kind(), other.kind()) {
        _ if first == second => true,
        // However they are spelled.
        (Kind::String, Kind::String) => one.exact_string() == other.exact_string(),
        (Kind::Number, Kind::Number) => same_number(&first, &second),
        _ => false,
    }
}

/// 2 and 2.0 are the same number, and so are 0 and -0; whole ones are compared as such, and what is
/// beyond that and a double by its text.
fn same_number(one: &str, other: &str) -> bool {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one == other;
    }
    let is_whole = |text: &str| !text.contains(['.', 'e', 'E']);
    let [value, of_other] =
        [one, other].map(|text| text.parse::<f64>().ok().filter(|number| number.is_finite()));
    !(is_whole(one) && is_whole(other)) && value.is_some() && value == of_other
}

fn escaped(name: &Text) -> String {
    name.lossy().replace('~', "~0").replace('/', "~1")
}

fn content(is: Option<&Content>) -> String {
    match is {
        None => "none".into(),
        Some(Content::Json(value)) => shown(value.json()),
        Some(Content::Base64(text)) => format!("bytes: {}", shortened(text)),
    }
}

fn shown(value: Json<'_>) -> String {
    shortened(&value.text())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(expected: &str, is: &str) -> Vec<String> {
        let mut found = Vec::new();
        let [expected, is] = [expected, is].map(|text| Document::read(text.as_bytes()).unwrap());
        values("output", expected.json(), is.json(), &mut found);
        found
    }

    #[test]
    fn every_place_is_named() {
        assert!(
            compared(r#"{"a": [1, 2.0], "b": null}"#, r#"{"b": null, "a": [1.0, 2]}"#).is_empty()
        );
        assert_eq!(
            compared(
                r#"{"a": [1, 2], "b": "x", "c/d": 1}"#,
                r#"{"a": [1, 3, 4], "b": 2, "e": {}}"#
            ),
            [
                "output/a/1: expected 2, was 3",
                "output/a/2: expected nothing, was 4",
                r#"output/b: expected "x", was 2"#,
                "output/c~1d: expected 1, is missing",
                "output/e: expected nothing, was {}",
            ]
        );
        // Above 2^53 two whole numbers may be one float.
        assert_eq!(compared("9007199254740993", "9007199254740992").len(), 1);
    }

    #[test]
    fn what_no_parser_keeps_is_compared() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(3_000), "]".repeat(3_000));
        for (one, other) in [
            ("1e400", "1e401"),
            ("12345678901234567890123", "12345678901234567890124"),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\ud800""#, "null"),
            (r#""\ud800""#, r#""\ufffd""#),
            ("-1", "1"),
            ("-12345678901234567890123", "12345678901234567890123"),
            (&deep("1"), &deep("2")),
        ] {
            assert!(compared(one, one).is_empty(), "{one}");
            assert_eq!(compared(one, other).len(), 1, "{one} {other}");
        }
        assert_eq!(compared(r#"{"\ud800": 1}"#, r#"{"\ud801": 1}"#).len(), 2);
        assert_eq!(
            compared(r#"{"\ud800": 1, "\ud801": 2}"#, r#"{"\ud800": 3, "\ud801": 2}"#).len(),
            1
        );
    }

    #[test]
    fn spellings_of_one_value_are_the_same() {
        for (one, other) in [
            (r#""\u00e4""#, "\"ä\""),
            (r#""\ufffd""#, "\"\u{fffd}\""),
            (r#""\ud83d\ude00 \ufffd""#, "\"😀 \u{fffd}\""),
            (r#""\ud800\u0061""#, r#""\ud800a""#),
            (r#"{"\ufffd": "\/"}"#, "{\"\u{fffd}\": \"/\"}"),
            ("-0", "0"),
            ("0.0", "-0"),
            ("1e2", "100"),
            ("1.5", "15e-1"),
        ] {
            assert!(compared(one, other).is_empty(), "{one} {other}");
            assert!(compared(other, one).is_empty(), "{other} {one}");
        }
    }
}
