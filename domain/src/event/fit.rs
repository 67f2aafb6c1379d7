//! Attributes that wasmill makes of something else, such as a request's query: they never decide
//! whether an event is made.

use super::rules::{self, MAX_EXTENSION_BYTES, MAX_SOURCE_BYTES, is_allowed, is_extension_name};
use super::{Attribute, EventParts};

/// The extension that names the attributes which are not all of what they were made of, with spaces
/// between.
pub const CUT: &str = "attributescut";

impl EventParts {
    /// Sets an extension of what `value` has of it: cut where it is too long, left out where it
    /// holds what no attribute may. [`CUT`] says so then.
    pub fn set_fitting(&mut self, name: &str, value: &str) {
        if !is_extension_name(name) || !value.chars().all(is_allowed) {
            return self.note_cut(name);
        }
        let end = value.floor_char_boundary(MAX_EXTENSION_BYTES);
        if end < value.len() {
            self.note_cut(name);
        }
        self.extensions.insert(name.to_owned(), Attribute::String(value[..end].to_owned()));
    }

    /// Makes a path the source: percent-encoded where a URI does not hold a byte as it is, and cut
    /// where it is too long.
    pub fn set_fitting_source(&mut self, path: &str) {
        let bytes = path.as_bytes();
        let (mut source, mut at) = (String::with_capacity(path.len().min(MAX_SOURCE_BYTES)), 0);
        while let Some(&byte) = bytes.get(at) {
            let is_encoded = byte == b'%'
                && bytes
                    .get(at + 1..at + 3)
                    .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
            let (length, step) = match byte {
                b'%' if is_encoded => (3, 3),
                // Two slashes at the beginning would name an authority.
                b'/' if source == "/" => (3, 1),
                _ if is_path_byte(byte) => (1, 1),
                _ => (3, 1),
            };
            if source.len() + length > MAX_SOURCE_BYTES {
                self.note_cut("source");
                break;
            }
            match length {
                3 if is_encoded => source.push_str(&path[at..at + 3]),
                1 => source.push(char::from(byte)),
                _ => source.push_str(percent_encoding::percent_encode_byte(byte)),
            }
            at += step;
        }
        self.source = source;
    }

    /// Sets the media type where `text` is one, without a semicolon at its end, which HTTP allows
    /// and RFC 2045 does not. Where it is none, the data are bytes. Where it is not the whole of
    /// `text`, the extension `httpcontenttype` has what stood there.
    pub fn set_fitting_media_type(&mut self, text: &str) {
        if rules::is_media_type(text) {
            self.datacontenttype = Some(text.to_owned());
            return;
        }
        let cut = text.trim_end_matches([';', ' ', '\t']);
        let fitting = if rules::is_media_type(cut) { cut } else { "application/octet-stream" };
        self.datacontenttype = Some(fitting.to_owned());
        self.note_cut("datacontenttype");
        self.set_fitting("httpcontenttype", text);
    }

    fn note_cut(&mut self, name: &str) {
        let noted = match self.extensions.get(CUT) {
            Some(Attribute::String(names)) => format!("{names} {name}"),
            _ => name.to_owned(),
        };
        // Names come from manifests, and are few and short.
        if noted.len() <= MAX_EXTENSION_BYTES && noted.chars().all(is_allowed) {
            self.extensions.insert(CUT.to_owned(), Attribute::String(noted));
        }
    }
}

/// What a path holds as it is: RFC 3986, section 3.3.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts() -> EventParts {
        EventParts::new("1", "/s", "a.b".parse().unwrap())
    }

    #[test]
    fn what_does_not_fit_is_cut_and_named() {
        let mut made = parts();
        made.set_fitting("httpquery", &"ü".repeat(5000));
        made.set_fitting("paramid", "a\0b");
        made.set_fitting("param_x", "1");
        made.set_fitting("ok", "1");
        made.set_fitting_source(&format!("/{}", "ü".repeat(2000)));
        made.set_fitting_media_type("a/b, a/b");
        let event = made.check().unwrap();
        assert_eq!(event.extensions["httpquery"].to_string().len(), 8192);
        assert_eq!(
            event.extensions[CUT].to_string(),
            "httpquery paramid param_x source datacontenttype"
        );
        assert_eq!(event.extensions["httpcontenttype"].to_string(), "a/b, a/b");
        assert_eq!(event.datacontenttype.as_deref(), Some("application/octet-stream"));
        assert!(event.source.ends_with("%C3%BC") && event.source.len() <= 2048, "{}", event.source);
        assert!(!event.extensions.contains_key("paramid") && event.extensions.contains_key("ok"));
    }

    #[test]
    fn a_semicolon_at_the_end_of_a_media_type_is_cut() {
        for (said, kept) in [
            ("text/plain;", "text/plain"),
            ("text/plain; charset=\"a;\" ; ", "text/plain; charset=\"a;\""),
            ("text;", "application/octet-stream"),
        ] {
            let mut made = parts();
            made.set_fitting_media_type(said);
            let event = made.check().unwrap();
            assert_eq!(event.datacontenttype.as_deref(), Some(kept));
            assert_eq!(event.extensions["httpcontenttype"].to_string(), said);
            assert_eq!(event.extensions[CUT].to_string(), "datacontenttype");
        }
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let mut made = parts();
        made.set_fitting_source("/http/default/a%2fb/100%/c:d");
        made.set_fitting_media_type("multipart/related; type=\"application/xop+xml\"");
        made.set_fitting("httpquery", "a=b&c=%zz");
        let event = made.check().unwrap();
        assert_eq!(event.source, "/http/default/a%2fb/100%25/c:d");
        assert_eq!(
            event.datacontenttype.as_deref(),
            Some("multipart/related; type=\"application/xop+xml\"")
        );
        assert_eq!(event.extensions.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_makes_an_event(name in "\\PC{0,9}", value in any::<String>(), path in any::<String>(), kind in any::<String>()) {
            let mut made = parts();
            made.set_fitting(&name, &value);
            made.set_fitting_source(&format!("/{path}"));
            made.set_fitting_media_type(&kind);
            prop_assert!(made.check().is_ok());
        }
    }
}
