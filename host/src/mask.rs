//! Keeps secrets that were resolved for a guest out of what is written about it.
//!
//! A safety net for accidents, not a security boundary: a guest that means to can spell a secret in
//! a way that nobody expects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use wasmill_domain::{LogLine, json};
use wasmill_secrets::Secret;
use zeroize::Zeroizing;

/// What stands in the place of a secret.
const STARS: &str = "***";

/// Values that are shorter, in bytes, are left: they would be found everywhere.
const SHORTEST: usize = 6;

/// By how many of its first bytes a spelling is found; how far it goes from there is compared.
const ANCHOR: usize = 32;

/// Of how many lines of one value each alone is hidden.
const MOST_LINES: usize = 512;

/// The secrets to hide.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    spellings: Arc<Spellings>,
    /// Finds how they begin; made when it is used first.
    anchors: OnceLock<Option<AhoCorasick>>,
}

/// Every spelling that is known, by how it begins.
type Spellings = BTreeMap<Vec<u8>, Vec<Zeroizing<Vec<u8>>>>;

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").finish_non_exhaustive()
    }
}

impl Mask {
    /// Hides this value too: as it is, line by line, as JSON and Rust quote it, as numbers, and in
    /// base64, alone or within something longer.
    pub(crate) fn add(&mut self, secret: &Secret) {
        let text = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
        let (text, bytes) = (text.trim(), secret.expose().trim_ascii());
        if bytes.len() < SHORTEST {
            return;
        }
        self.anchors = OnceLock::new();
        self.add_spelling(text.as_bytes());
        for line in text.lines().take(MOST_LINES) {
            self.add_spelling(line.trim().as_bytes());
        }
        let json = Zeroizing::new(serde_json::to_string(text).unwrap_or_default());
        let debug = Zeroizing::new(format!("{text:?}"));
        for quoted in [&*json, &*debug] {
            self.add_spelling(quoted.trim_matches('"').as_bytes());
        }
        // As lists of numbers, which is how bytes that are no text are shown, and in hexadecimal.
        let numbers = Zeroizing::new(format!("{bytes:?}"));
        self.add_spelling(numbers.trim_matches(['[', ']']).as_bytes());
        let hex: Zeroizing<String> =
            Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        self.add_spelling(hex.as_bytes());
        self.add_spelling(Zeroizing::new(hex.to_uppercase()).as_bytes());
        for offset in 0..3 {
            // In base64 it looks different after 0, 1 and 2 other bytes; what the neighbours have a
            // part in is left out.
            let padded = Zeroizing::new([&[0_u8; 2][..offset], bytes].concat());
            let own = (offset * 8).div_ceil(6)..padded.len() * 8 / 6;
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let encoded = Zeroizing::new(engine.encode(&*padded));
                self.add_spelling(&encoded.as_bytes()[own.clone()]);
            }
        }
    }

    fn add_spelling(&mut self, spelling: &[u8]) {
        if spelling.len() < SHORTEST {
            return;
        }
        let known = Arc::make_mut(&mut self.spellings)
            .entry(spelling[..spelling.len().min(ANCHOR)].to_vec())
            .or_default();
        if !known.iter().any(|other| ***other == *spelling) {
            known.push(Zeroizing::new(spelling.to_vec()));
        }
    }

    /// Gets ready to hide; `None` where there is nothing to be hidden.
    fn searcher(&self) -> Option<Searcher<'_>> {
        if self.spellings.is_empty() {
            return None;
        }
        // Fails beyond some 2 GiB of anchors; a function has 64 secrets.
        let build = || {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(self.spellings.keys())
                .ok()
        };
        let anchors = self.anchors.get_or_init(build).as_ref()?;
        Some(Searcher { anchors, spellings: self.spellings.values().collect() })
    }

    /// The text with stars in it.
    pub(crate) fn text(&self, text: String) -> String {
        match self.searcher() {
            Some(searcher) => searcher.hide(&text),
            None => text,
        }
    }

    /// The same of bytes, which become text where there is anything to hide.
    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        match self.searcher() {
            Some(searcher) => searcher.hide(&String::from_utf8_lossy(&bytes)).into_bytes(),
            None => bytes,
        }
    }

    /// The same of lines of a log.
    pub(crate) fn lines(&self, lines: &mut [LogLine]) {
        let Some(searcher) = self.searcher() else { return };
        for line in lines {
            line.message = searcher.hide(&line.message);
            line.fields = line.fields.take().map(|fields| searcher.hide_fields(&fields));
        }
    }
}

/// Finds spellings.
struct Searcher<'a> {
    anchors: &'a AhoCorasick,
    /// Those that begin with each anchor.
    spellings: Vec<&'a Vec<Zeroizing<Vec<u8>>>>,
}

impl Searcher<'_> {
    fn hide(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut from = 0;
        while let Some(found) = self.anchors.find(&text.as_bytes()[from..]) {
            let (start, end) = (from + found.start(), from + found.end());
            let rest = &text.as_bytes()[start..];
            let spellings = self.spellings[found.pattern().as_usize()];
            let length = spellings.iter().map(|spelling| common(spelling, rest)).max().unwrap_or(0);
            shown.push_str(&text[from..floor(text, start)]);
            shown.push_str(STARS);
            from = ceil(text, end.max(start + length));
        }
        shown.push_str(&text[from..]);
        shown
    }

    /// Hides in the strings of a JSON document, which stays one.
    fn hide_fields(&self, fields: &str) -> String {
        match json::lenient(fields.as_bytes()) {
            Ok(value) => self.hide_value(value).to_string(),
            Err(_) => self.hide(fields),
        }
    }

    fn hide_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide(&text)),
            Value::Array(values) => {
                values.into_iter().map(|value| self.hide_value(value)).collect()
            }
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (self.hide(&name), self.hide_value(value)))
                .collect(),
            Value::Number(number) if self.anchors.is_match(&number.to_string()) => STARS.into(),
            other => other,
        }
    }
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The beginning of the character that `at` is in.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The end of the character that `at` is in.
fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;
