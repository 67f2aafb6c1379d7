//! What the attributes of an event may be: CloudEvents' types, and bounds of wasmill's own.

use fluent_uri::{Uri, UriRef};

use super::{Invalid, SPEC_VERSION};
use crate::names::EventType;
use crate::timestamp::Timestamp;

/// The longest `id`, and the longest `datacontenttype`, in bytes.
pub(super) const MAX_ID_BYTES: usize = 1024;

/// The longest `source`, in bytes.
pub(super) const MAX_SOURCE_BYTES: usize = 2048;

/// The longest value of an extension, in bytes.
pub(super) const MAX_EXTENSION_BYTES: usize = 8192;

/// The names that CloudEvents has given a meaning, which extensions cannot have.
const CORE: [&str; 8] =
    ["id", "source", "type", "subject", "time", "dataschema", "datacontenttype", "specversion"];

/// Checks the attribute called `name`, core or extension, in its canonical string form.
///
/// # Errors
/// Where the name is not one that CloudEvents allows or the value does not fit the attribute.
pub(super) fn check(name: &str, text: &str) -> Result<(), Invalid> {
    let fits = |ok: bool, rule: &str| {
        if ok { Ok(()) } else { Err(Invalid::attribute(name, format!("'{name}' {rule}"))) }
    };
    fits(
        text.chars().all(is_allowed),
        "must not hold control characters, nor code points that Unicode has for no character (such as U+FFFE)",
    )?;
    match name {
        "id" => fits((1..=MAX_ID_BYTES).contains(&text.len()), "must be 1 to 1,024 bytes long"),
        "source" => fits(
            (1..=MAX_SOURCE_BYTES).contains(&text.len()) && UriRef::parse(text).is_ok(),
            "must be a URI reference (RFC 3986) of 1 to 2,048 bytes; other characters are written %XX",
        ),
        "type" => text
            .parse::<EventType>()
            .map(drop)
            .map_err(|e| Invalid::attribute(name, format!("{e}"))),
        "subject" => fits(!text.is_empty(), "must not be empty; leave it out"),
        "time" => fits(
            Timestamp::parse(text).is_ok(),
            "must be an RFC 3339 timestamp, for example 2026-11-22T03:30:00Z",
        ),
        "dataschema" => fits(
            Uri::parse(text).is_ok(),
            "must be an absolute URI (RFC 3986), for example https://example.com/order.json",
        ),
        "datacontenttype" => fits(
            is_media_type(text),
            "must be a media type (RFC 2045) of at most 1,024 bytes, for example application/json",
        ),
        "specversion" => {
            fits(text == SPEC_VERSION, "must be \"1.0\": no other version of CloudEvents is spoken")
        }
        _ => {
            fits(
                is_extension_name(name),
                "is not an attribute name: lower-case letters and digits only, at most 64, and not 'data'",
            )?;
            fits(text.len() <= MAX_EXTENSION_BYTES, "must be at most 8,192 bytes long")
        }
    }
}

