use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use wasmill_domain::{LogLevel, LogSource, Timestamp};

use super::*;

fn mask(values: &[&[u8]]) -> Mask {
    let mut mask = Mask::default();
    values.iter().for_each(|value| mask.add(&Secret::from(value.to_vec())));
    mask
}

fn hidden(value: &str, text: &str) -> String {
    mask(&[value.as_bytes()]).text(text.to_owned())
}

#[test]
fn values_are_hidden_wherever_they_stand() {
    for (value, text, expected) in [
        ("canary-1", "it is canary-1, and canary-1", "it is ***, and ***"),
        ("canary-1\n", "trimmed: canary-1.", "trimmed: ***."),
        ("canary-1", "ünd canary-1 ü", "ünd *** ü"),
        ("schlüssel", "schlüsselschlüssel", "******"),
        ("short", "too short", "too short"),
        ("a\"b\\c\nd\u{1}", r#"{"v": "a\"b\\c\nd\u0001"}"#, r#"{"v": "***"}"#),
        ("a\"b\\c\nd\u{1}", r#"Err("a\"b\\c\nd\u{1}")"#, r#"Err("***")"#),
        ("-----BEGIN KEY-----\nAbCdEf123\nxyz\n", "one AbCdEf123 line", "one *** line"),
        ("canary-1", "canary-2", "canary-2"),
        (
            "canary-1",
            "FromUtf8Error { bytes: [99, 97, 110, 97, 114, 121, 45, 49] }",
            "FromUtf8Error { bytes: [***] }",
        ),
        ("canary-1", "63616e6172792d31 63616E6172792D31", "*** ***"),
    ] {
        assert_eq!(hidden(value, text), expected, "{value:?}");
    }
}

#[test]
fn base64_is_hidden_within_something_longer_too() {
    for before in ["", "u", "us", "user:", "🦀"] {
        let whole = format!("{before}canary-value?>{before}");
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&whole);
            let shown = hidden("canary-value?>", &format!("Basic {encoded}"));
            assert!(shown.contains(STARS), "{encoded}");
            let left = shown.trim_start_matches("Basic ").replace(STARS, "");
            // What is left belongs to the neighbours, but for a part of the two characters at the
            // seams.
            assert!(left.len() <= (before.len() * 2 * 8).div_ceil(6) + 6, "{encoded}: {shown}");
        }
    }
}

#[test]
fn a_long_value_is_hidden_as_far_as_it_goes() {
    let value: String = (0..200).map(|i| format!("{i:04}")).collect();
    assert_eq!(hidden(&value, &format!("<{value}>")), "<***>");
    assert_eq!(hidden(&value, &format!("<{}>", &value[..500])), "<***>", "cut off");
    // Two that begin alike.
    let other = format!("{}ZZZZ", &value[..400]);
    let mask = mask(&[value.as_bytes(), other.as_bytes()]);
    assert_eq!(mask.text(format!("{other} {value}")), "*** ***");
}

#[test]
fn of_values_within_each_other_the_longest_is_hidden() {
    let mask = mask(&[b"canary", b"canary-and-more"]);
    assert_eq!(mask.text("canary canary-and canary-and-more".into()), "*** ***-and ***");
}

#[test]
fn fields_stay_json() {
    let line = |fields: &str| LogLine {
        seq: 0,
        at: Timestamp::now(),
        level: LogLevel::Info,
        source: LogSource::Log,
        message: "my 123456".into(),
        fields: Some(fields.into()),
    };
    let mut lines = [line(r#"{"a":123456,"b":["x1234567",{"123456":true}],"c":12}"#)];
    mask(&[b"123456"]).lines(&mut lines);
    assert_eq!(lines[0].message, "my ***");
    assert_eq!(
        lines[0].fields.as_deref(),
        Some(r#"{"a":"***","b":["x***7",{"***":true}],"c":12}"#)
    );
    // Nothing is written anew where there is nothing to hide.
    let mut lines = [line(r#"{"a": 1.50}"#)];
    Mask::default().lines(&mut lines);
    assert_eq!(lines[0].fields.as_deref(), Some(r#"{"a": 1.50}"#));
}

proptest! {
    #[test]
    fn no_value_is_left(value in "[ -~äß€🦀\n]{8,80}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
        prop_assume!(value.trim().len() >= SHORTEST && !value.trim().contains('*'));
        let trimmed = value.trim();
        let shown = hidden(&value, &format!("{before}{value}{after}"));
        prop_assert!(!shown.contains(trimmed), "{shown}");
    }

    #[test]
    fn any_bytes_can_be_hidden(value in proptest::collection::vec(any::<u8>(), 0..100), text in "\\PC{0,60}") {
        let mask = mask(&[&value]);
        let lossy = String::from_utf8_lossy(&value).into_owned();
        let _ = mask.text(text.clone());
        let shown = mask.text(format!("{text}{lossy}{text}"));
        prop_assert!(lossy.trim().len() < 20 || !shown.contains(lossy.trim()));
    }
}
