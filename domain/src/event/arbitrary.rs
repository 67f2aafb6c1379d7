//! Events for property tests: of all that [`EventParts::check`] accepts, with a liking for what is
//! odd.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::rules::{MAX_EXTENSION_BYTES, MAX_ID_BYTES, MAX_SOURCE_BYTES, is_allowed};
use super::{Attribute, Event, EventParts, is_extension_name};

/// Characters that somebody takes for something else: what changes the direction of text, has no
/// width, ends a line for some, means something in JSON, URIs, HTTP or a terminal, or is no
/// character of Unicode's yet.
const ODD: [char; 24] = [
    '\u{202e}',
    '\u{2066}',
    '\u{200f}',
    '\u{2028}',
    '\u{feff}',
    '\u{fffd}',
    '\u{ad}',
    '\u{301}',
    '\u{e000}',
    '\u{e0041}',
    '\u{10fffd}',
    '\u{a0}',
    '😀',
    'é',
    ' ',
    '"',
    '\\',
    '%',
    '/',
    ';',
    '{',
    '\'',
    '$',
    'a',
];

const SOURCES: [&str; 10] = [
    "/s",
    "?x#y",
    "#",
    ".",
    "//h:1/p",
    "mailto:a@b",
    "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
    "https://u@[::1]:8/%F0%9F%92%A9?q=1#f",
    "https://u:p@h/%00%ff",
    "cloudevents:;'!()*,=+$&",
];

const TYPES: [&str; 5] =
    ["a", "a.b", "com.example.order.created", "A-b_c.9.0", "wasmill.http.request"];

const TIMES: [&str; 5] = [
    "2026-11-22T03:30:00Z",
    "2026-11-22t03:30:00.123456789+14:00",
    "1970-01-01T00:00:00-00:00",
    "9999-12-31T23:59:59.999999999Z",
    "2024-02-29T12:00:00.1-09:30",
];

const SCHEMAS: [&str; 3] =
    ["https://example.com/order.json#/$defs/a%20b", "urn:x:y", "tag:a,2026:b?c"];

const CONTENT_TYPES: [&str; 12] = [
    "application/json",
    "text/json ; charset=\"utf-8\"",
    "Application/Vnd.X+JSON;charset=UTF-16",
    "text/plain",
    "text/plain ; a=\"\\\"\\\\;\"",
    "text/plain; charset=iso-8859-1",
    "application/octet-stream",
    "application/xml",
    "application/cloudevents+json",
    "application/http",
    "a'b/c~d",
    "multipart/related; type=\"a/b\"; boundary=\"'()+_,-./:=? x\"",
];

/// What may stand in an event's data, whatever its type says.
const DATA: [&[u8]; 12] = [
    b"",
    b"null",
    b" {\"a\": [1e999, \"\\ud800\"]}\n",
    b"{\"b\":1,\"a\":12345678901234567890123,\"a\":0.10}",
    b"\"\\u0000\\u001b[2J\"",
    b"a\0b\x1b[31m\r\n",
    b"\xff\xfe\xed\xa0\x80",
    b"\xef\xbb\xbf{}",
    b"{\"data\":1,\"data_base64\":\"AA==\"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    b"{",
    "\u{2028}\u{202e}é😀".as_bytes(),
];

/// Any event that is accepted.
pub fn any_event() -> impl Strategy<Value = Event> {
    let required = (text(MAX_ID_BYTES), source(), select(&TYPES[..]));
    let optional = (
        option::of(text(300)),
        option::of(select(&TIMES[..])),
        option::of(select(&SCHEMAS[..])),
        proptest::collection::btree_map(name(), attribute(), 0..4),
    );
    (required, optional, content()).prop_map(
        |((id, source, event_type), (subject, time, schema, extensions), content)| {
            let event_type = event_type.parse().expect("a type");
            let parts = EventParts {
                subject,
                time: time.map(str::to_owned),
                dataschema: schema.map(str::to_owned),
                extensions,
                datacontenttype: content.0.map(str::to_owned),
                opaque: content.1,
                data: content.2,
                ..EventParts::new(id, source, event_type)
            };
            parts.check().expect("an event that is accepted")
        },
    )
}

/// A text that is not empty, now and then as long as it may be.
fn text(longest: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![3 => select(&ODD[..]), 1 => any::<char>().prop_filter("allowed", |c| is_allowed(*c))];
    let short = vec(character, 1..12).prop_map(String::from_iter);
    prop_oneof![9 => short, 1 => select(&ODD[..]).prop_map(move |c| c.to_string().repeat(longest / c.len_utf8()))]
}

fn source() -> impl Strategy<Value = String> {
    let long = "/".to_owned() + &"a%20".repeat((MAX_SOURCE_BYTES - 1) / 4);
    prop_oneof![9 => select(&SOURCES[..]).prop_map(str::to_owned), 1 => Just(long)]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,20}|[a-z]{64}"
        .prop_filter("the name of an extension", |name| is_extension_name(name))
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        3 => text(MAX_EXTENSION_BYTES).prop_map(Attribute::String),
        1 => Just(Attribute::String(String::new())),
        1 => any::<i32>().prop_map(Attribute::Integer),
        1 => any::<bool>().prop_map(Attribute::Boolean),
    ]
}

/// A content type, whether the data are of none, and the data. Of no type they are bytes, or JSON
/// that white space may stand around.
fn content() -> impl Strategy<Value = (Option<&'static str>, bool, Option<Bytes>)> {
    let data = || {
        prop_oneof![
            3 => select(&DATA[..]).prop_map(Bytes::from_static),
            1 => vec(any::<u8>(), 0..60).prop_map(Bytes::from),
        ]
    };
    let json = "[ \\t\\r\\n]{0,2}(-?[1-9][0-9]{0,30}|\"[a-z \\\\/]{0,9}\"|\\{\"a\": *1e999\\})[ \\t\\r\\n]{0,2}"
        .prop_filter("JSON", |text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok());
    prop_oneof![
        4 => (select(&CONTENT_TYPES[..]), data()).prop_map(|(kind, data)| (Some(kind), false, Some(data))),
        2 => data().prop_map(|data| (None, true, Some(data))),
        2 => json.prop_map(|text| (None, false, Some(text.into()))),
        1 => Just((None, false, None)),
        1 => select(&CONTENT_TYPES[..]).prop_map(|kind| (Some(kind), false, None)),
    ]
}