/// Whether a string of CloudEvents may hold a character: no control characters and no
/// noncharacters.
pub(super) fn is_allowed(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// Whether `name` may name an extension: lower-case ASCII letters and digits, and none of the names
/// with a meaning.
pub fn is_extension_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name != "data"
        && !CORE.contains(&name)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether `text` is a media type as RFC 2045 has it: `type/subtype`, and parameters whose values
/// are tokens or quoted strings.
pub fn is_media_type(text: &str) -> bool {
    // What is quoted ends in a quote.
    is_content_type(text) && !text.trim_end().ends_with(';')
}

/// Whether `text` is a media type as HTTP has it (RFC 9110, section 8.3.1): as [`is_media_type`],
/// and a semicolon may be the end.
pub fn is_content_type(text: &str) -> bool {
    // Written out: the parsers at hand know no escapes in quoted strings, and no white space before
    // a semicolon.
    let visible = |b: u8| (b' '..0x7f).contains(&b) || b == b'\t';
    if text.len() > MAX_ID_BYTES || !text.bytes().all(visible) {
        return false;
    }
    let token = |text: &str| {
        let special = |b: u8| b"()<>@,;:\\\"/[]?= \t".contains(&b);
        !text.is_empty() && !text.bytes().any(special)
    };
    let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
    if !essence.trim().split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
    {
        return false;
    }
    loop {
        rest = rest.trim_start();
        // Nothing behind a semicolon is what many senders write.
        if rest.is_empty() {
            return true;
        }
        let Some((name, value)) = rest.split_once('=') else { return false };
        let end = match value.strip_prefix('"') {
            Some(quoted) => quoted_length(quoted).map(|length| length + 1),
            None => Some(value.find(';').unwrap_or(value.len()))
                .filter(|end| token(value[..*end].trim_end())),
        };
        let Some(behind) = end.map(|end| value[end..].trim_start()).filter(|_| token(name)) else {
            return false;
        };
        rest = match behind.strip_prefix(';') {
            Some(next) => next,
            None if behind.is_empty() => return true,
            None => return false,
        };
    }
}

/// How long a quoted string is with its closing quote, given all behind its opening one.
fn quoted_length(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    loop {
        match bytes.next()? {
            (at, b'"') => return Some(at + 1),
            (_, b'\\') => drop(bytes.next()?),
            _ => {}
        }
    }
}

/// Whether a media type means JSON: `application/json`, `text/json`, or any with the suffix
/// `+json`.
pub fn is_json_media_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5
            && subtype.is_char_boundary(subtype.len() - 5)
            && subtype[subtype.len() - 5..].eq_ignore_ascii_case("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_media_types() {
        for yes in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.x+json",
            "text/json",
        ] {
            assert!(is_json_media_type(yes), "{yes}");
        }
        for no in ["text/plain", "application/jsonl", "json", "", "+json", "application/x+jsonx"] {
            assert!(!is_json_media_type(no), "{no}");
        }
    }

    #[test]
    fn media_types_are_those_of_rfc_2045() {
        for yes in [
            "text/plain",
            "application/vnd.api+json; charset=utf-8",
            "a'b/c~d",
            "text/plain ; a=b;c=\"d; \\\" e\"",
            "text/plain; charset=\"\"",
            "text/plain; a=\";\"",
            &format!("multipart/related; boundary=\"{}\"", "x".repeat(300)),
        ] {
            assert!(is_media_type(yes), "{yes}");
        }
        for no in [
            "",
            "text",
            "/plain",
            "text/",
            "a/b, a/b",
            "a/b/c",
            "a b/c",
            "text/plain; charset",
            "text/plain; charset=",
            "text/plain; =x",
            "text/plain; a=b c",
            "text/plain; a=\"b",
            "text/plain; a=\"b\"c",
            "text/ü",
            "text/plain; a=\u{1}",
            &format!("text/{}", "x".repeat(1024)),
        ] {
            assert!(!is_media_type(no) && !is_content_type(no), "{no}");
        }
        for of_http in ["text/plain;", "text/plain; a=b ; ", "text/plain;a=\"b\";"] {
            assert!(!is_media_type(of_http) && is_content_type(of_http), "{of_http}");
        }
    }

    #[test]
    fn each_attribute_has_its_type() {
        for (name, good, bad) in [
            ("id", "é \u{10fffd}", ""),
            ("id", "1", "\u{fffe}"),
            ("source", "/a/b?c#d", "/a b"),
            ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "/ü"),
            ("source", "../x", "http://[::1"),
            ("source", "mailto:a@example.com", "100%"),
            ("type", "com.example/a", "a b"),
            ("subject", "any text", "a\0b"),
            ("subject", "x", "\u{85}"),
            ("subject", "x", "\u{fdd0}"),
            ("time", "2026-01-01T00:00:00Z", "noon"),
            ("dataschema", "https://example.com/a#/b", "/a"),
            ("dataschema", "urn:x:y", "a b:c"),
            ("datacontenttype", "text/csv;header=present", "csv"),
            ("datacontenttype", "text/csv", "text/csv;"),
            ("specversion", "1.0", "0.3"),
            ("ext", "x", "\u{7f}"),
        ] {
            assert_eq!(check(name, good), Ok(()), "{name}");
            let wrong = check(name, bad).unwrap_err();
            assert_eq!(wrong.pointer, format!("/{name}"), "{bad:?}");
        }
        for name in ["Partition-Key", "data", "data_x", "", "a_b", "ü", &"x".repeat(65)] {
            assert!(check(name, "1").is_err(), "{name}");
        }
        assert!(check("ext", &"x".repeat(8193)).is_err() && check("ext", "").is_ok());
    }
}
